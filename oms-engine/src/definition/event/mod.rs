//! Event handlers in Conductor's JSON: which event, on what condition, and what is done then.

mod asked;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(in crate::definition) use asked::over_payload;
pub(crate) use asked::{Asked, TaskTarget};

use super::faults::Faults;
use super::json::{self, or_zero};
use super::payload::DEPTH_MAX;

/// What is done when an event comes. Names and meanings are Conductor's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventHandler {
    /// Its name; a handler that is registered takes the place of the one of its name.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// The event: `conductor:<workflow>:<reference name>`, or any `conductor:<name>`.
    #[serde(deserialize_with = "or_zero")]
    pub event: String,
    /// A script or, with the evaluator `value-param`, a key of the payload: the handler acts
    /// where it gives true or a number over 0. Empty: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The language of the condition: `javascript` (the default), `graaljs` or `value-param`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluator_type: Option<String>,
    /// Whether it acts; false where it is not said, as in Conductor.
    #[serde(deserialize_with = "or_zero")]
    pub active: bool,
    /// What it does, one after the other.
    #[serde(deserialize_with = "or_zero")]
    pub actions: Vec<EventAction>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What a handler does. Of the fields for kinds of actions that of its own kind counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventAction {
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<EventActionKind>,
    /// Of `start_workflow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_workflow: Option<EventStart>,
    /// Of `complete_task`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_task: Option<EventTask>,
    /// Of `fail_task`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_task: Option<EventTask>,
    /// Of `terminate_workflow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminate_workflow: Option<EventTermination>,
    /// Of `update_workflow_variables`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_workflow_variables: Option<EventVariables>,
    /// Whether texts of the payload that are JSON are read as such first.
    #[serde(rename = "expandInlineJSON", deserialize_with = "or_zero")]
    pub expand_inline_json: bool,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The kinds of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventActionKind {
    /// Starts a run.
    StartWorkflow,
    /// Ends a task COMPLETED.
    CompleteTask,
    /// Ends a task FAILED.
    FailTask,
    /// Ends a run TERMINATED.
    TerminateWorkflow,
    /// Sets variables of a run.
    UpdateWorkflowVariables,
    /// Of Conductor's agents, which are no part of this engine: refused.
    StartAgent,
}

impl EventActionKind {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartWorkflow => "start_workflow",
            Self::CompleteTask => "complete_task",
            Self::FailTask => "fail_task",
            Self::TerminateWorkflow => "terminate_workflow",
            Self::UpdateWorkflowVariables => "update_workflow_variables",
            Self::StartAgent => "start_agent",
        }
    }
}

/// The run to start. Expressions read the payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventStart {
    /// The definition's name; no expression.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// Its version; the latest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// What the run belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The run's input; `conductor.event.messageId` and `conductor.event.name` are added.
    #[serde(deserialize_with = "or_zero")]
    pub input: Map<String, Value>,
    /// The domain of each task type; that of the payload when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_to_domain: Option<BTreeMap<String, String>>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The task to end: by its id, or by run and reference name. Expressions read the payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventTask {
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// The task's reference name; in a loop without turns that of the last turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_ref_name: Option<String>,
    /// The task's id, before the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What the task gives; what the action says of the task is added, as in Conductor.
    #[serde(deserialize_with = "or_zero")]
    pub output: Map<String, Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_for_incompletion: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The run to end. Expressions read the payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventTermination {
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_reason: Option<String>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The variables to set. Expressions read the payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventVariables {
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// By name.
    #[serde(deserialize_with = "or_zero")]
    pub variables: Map<String, Value>,
    /// Whether a list is added to the list that the variable holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_array: Option<bool>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl EventHandler {
    /// Reads a handler from JSON. What it says is checked when it is registered.
    ///
    /// # Errors
    /// The text is no JSON, nested deeper than 100, or a value has another type than its field.
    pub fn from_json(text: &str) -> Result<Self, Faults> {
        json::read(text, "event handler", DEPTH_MAX)
    }
}
