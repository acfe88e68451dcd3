//! What a decision reads of a run, and how expressions see it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::plan::Plan;
use super::status::{TaskStatus, WorkflowStatus};
use crate::definition::Scope;
use crate::ids::{TaskId, WorkflowId};

/// The last attempt of a step that ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    pub(crate) epoch: i16,
    pub(crate) attempt: i16,
    pub(crate) status: TaskStatus,
    pub(crate) input: Option<Arc<Value>>,
    pub(crate) output: Option<Arc<Value>>,
    pub(crate) reason: Option<String>,
    /// Only after a fresh load.
    pub(crate) history: Option<HistoryFields>,
}

/// What only a history row tells of an attempt. Times in epoch milliseconds, 0 for not set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistoryFields {
    pub(crate) poll_count: i32,
    pub(crate) worker: Option<String>,
    pub(crate) scheduled_ms: i64,
    pub(crate) started_ms: i64,
    pub(crate) ended_ms: i64,
}

/// A run as a decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunState {
    pub(crate) id: WorkflowId,
    pub(crate) epoch: i16,
    pub(crate) status: WorkflowStatus,
    pub(crate) input: Arc<Value>,
    pub(crate) variables: Arc<Value>,
    pub(crate) correlation_id: Option<Arc<str>>,
    pub(crate) parent_id: Option<WorkflowId>,
    pub(crate) reason: Option<String>,
    /// By reference name.
    pub(crate) facts: BTreeMap<String, Fact>,
    /// The attempt that is open, by reference name.
    pub(crate) open: BTreeMap<String, i16>,
    /// How often a step had COMPLETED and was set aside by a restart; absent for never.
    pub(crate) set_aside: BTreeMap<String, i16>,
}

impl RunState {
    pub(crate) fn new(
        id: WorkflowId,
        input: Arc<Value>,
        variables: Arc<Value>,
        correlation_id: Option<Arc<str>>,
    ) -> Self {
        Self {
            id,
            epoch: 0,
            status: WorkflowStatus::Running,
            input,
            variables,
            correlation_id,
            parent_id: None,
            reason: None,
            facts: BTreeMap::new(),
            open: BTreeMap::new(),
            set_aside: BTreeMap::new(),
        }
    }

    pub(crate) fn task_id(&self, reference_name: &str, attempt: i16) -> TaskId {
        self.task_id_of_epoch(reference_name, self.epoch, attempt)
    }

    fn task_id_of_epoch(&self, reference_name: &str, epoch: i16, attempt: i16) -> TaskId {
        TaskId { workflow_id: self.id, epoch, attempt, reference_name: reference_name.to_owned() }
    }

    /// Changes the run's status, along an edge of the table of transitions.
    pub(super) fn turn(&mut self, status: WorkflowStatus, reason: Option<String>) {
        debug_assert!(self.status.may_become(status), "{} to {status}", self.status);
        self.status = status;
        self.reason = reason;
    }

    pub(crate) fn set_aside(&self, reference_name: &str) -> i16 {
        self.set_aside.get(reference_name).copied().unwrap_or(0)
    }
}

/// What the expressions of a task, or of the workflow's output, see.
pub(crate) struct RunScope<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) state: &'a RunState,
    /// The task whose input is made.
    pub(crate) task_id: Option<String>,
}

impl<'a> RunScope<'a> {
    pub(crate) const fn new(plan: &'a Plan, state: &'a RunState) -> Self {
        Self { plan, state, task_id: None }
    }

    pub(crate) fn for_task(
        plan: &'a Plan,
        state: &'a RunState,
        reference_name: &str,
        attempt: i16,
    ) -> Self {
        let task_id = Some(state.task_id(reference_name, attempt).to_string());
        Self { plan, state, task_id }
    }
}

fn owned<'a>(value: impl Into<Value>) -> Option<Cow<'a, Value>> {
    Some(Cow::Owned(value.into()))
}

impl Scope for RunScope<'_> {
    fn workflow(&self, field: &str) -> Option<Cow<'_, Value>> {
        let state = self.state;
        match field {
            "input" => Some(Cow::Borrowed(&state.input)),
            "variables" => Some(Cow::Borrowed(&state.variables)),
            "output" => owned(Map::new()),
            "status" => owned(state.status.as_str()),
            "workflowId" => owned(state.id.to_string()),
            "parentWorkflowId" => owned(state.parent_id?.to_string()),
            "workflowType" => owned(&*self.plan.name),
            "version" => owned(self.plan.def.version),
            "schemaVersion" => owned(self.plan.def.schema_version),
            "correlationId" => owned(state.correlation_id.as_deref()?),
            "reasonForIncompletion" => owned(state.reason.as_deref()?),
            _ => None,
        }
    }

    fn task(&self, reference_name: &str, field: &str) -> Option<Cow<'_, Value>> {
        let fact = self.state.facts.get(reference_name)?;
        let history = fact.history.as_ref();
        match field {
            "input" => Some(fact.input.as_deref().map_or_else(empty, Cow::Borrowed)),
            "output" => Some(fact.output.as_deref().map_or_else(empty, Cow::Borrowed)),
            "status" => owned(fact.status.as_str()),
            "referenceTaskName" => owned(reference_name),
            "retryCount" => owned(fact.attempt),
            "taskType" => owned(&*self.plan.node(reference_name)?.queue),
            "taskDefName" => owned(&*self.plan.node(reference_name)?.task_name),
            "correlationId" => owned(self.state.correlation_id.as_deref()?),
            "workflowInstanceId" => owned(self.state.id.to_string()),
            "taskId" => {
                let id = self.state.task_id_of_epoch(reference_name, fact.epoch, fact.attempt);
                owned(id.to_string())
            }
            "reasonForIncompletion" => owned(fact.reason.as_deref()?),
            "callbackAfterSeconds" | "iteration" => owned(0),
            "pollCount" => owned(history?.poll_count),
            "workerId" => owned(history?.worker.as_deref()?),
            "scheduledTime" => owned(history?.scheduled_ms),
            "startTime" => owned(history?.started_ms),
            "endTime" => owned(history?.ended_ms),
            _ => None,
        }
    }

    fn task_id(&self) -> Option<&str> {
        self.task_id.as_deref()
    }
}

fn empty<'a>() -> Cow<'a, Value> {
    Cow::Owned(json!({}))
}
