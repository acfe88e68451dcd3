//! What an action asks for, with the event's payload put in. The rules are those of Conductor's
//! `SimpleActionProcessor`, `DefaultEventProcessor` and `JsonUtils`.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{EventAction, EventActionKind, EventHandler, EventStart, EventTask};
use crate::definition::payload::WORKFLOW_PAYLOAD_MAX_BYTES;
use crate::definition::scope::Scope;
use crate::definition::script::evaluate_js;
use crate::definition::template::{Template, java_text};
use crate::ids::{TaskId, WorkflowId};

/// What an action asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Start {
        name: String,
        version: Option<i32>,
        input: Map<String, Value>,
        correlation_id: Option<String>,
        task_to_domain: Map<String, Value>,
    },
    EndTask {
        task: TaskTarget,
        failed: bool,
        output: Map<String, Value>,
        reason: Option<String>,
    },
    Terminate {
        workflow_id: WorkflowId,
        reason: String,
    },
    SetVariables {
        workflow_id: WorkflowId,
        variables: Map<String, Value>,
        append: bool,
    },
}

/// Which task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TaskTarget {
    Id(TaskId),
    Named { workflow_id: WorkflowId, reference_name: String },
}

/// An event as expressions read it: its payload is the root.
struct Payload<'a>(&'a Value);

impl Scope for Payload<'_> {
    fn workflow(&self, field: &str) -> Option<Cow<'_, Value>> {
        (field == "input").then_some(Cow::Borrowed(self.0))
    }

    fn task(&self, _reference_name: &str, _field: &str) -> Option<Cow<'_, Value>> {
        None
    }

    fn task_id(&self) -> Option<&str> {
        None
    }
}

impl EventHandler {
    /// Whether it acts on an event with this payload.
    pub(crate) fn holds_for(&self, payload: &Value) -> Result<bool, String> {
        let Some(condition) = self.condition.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(true);
        };
        let payload = expanded(payload);
        let found = match self.evaluator_type.as_deref() {
            Some("value-param") => payload.get(condition).cloned().unwrap_or_default(),
            _ => evaluate_js(condition, &payload).map_err(|error| error.to_string())?,
        };
        Ok(match found {
            Value::Bool(holds) => holds,
            Value::Number(number) => number.as_f64().is_some_and(|number| number > 0.0),
            _ => false,
        })
    }
}

impl EventAction {
    /// What it asks for when this event comes.
    pub(crate) fn asks(
        &self,
        event: &str,
        message_id: &str,
        payload: &Value,
    ) -> Result<Asked, String> {
        let payload = if self.expand_inline_json {
            Cow::Owned(expanded(payload))
        } else {
            Cow::Borrowed(payload)
        };
        let said = (event, message_id);
        let absent =
            |kind: EventActionKind| format!("the action says nothing in {}", kind.as_str());
        let kind = self.action.ok_or("the action has no kind")?;
        match kind {
            EventActionKind::StartWorkflow => {
                start(self.start_workflow.as_ref().ok_or_else(|| absent(kind))?, said, &payload)
            }
            EventActionKind::CompleteTask => {
                end(self.complete_task.as_ref().ok_or_else(|| absent(kind))?, false, said, &payload)
            }
            EventActionKind::FailTask => {
                end(self.fail_task.as_ref().ok_or_else(|| absent(kind))?, true, said, &payload)
            }
            EventActionKind::TerminateWorkflow => {
                let params = self.terminate_workflow.as_ref().ok_or_else(|| absent(kind))?;
                let given = json!({
                    "workflowId": params.workflow_id, "reason": params.termination_reason,
                });
                let found = resolved(&given, &payload)?;
                let reason = found.get("reason").filter(|reason| !reason.is_null());
                Ok(Asked::Terminate {
                    workflow_id: run_of(&found)?,
                    reason: reason.map(java_text).unwrap_or_default(),
                })
            }
            EventActionKind::UpdateWorkflowVariables => {
                let params = self.update_workflow_variables.as_ref().ok_or_else(|| absent(kind))?;
                let given =
                    json!({ "workflowId": params.workflow_id, "variables": params.variables });
                let mut found = resolved(&given, &payload)?;
                Ok(Asked::SetVariables {
                    workflow_id: run_of(&found)?,
                    variables: object(found.get_mut("variables")),
                    append: params.append_array == Some(true),
                })
            }
            EventActionKind::StartAgent => Err("agents are no part of this engine".to_owned()),
        }
    }
}

fn start(
    params: &EventStart,
    (event, message_id): (&str, &str),
    payload: &Value,
) -> Result<Asked, String> {
    let given = json!({
        "input": params.input, "correlationId": params.correlation_id,
        "taskToDomain": "${taskToDomain}",
    });
    let mut found = resolved(&given, payload)?;
    let mut input = object(found.get_mut("input"));
    input.insert("conductor.event.messageId".to_owned(), json!(message_id));
    input.insert("conductor.event.name".to_owned(), json!(event));
    let correlation_id = found.get("correlationId").filter(|id| !id.is_null()).map(java_text);
    let domains = match &params.task_to_domain {
        Some(domains) => domains.iter().map(|(kind, to)| (kind.clone(), json!(to))).collect(),
        None => object(found.get_mut("taskToDomain")),
    };
    Ok(Asked::Start {
        name: params.name.clone(),
        version: params.version,
        input,
        // What reads nothing stays as it is written, as in Conductor.
        correlation_id: correlation_id.or_else(|| params.correlation_id.clone()),
        task_to_domain: domains,
    })
}

fn end(
    params: &EventTask,
    failed: bool,
    (event, message_id): (&str, &str),
    payload: &Value,
) -> Result<Asked, String> {
    let mut given = Map::new();
    given.insert("workflowId".to_owned(), json!(params.workflow_id));
    given.insert("taskId".to_owned(), json!(params.task_id));
    given.insert("taskRefName".to_owned(), json!(params.task_ref_name));
    given.insert("reasonForIncompletion".to_owned(), json!(params.reason_for_incompletion));
    given.extend(params.output.clone());
    let mut output = object(Some(&mut resolved(&Value::Object(given), payload)?));
    let text = |key: &str| output.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let task = match (text("taskId"), text("workflowId"), text("taskRefName")) {
        (Some(id), _, _) => TaskTarget::Id(id.parse().map_err(|_| no_task(&output))?),
        (None, Some(id), Some(name)) => TaskTarget::Named {
            workflow_id: id.parse().map_err(|_| no_task(&output))?,
            reference_name: name.to_owned(),
        },
        _ => return Err(no_task(&output)),
    };
    let reason = output.get("reasonForIncompletion").filter(|reason| !reason.is_null());
    let reason = reason.filter(|_| failed).map(java_text);
    output.insert("conductor.event.messageId".to_owned(), json!(message_id));
    output.insert("conductor.event.name".to_owned(), json!(event));
    Ok(Asked::EndTask { task, failed, output, reason })
}

fn no_task(found: &Map<String, Value>) -> String {
    let text = |key: &str| found.get(key).map_or_else(|| "null".to_owned(), java_text);
    format!(
        "No task found with taskId: {}, reference name: {}, workflowId: {}",
        text("taskId"),
        text("taskRefName"),
        text("workflowId")
    )
}

fn run_of(found: &Value) -> Result<WorkflowId, String> {
    let id = found.get("workflowId").cloned().unwrap_or_default();
    let known = id.as_str().and_then(|id| id.parse().ok());
    known.ok_or_else(|| format!("No workflow found with ID: {}", java_text(&id)))
}

fn object(value: Option<&mut Value>) -> Map<String, Value> {
    match value.map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

pub(super) fn resolved(given: &Value, payload: &Value) -> Result<Value, String> {
    let template = Template::parse(&over_payload(given)).map_err(|fault| fault.to_string())?;
    let what = "what the action says";
    template
        .resolve(&Payload(payload), what, WORKFLOW_PAYLOAD_MAX_BYTES)
        .map_err(|fault| fault.to_string())
}

/// The same expressions as a workflow's template would have them whose input is the payload: the
/// paths of handlers have no first part that names whom they read.
pub(in crate::definition) fn over_payload(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(over_text(text)),
        Value::Array(list) => list.iter().map(over_payload).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), over_payload(value))).collect()
        }
        plain => plain.clone(),
    }
}

fn over_text(text: &str) -> String {
    const ROOT: &str = "workflow.input";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        let inside = found.get(2..).unwrap_or_default();
        out.push_str(before);
        out.push_str("${");
        rest = inside;
        // `$${` is no expression.
        if before.ends_with('$') {
            continue;
        }
        let path = inside.trim_start();
        match path.strip_prefix('$').filter(|rooted| rooted.starts_with(['.', '[', '}'])) {
            _ if path.is_empty() || path.starts_with('}') => {}
            Some(rooted) => {
                out.push_str(ROOT);
                rest = rooted;
            }
            None => {
                out.push_str(ROOT);
                if !path.starts_with('[') {
                    out.push('.');
                }
                rest = path;
            }
        }
    }
    out.push_str(rest);
    out
}

/// A payload whose texts that are JSON are read as such; in lists they stay, as in Conductor.
pub(super) fn expanded(payload: &Value) -> Value {
    match payload {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::String(text) => read_json(text).unwrap_or_else(|| value.clone()),
                    other => expanded(other),
                };
                (key.clone(), value)
            })
            .collect(),
        Value::Array(list) => list.iter().map(expanded).collect(),
        plain => plain.clone(),
    }
}

fn read_json(text: &str) -> Option<Value> {
    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten()
}
