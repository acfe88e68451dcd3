//! What came of a run against what its case expects.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::{Expect, Task};

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) workflow_id: String,
    pub(crate) status: String,
    pub(crate) output: Value,
    pub(crate) variables: Value,
    pub(crate) reason: Option<String>,
    pub(crate) compensating: Option<String>,
    /// What may still stand of a run that was undone: reference names and reasons.
    pub(crate) left: Vec<(String, String)>,
    pub(crate) tasks: Vec<SeenTask>,
}

/// What came of a task.
#[derive(Clone, Debug)]
pub(crate) struct SeenTask {
    pub(crate) task_id: String,
    pub(crate) reference_name: String,
    pub(crate) task_type: String,
    pub(crate) status: String,
    pub(crate) domain: Option<String>,
    pub(crate) attempt: i16,
    pub(crate) input: Value,
    pub(crate) output: Value,
    pub(crate) reason: Option<String>,
}

/// What stands for ids in a case.
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    pub(crate) fn of(run: &Seen) -> Self {
        let mut names = BTreeMap::new();
        names.insert("<workflowId>".to_owned(), run.workflow_id.clone());
        for task in &run.tasks {
            let (name, id) = (&task.reference_name, task.task_id.clone());
            names.insert(format!("<taskId:{name}:{}>", task.attempt), id.clone());
            names.insert(format!("<taskId:{name}>"), id);
            if let Some(child) = task.output.get("subWorkflowId").and_then(Value::as_str) {
                names.insert(format!("<childId:{name}>"), child.to_owned());
            }
        }
        Self(names)
    }

    fn put_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let mut text = text.clone();
                for (name, id) in &self.0 {
                    text = text.replace(name, id);
                }
                Value::String(text)
            }
            Value::Array(list) => Value::Array(list.iter().map(|v| self.put_in(v)).collect()),
            Value::Object(map) => Value::Object(
                map.iter().map(|(key, value)| (key.clone(), self.put_in(value))).collect(),
            ),
            other => other.clone(),
        }
    }
}

/// Whether a value is what was expected; `<any>` is anything, numbers are compared by value.
fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), _) if any == "<any>" => true,
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Every difference, one a line.
pub(crate) fn differences(expect: &Expect, run: &Seen) -> Vec<String> {
    let names = Names::of(run);
    let mut wrong = Vec::new();
    let mut check = |what: &str, expected: &Value, found: &Value| {
        let expected = names.put_in(expected);
        if !same(&expected, found) {
            wrong.push(format!("  {what}: expected {expected}, found {found}"));
        }
    };
    check("status", &Value::from(expect.status.as_str()), &Value::from(run.status.as_str()));
    if let Some(output) = &expect.output {
        check("output", output, &run.output);
    }
    if let Some(variables) = &expect.variables {
        check("variables", variables, &run.variables);
    }
    if let Some(reason) = &expect.reason {
        check("reason", reason, &Value::from(run.reason.clone()));
    }
    check(
        "compensating",
        &Value::from(expect.compensating.clone()),
        &Value::from(run.compensating.clone()),
    );
    let left: Vec<&str> = run.left.iter().map(|left| left.0.as_str()).collect();
    let names_left: Vec<&str> =
        expect.not_compensated.iter().map(|left| left.reference_name.as_str()).collect();
    check("notCompensated", &Value::from(names_left), &Value::from(left));
    for (expected, found) in expect.not_compensated.iter().zip(&run.left) {
        check("why not compensated", &expected.reason, &Value::from(found.1.as_str()));
    }
    let line = |name: &str, kind: &str, status: &str, attempt: i16| {
        format!("{name} {kind} {status} {attempt}")
    };
    let expected: Vec<String> = expect
        .tasks
        .iter()
        .map(|t| line(&t.reference_name, &t.task_type, &t.status, t.attempt))
        .collect();
    let found: Vec<String> = run
        .tasks
        .iter()
        .map(|t| line(&t.reference_name, &t.task_type, &t.status, t.attempt))
        .collect();
    if expected != found {
        wrong.push(format!("  tasks: expected {expected:#?}, found {found:#?}"));
        return wrong;
    }
    for (task, found) in expect.tasks.iter().zip(&run.tasks) {
        of_task(&names, task, found, &mut wrong);
    }
    wrong
}

fn of_task(names: &Names, expected: &Task, found: &SeenTask, wrong: &mut Vec<String>) {
    let reason = Value::from(found.reason.clone());
    let domain = Value::from(found.domain.clone().unwrap_or_default());
    let iteration = found
        .reference_name
        .rsplit_once("__")
        .and_then(|(_, turn)| turn.parse::<u32>().ok())
        .unwrap_or(0);
    if iteration != expected.iteration {
        let name = &expected.reference_name;
        wrong.push(format!(
            "  {name}: expected iteration {}, found {iteration}",
            expected.iteration
        ));
    }
    let fields = [
        ("input", &expected.input, &found.input),
        ("output", &expected.output, &found.output),
        ("reason", &expected.reason, &reason),
        ("domain", &expected.domain, &domain),
    ];
    for (field, expected_value, found) in fields {
        let Some(value) = expected_value else { continue };
        let value = names.put_in(value);
        if !same(&value, found) {
            let name = &expected.reference_name;
            wrong.push(format!("  {name} {field}: expected {value}, found {found}"));
        }
    }
}
