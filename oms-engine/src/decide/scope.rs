//! How expressions see a run.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::{Map, Value, json};

use super::node::Kind;
use super::plan::Plan;
use super::state::{OpenLoop, RunState};
use crate::definition::Scope;

/// What the expressions of a task, or of the workflow's output, see.
pub(crate) struct RunScope<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) state: &'a RunState,
    /// The task whose input is made, and its id once that is asked for.
    task: Option<(&'a str, i16)>,
    task_id: OnceCell<String>,
}

impl<'a> RunScope<'a> {
    pub(crate) const fn new(plan: &'a Plan, state: &'a RunState) -> Self {
        Self { plan, state, task: None, task_id: OnceCell::new() }
    }

    pub(crate) const fn for_task(
        plan: &'a Plan,
        state: &'a RunState,
        reference_name: &'a str,
        attempt: i16,
    ) -> Self {
        Self { plan, state, task: Some((reference_name, attempt)), task_id: OnceCell::new() }
    }
}

impl<'a> RunScope<'a> {
    /// A loop that is open, as its body sees it.
    fn open_loop(&self, name: &str, open: &'a OpenLoop, field: &str) -> Option<Cow<'a, Value>> {
        let state = self.state;
        let instance = super::graph::instance(name, &open.turns);
        match field {
            "input" => Some(Cow::Borrowed(&open.input)),
            "output" => owned(open.output()),
            "status" => owned("IN_PROGRESS"),
            "iteration" => owned(open.turn),
            "taskType" => owned("DO_WHILE"),
            "taskDefName" => owned(&*self.plan.node(name)?.task_name),
            "workflowInstanceId" => owned(state.id.to_string()),
            "correlationId" => owned(state.correlation_id.as_deref()?),
            "taskId" => owned(state.task_id(&instance, 0).to_string()),
            "referenceTaskName" => owned(instance),
            "retryCount" | "callbackAfterSeconds" => owned(0),
            _ => None,
        }
    }
}

impl RunScope<'_> {
    fn input_of<'b>(&self, name: &str, input: Option<&'b Value>) -> Cow<'b, Value> {
        let Some(input) = input else { return empty() };
        match self.plan.node(name) {
            Some(node) if matches!(node.kind, Kind::SubWorkflow { .. }) => {
                Cow::Owned(node.shown(input.clone()))
            }
            _ => Cow::Borrowed(input),
        }
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
        if let Some(open) = self.state.loops.get(reference_name) {
            return self.open_loop(reference_name, open, field);
        }
        let fact = self.state.facts.get(reference_name)?;
        let history = fact.history.as_ref();
        match field {
            "input" => Some(self.input_of(reference_name, fact.input.as_deref())),
            "output" => Some(fact.output.as_deref().map_or_else(empty, Cow::Borrowed)),
            "status" => owned(fact.status.as_str()),
            "referenceTaskName" => owned(fact.instance(reference_name)),
            "retryCount" => owned(fact.attempt),
            "taskType" => owned(&*self.plan.node(reference_name)?.task_type),
            "taskDefName" => owned(&*self.plan.node(reference_name)?.task_name),
            "correlationId" => owned(self.state.correlation_id.as_deref()?),
            "workflowInstanceId" => owned(self.state.id.to_string()),
            "taskId" => {
                let name = fact.instance(reference_name);
                let id = self.state.task_id_of_epoch(&name, fact.epoch, fact.attempt);
                owned(id.to_string())
            }
            "reasonForIncompletion" => owned(fact.reason.as_deref()?),
            "callbackAfterSeconds" => owned(0),
            "iteration" => match self.plan.node(reference_name)?.kind {
                // Of a loop it is how many turns it has had.
                Kind::Loop { .. } => fact.output.as_deref()?.get("iteration").map(Cow::Borrowed),
                _ => owned(fact.turns.last().copied().unwrap_or(0)),
            },
            "pollCount" => owned(history?.poll_count),
            "workerId" => owned(history?.worker.as_deref()?),
            "scheduledTime" => owned(history?.scheduled_ms),
            "startTime" => owned(history?.started_ms),
            "endTime" => owned(history?.ended_ms),
            _ => None,
        }
    }

    fn task_id(&self) -> Option<&str> {
        let (name, attempt) = self.task?;
        let id = || self.state.task_id(name, attempt).to_string();
        Some(self.task_id.get_or_init(id).as_str())
    }

    fn env(&self, name: &str) -> Option<&Value> {
        self.plan.env.get(name)
    }
}

fn empty<'a>() -> Cow<'a, Value> {
    Cow::Owned(json!({}))
}
