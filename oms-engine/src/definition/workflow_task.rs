//! [`WorkflowTask`]: one step of a workflow definition.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::or_zero;
use super::settings::{CacheConfig, IdempotencyStrategy, JoinMode, StateChangeEvent};
use super::task_def::TaskDef;
use super::task_type::TaskType;

/// One step of a [`WorkflowDef`](super::WorkflowDef), as Conductor's JSON has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowTask {
    /// The task definition's name; for SIMPLE also the queue.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// Unique within the definition.
    #[serde(deserialize_with = "or_zero")]
    pub task_reference_name: String,
    /// For readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What kind of task it is.
    #[serde(rename = "type", deserialize_with = "or_zero")]
    pub task_type: TaskType,
    /// The task's input, with expressions.
    #[serde(deserialize_with = "or_zero")]
    pub input_parameters: Map<String, Value>,
    /// A failure becomes `COMPLETED_WITH_ERRORS` and the flow goes on.
    #[serde(deserialize_with = "or_zero")]
    pub optional: bool,
    /// A failure stays FAILED, the flow goes on, and the workflow fails at its end.
    #[serde(deserialize_with = "or_zero")]
    pub permissive: bool,
    /// Seconds before the first attempt can be claimed.
    #[serde(deserialize_with = "or_zero")]
    pub start_delay: i32,
    /// Goes before the task definition's `retryCount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_count: Option<i32>,
    /// Stays `IN_PROGRESS` until it is updated from outside.
    #[serde(deserialize_with = "or_zero")]
    pub async_complete: bool,
    /// The task definition itself; goes before the registered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_definition: Option<Box<TaskDef>>,
    /// SWITCH: the language of `expression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluator_type: Option<String>,
    /// SWITCH: what is evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// SWITCH, DECISION: the branches.
    #[serde(deserialize_with = "or_zero")]
    pub decision_cases: BTreeMap<String, Vec<Self>>,
    /// SWITCH, DECISION: the branch of all other cases.
    #[serde(deserialize_with = "or_zero")]
    pub default_case: Vec<Self>,
    /// DECISION: the input's key that holds the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_value_param: Option<String>,
    /// DECISION: a script that gives the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_expression: Option<String>,
    /// `FORK_JOIN`: the branches.
    #[serde(deserialize_with = "or_zero")]
    pub fork_tasks: Vec<Vec<Self>>,
    /// JOIN, `EXCLUSIVE_JOIN`: the reference names waited for.
    #[serde(deserialize_with = "or_zero")]
    pub join_on: Vec<String>,
    /// JOIN: how Conductor polled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_mode: Option<JoinMode>,
    /// Stored only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_status: Option<String>,
    /// `EXCLUSIVE_JOIN`: what counts when none of `joinOn` ran.
    #[serde(deserialize_with = "or_zero")]
    pub default_exclusive_join_task: Vec<String>,
    /// `FORK_JOIN_DYNAMIC`: the input's key that holds the tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_fork_tasks_param: Option<String>,
    /// `FORK_JOIN_DYNAMIC`: the input's key that holds their inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_fork_tasks_input_param_name: Option<String>,
    /// `FORK_JOIN_DYNAMIC`: the older form of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_fork_join_tasks_param: Option<String>,
    /// DYNAMIC: the input's key that holds the task's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_task_name_param: Option<String>,
    /// `DO_WHILE`: goes on while it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loop_condition: Option<String>,
    /// `DO_WHILE`: the body.
    #[serde(deserialize_with = "or_zero")]
    pub loop_over: Vec<Self>,
    /// `DO_WHILE`: the list to go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// `SUB_WORKFLOW`: what to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_workflow_param: Option<SubWorkflowParams>,
    /// EVENT: where to publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Stored only; LAMBDA reads it from its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_expression: Option<String>,
    /// Whether a rate limit applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited: Option<bool>,
    /// How outputs are kept for equal inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_config: Option<CacheConfig>,
    /// Events to publish, by the states that cause them (`onStart,onFailed`).
    #[serde(deserialize_with = "or_zero")]
    pub on_state_change: BTreeMap<String, Vec<StateChangeEvent>>,
    /// The task that undoes this one when the run fails after it: an extension that Conductor
    /// ignores. Without a reference name of its own it is named `<reference name>_undo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Box<Self>>,
    /// Free; editors keep positions here.
    #[serde(deserialize_with = "or_zero")]
    pub metadata: Map<String, Value>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What a `SUB_WORKFLOW` runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubWorkflowParams {
    /// The workflow definition's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version; the latest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// The domain of each task type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_to_domain: Option<BTreeMap<String, String>>,
    /// The definition itself, or an expression that gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_definition: Option<Value>,
    /// The child's idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What a second start under that key does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_strategy: Option<IdempotencyStrategy>,
    /// The child's priority: a number from 0 to 99, or an expression that gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Value>,
    /// Fields that this library does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl WorkflowTask {
    /// What Conductor shows as `taskType`, and the queue of a task that a worker runs: the
    /// task's name for SIMPLE and DYNAMIC, `FORK` for forks, else the type.
    #[must_use]
    pub fn queue_type(&self) -> &str {
        match &self.task_type {
            TaskType::Simple | TaskType::Dynamic => &self.name,
            TaskType::ForkJoin | TaskType::ForkJoinDynamic => "FORK",
            other => other.as_str(),
        }
    }

    /// The task that undoes this one, with its reference name. Its failure stops nothing.
    pub(crate) fn undo_task(&self) -> Option<Self> {
        let undo = Self::clone(self.compensation.as_deref()?);
        let name = match undo.task_reference_name.as_str() {
            "" => format!("{}_undo", self.task_reference_name),
            name => name.to_owned(),
        };
        Some(Self { task_reference_name: name, optional: true, ..undo })
    }

    /// The task definition that this step runs under: its own, the registered one, or the
    /// ad-hoc one.
    #[must_use]
    pub fn effective_task_def<'a>(
        &'a self,
        task_defs: &'a BTreeMap<String, TaskDef>,
    ) -> Cow<'a, TaskDef> {
        match self.task_definition.as_deref().or_else(|| task_defs.get(&self.name)) {
            Some(def) => Cow::Borrowed(def),
            None => Cow::Owned(TaskDef::default_for_type(&self.name, &self.task_type)),
        }
    }
}
