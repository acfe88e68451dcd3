//! Cases as they stand in the files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rule: String,
    #[serde(default)]
    pub(crate) schemas: Vec<Value>,
    #[serde(default)]
    pub(crate) task_definitions: Vec<Value>,
    #[serde(default)]
    pub(crate) workflows: Vec<Value>,
    #[serde(default)]
    pub(crate) event_handlers: Vec<Value>,
    pub(crate) definition: Value,
    /// What the engine is given for `${workflow.env.…}`.
    #[serde(default)]
    pub(crate) env: Map<String, Value>,
    /// What its secrets provider knows; without it, it has none.
    pub(crate) secrets: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) start: Start,
    /// Domains in which the workers of a task take theirs, beside those in none.
    #[serde(default)]
    pub(crate) serves: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) workers: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    pub(crate) http: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    pub(crate) steps: Vec<Map<String, Value>>,
    pub(crate) expect: Option<Expect>,
    #[serde(default)]
    pub(crate) children: BTreeMap<String, Expect>,
    #[serde(default)]
    pub(crate) started: Vec<Started>,
    /// What event handlers did, in their order.
    pub(crate) executions: Option<Vec<Execution>>,
    pub(crate) refused: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Execution {
    pub(crate) handler: String,
    pub(crate) action: Option<String>,
    pub(crate) status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Start {
    #[serde(default)]
    pub(crate) input: Map<String, Value>,
    pub(crate) correlation_id: Option<String>,
    #[serde(default)]
    pub(crate) task_to_domain: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: String,
    pub(crate) output: Option<Value>,
    pub(crate) reason: Option<Value>,
    pub(crate) variables: Option<Value>,
    pub(crate) compensating: Option<String>,
    #[serde(default)]
    pub(crate) not_compensated: Vec<Left>,
    pub(crate) tasks: Vec<Task>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Left {
    #[serde(rename = "ref")]
    pub(crate) reference_name: String,
    pub(crate) reason: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Task {
    #[serde(rename = "ref")]
    pub(crate) reference_name: String,
    #[serde(rename = "type")]
    pub(crate) task_type: String,
    pub(crate) status: String,
    /// Empty for none.
    pub(crate) domain: Option<Value>,
    #[serde(default)]
    pub(crate) attempt: i16,
    #[serde(default)]
    pub(crate) iteration: u32,
    pub(crate) input: Option<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) reason: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Started {
    pub(crate) name: String,
    pub(crate) expect: Expect,
}

impl Case {
    /// With the URL of the stand-in for a server where the case says `<standIn>`.
    pub(crate) fn calling(mut self, url: &str) -> Self {
        let put = |value: &mut Value| {
            let text = value.to_string();
            if text.contains("<standIn>") {
                *value = serde_json::from_str(&text.replace("<standIn>", url)).unwrap();
            }
        };
        put(&mut self.definition);
        self.workflows.iter_mut().for_each(put);
        self.start.input.values_mut().for_each(put);
        self
    }
}

/// All cases of all files.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Vec<Case> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        all.extend(cases);
    }
    all
}
