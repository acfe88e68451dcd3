//! [`WorkflowDef`]: what a workflow does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::faults::{Fault, Faults, shown};
use super::json::{self, or_zero};
use super::nesting::{TEXT_DEPTH_MAX, with_room_for};
use super::settings::{CacheConfig, RateLimitConfig, SchemaDef, WorkflowTimeoutPolicy};
use super::task_def::TaskDef;
use super::workflow_task::WorkflowTask;

/// What a definition is called that is not read yet.
const SUBJECT: &str = "workflow definition";

/// A workflow definition, as Conductor's JSON has it.
///
/// Fields that this library does not know are kept in [`extra`](Self::extra). Times are epoch
/// milliseconds. Read one with [`from_json`](Self::from_json) or build one with
/// [`builder`](Self::builder).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowDef {
    /// With `version`, the key.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// From 1; the highest is the latest.
    #[serde(deserialize_with = "or_zero")]
    pub version: i32,
    /// For readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The steps, in order.
    #[serde(deserialize_with = "or_zero")]
    pub tasks: Vec<WorkflowTask>,
    /// Names of the expected inputs; documentation only.
    #[serde(deserialize_with = "or_zero")]
    pub input_parameters: Vec<String>,
    /// The workflow's output, with expressions; when empty it is that of the last task.
    #[serde(deserialize_with = "or_zero")]
    pub output_parameters: Map<String, Value>,
    /// Added to a non-empty start input where it lacks a key.
    #[serde(deserialize_with = "or_zero")]
    pub input_template: Map<String, Value>,
    /// Started when a run does not end COMPLETED: a name, or `$workflow.input.<key>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_workflow: Option<String>,
    /// Its version; the latest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_workflow_version: Option<i32>,
    /// Always 2.
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: i32,
    /// Whether a COMPLETED run may be restarted.
    #[serde(deserialize_with = "or_zero")]
    pub restartable: bool,
    /// Whether listeners hear of changes of a run's status.
    #[serde(deserialize_with = "or_zero")]
    pub workflow_status_listener_enabled: bool,
    /// Where they hear of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_status_listener_sink: Option<String>,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_email: Option<String>,
    /// What `timeoutSeconds` leads to.
    #[serde(deserialize_with = "or_zero")]
    pub timeout_policy: WorkflowTimeoutPolicy,
    /// From the start, or from the last retry or resume; 0 for none.
    #[serde(deserialize_with = "or_zero")]
    pub timeout_seconds: i64,
    /// What `workflow.variables` holds at the start.
    #[serde(deserialize_with = "or_zero")]
    pub variables: Map<String, Value>,
    /// How many runs may be open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_config: Option<RateLimitConfig>,
    /// What inputs look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<SchemaDef>,
    /// What outputs look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<SchemaDef>,
    /// Whether the schemas are held to.
    #[serde(deserialize_with = "or_zero")]
    pub enforce_schema: bool,
    /// How outputs are kept for equal inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_config: Option<CacheConfig>,
    /// Fields that are not to be shown.
    #[serde(deserialize_with = "or_zero")]
    pub masked_fields: Vec<String>,
    /// Free.
    #[serde(deserialize_with = "or_zero")]
    pub metadata: Map<String, Value>,
    /// Who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_app: Option<String>,
    /// When it was first registered, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<i64>,
    /// When it was last changed, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_time: Option<i64>,
    /// Who registered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who changed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Default for WorkflowDef {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: 1,
            description: None,
            tasks: Vec::new(),
            input_parameters: Vec::new(),
            output_parameters: Map::new(),
            input_template: Map::new(),
            failure_workflow: None,
            failure_workflow_version: None,
            schema_version: 2,
            restartable: true,
            workflow_status_listener_enabled: false,
            workflow_status_listener_sink: None,
            owner_email: None,
            timeout_policy: WorkflowTimeoutPolicy::default(),
            timeout_seconds: 0,
            variables: Map::new(),
            rate_limit_config: None,
            input_schema: None,
            output_schema: None,
            enforce_schema: true,
            cache_config: None,
            masked_fields: Vec::new(),
            metadata: Map::new(),
            owner_app: None,
            create_time: None,
            update_time: None,
            created_by: None,
            updated_by: None,
            extra: BTreeMap::new(),
        }
    }
}

impl WorkflowDef {
    /// Every task, also those inside others and those that undo others.
    pub fn all_tasks(&self) -> Vec<&WorkflowTask> {
        let mut all = Vec::new();
        let mut rest: Vec<&WorkflowTask> = self.tasks.iter().collect();
        while let Some(task) = rest.pop() {
            rest.extend(task.decision_cases.values().flatten());
            rest.extend(&task.default_case);
            rest.extend(task.fork_tasks.iter().flatten());
            rest.extend(&task.loop_over);
            rest.extend(task.compensation.as_deref());
            all.push(task);
        }
        all
    }

    /// Of these task definitions those that it names.
    pub(crate) fn named_of(&self, all: &BTreeMap<String, TaskDef>) -> BTreeMap<String, TaskDef> {
        let names = self.all_tasks().into_iter().map(|task| &task.name);
        names.filter_map(|name| Some((name.clone(), all.get(name)?.clone()))).collect()
    }

    /// Reads a definition from JSON. What it says is checked by
    /// [`validate`](super::validate()), not here.
    ///
    /// # Errors
    /// The text is no JSON, nested deeper than [`NESTED_MAX`](super::NESTED_MAX) tasks in each
    /// other need, or a value has another type than its field.
    pub fn from_json(text: &str) -> Result<Self, Faults> {
        json::read(text, SUBJECT, TEXT_DEPTH_MAX)
    }

    /// As [`from_json`](Self::from_json), from a value.
    pub(crate) fn from_value(value: &Value) -> Result<Self, Faults> {
        json::read_value(value, SUBJECT)
    }

    /// Its JSON.
    ///
    /// # Errors
    /// Tasks stand too deep in each other, or there is no room to write them.
    pub fn to_json(&self) -> Result<Box<RawValue>, Faults> {
        let written = with_room_for(&self.tasks, || to_raw_value(self));
        let written =
            written.and_then(|text| text.map_err(|error| Fault::new("$", error.to_string())));
        written.map_err(|fault| Faults::one(self.subject(), fault))
    }

    /// What to call the definition in messages.
    pub(crate) fn subject(&self) -> String {
        format!("workflow definition {:?} version {}", shown(&self.name), self.version)
    }

    /// The start input with [`input_template`](Self::input_template) added where a key is absent.
    ///
    /// An empty input stays empty, as in Conductor.
    #[must_use]
    pub fn with_input_template(&self, mut input: Map<String, Value>) -> Map<String, Value> {
        if !input.is_empty() {
            for (key, value) in &self.input_template {
                if !input.contains_key(key) {
                    input.insert(key.clone(), value.clone());
                }
            }
        }
        input
    }

    /// The name of the workflow to start when a run with this input fails, if any.
    ///
    /// # Errors
    /// `failureWorkflow` names a key of the input that is absent or no text; says which.
    pub fn failure_workflow_name<'a>(
        &'a self,
        input: &'a Map<String, Value>,
    ) -> Result<Option<&'a str>, String> {
        let Some(name) = self.failure_workflow.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        if !name.starts_with('$') {
            return Ok(Some(name));
        }
        let key = name.split('.').nth(2).unwrap_or_default();
        match input.get(key).and_then(Value::as_str).filter(|found| !found.is_empty()) {
            Some(found) => Ok(Some(found)),
            None => Err(format!("failureWorkflow {name:?}: the input has no text under {key:?}")),
        }
    }
}
