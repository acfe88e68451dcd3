//! What an attempt that ended means, and how a run ends.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Value, json};

use super::node::Node;
use super::plan::Plan;
use super::scope::RunScope;
use super::state::RunState;
use super::status::{TaskStatus, WorkflowStatus};
use super::timeout::{TimeoutKind, ends_workflow};
use super::{End, Event, TaskEnd};
use crate::definition::{Payload, PayloadFault, WORKFLOW_PAYLOAD_MAX_BYTES, check_gathered};

/// What an attempt that ended means for its run. It depends on the definition alone.
pub(super) enum Verdict {
    GoOn(TaskStatus),
    Retry,
    Fail,
}

pub(super) fn verdict(
    node: &Node,
    attempt: i16,
    status: TaskStatus,
    timeout: Option<TimeoutKind>,
) -> Verdict {
    if status.is_successful() {
        return Verdict::GoOn(status);
    }
    if timeout.is_some_and(|kind| ends_workflow(node, kind)) {
        return Verdict::Fail;
    }
    let out_of_time = timeout == Some(TimeoutKind::Total);
    if status.is_retriable() && !out_of_time && node.retry.allows_after(attempt) {
        Verdict::Retry
    } else if node.optional {
        Verdict::GoOn(TaskStatus::CompletedWithErrors)
    } else if node.permissive {
        Verdict::GoOn(status)
    } else {
        Verdict::Fail
    }
}

/// The step of a task, with or without turns, as whoever has the task sees it.
pub(crate) fn node_of<'a>(
    plan: &'a Plan,
    state: &'a RunState,
    name: &str,
) -> Option<&'a Arc<Node>> {
    let own = state.branch.as_ref().and_then(|branch| branch.graph.find(name));
    let (node, _) = own.or_else(|| plan.graph.find(name))?;
    let dynamic = state.dynamic.as_ref();
    let dynamic = dynamic.filter(|dynamic| dynamic.reference_name == node.reference_name);
    Some(dynamic.unwrap_or(node))
}

/// Why what an attempt gave does not fit its task's schema, if it does not.
pub(crate) fn misfit(
    plan: &Plan,
    state: &RunState,
    name: &str,
    output: Option<&Payload>,
) -> Option<String> {
    let node = node_of(plan, state, name)?;
    // Without a schema it is not looked into.
    node.output_schema.as_ref()?;
    match output {
        Some(output) => misfit_of(node, output),
        None => misfit_of(node, &json!({})),
    }
}

pub(super) fn misfit_of(node: &Node, output: &Value) -> Option<String> {
    let why = node.output_schema.as_ref()?.check(output).err()?;
    Some(format!("its output does not fit the schema of task {:?}: {why}", &*node.task_name))
}

impl Event {
    /// The event, with an end that is held to the schema of its task.
    pub(crate) fn held_to_schema(self, plan: &Plan, state: &RunState) -> Self {
        match self {
            Self::Ended(end) => Self::Ended(end.held_to_schema(plan, state).into_owned()),
            other => other,
        }
    }
}

impl TaskEnd {
    /// The attempt's end; a good one whose output does not fit its task's schema is none.
    pub(crate) fn held_to_schema(&self, plan: &Plan, state: &RunState) -> Cow<'_, Self> {
        if self.status != TaskStatus::Completed {
            return Cow::Borrowed(self);
        }
        match misfit(plan, state, &self.reference_name, self.output.as_ref()) {
            None => Cow::Borrowed(self),
            reason => Cow::Owned(Self {
                status: TaskStatus::FailedWithTerminalError,
                reason,
                ..self.clone()
            }),
        }
    }
}

/// What an attempt counts as in history when its run is paused and what follows waits.
pub(crate) fn counts_as(plan: &Plan, state: &RunState, end: &TaskEnd) -> TaskStatus {
    let own = state.branch.as_ref().and_then(|branch| branch.graph.find(&end.reference_name));
    let Some((node, _)) = own.or_else(|| plan.graph.find(&end.reference_name)) else {
        return end.status;
    };
    match verdict(node, end.attempt, end.status, end.timeout) {
        Verdict::GoOn(status) => status,
        Verdict::Retry | Verdict::Fail => end.status,
    }
}

/// What an end that is no step's leaves as the run's output, with `last` as its last task.
pub(crate) fn output_of(
    plan: &Plan,
    state: &RunState,
    last: Option<&Value>,
) -> Result<Arc<Value>, PayloadFault> {
    match &plan.output {
        Some(template) => {
            let scope = RunScope::new(plan, state);
            let found = template.resolve(&scope, OUTPUT, WORKFLOW_PAYLOAD_MAX_BYTES);
            found.map(Arc::new)
        }
        None => Ok(Arc::new(last.cloned().unwrap_or_else(|| json!({})))),
    }
}

const OUTPUT: &str = "output of the workflow";

impl End {
    /// An end with what the definition makes of it.
    pub(super) fn with(
        status: WorkflowStatus,
        output: Result<Option<Arc<Value>>, PayloadFault>,
        reason: Option<String>,
        failed_task: Option<String>,
    ) -> Self {
        match output {
            Ok(output) => Self { status, output, reason, failed_task },
            Err(fault) => Self { status, output: None, reason, failed_task }.over_limits(&fault),
        }
    }

    /// A run whose output is too large fails with a clear reason; it does not hang. Every end
    /// passes here before anything is made of it, since its status may change.
    pub(crate) fn within_limits(self, plan: &Plan) -> Self {
        let Some(output) = &self.output else { return self };
        match check_gathered(OUTPUT, output, WORKFLOW_PAYLOAD_MAX_BYTES) {
            Ok(()) => self.held_to_schema(plan),
            Err(fault) => self.over_limits(&fault),
        }
    }

    /// A run whose output does not fit its schema fails; what it gave can be seen.
    fn held_to_schema(self, plan: &Plan) -> Self {
        let held = self.status == WorkflowStatus::Completed;
        let schema = plan.output_schema.as_ref().filter(|_| held);
        let checked = schema.zip(self.output.as_deref()).map(|(schema, out)| schema.check(out));
        match checked {
            Some(Err(why)) => Self {
                status: WorkflowStatus::Failed,
                reason: Some(format!("the output of the workflow does not fit its schema: {why}")),
                ..self
            },
            _ => self,
        }
    }

    fn over_limits(self, fault: &PayloadFault) -> Self {
        Self {
            status: match self.status {
                WorkflowStatus::Completed => WorkflowStatus::Failed,
                other => other,
            },
            output: Some(Arc::new(json!({}))),
            reason: Some(match self.reason {
                Some(reason) => format!("{reason}; {fault}"),
                None => fault.to_string(),
            }),
            failed_task: self.failed_task,
        }
    }
}

/// The end of a run by an attempt that failed for good.
pub(super) fn fail(
    plan: &Plan,
    state: &mut RunState,
    (reference_name, attempt): (&str, i16),
    (status, reason, output): (TaskStatus, Option<&str>, Option<&Value>),
) -> End {
    let status = match status {
        TaskStatus::Canceled => WorkflowStatus::Terminated,
        TaskStatus::TimedOut => WorkflowStatus::TimedOut,
        _ => WorkflowStatus::Failed,
    };
    let task_id = state.task_id(reference_name, attempt).to_string();
    let reason = failure(&task_id, status, reason);
    state.turn(status, Some(reason.clone()));
    let output = output_of(plan, state, output).map(Some);
    End::with(status, output, Some(reason), Some(task_id))
}

fn failure(task_id: &str, status: impl Display, reason: Option<&str>) -> String {
    let reason = reason.unwrap_or_default();
    format!("Task {task_id} failed with status: {status} and reason: '{reason}'")
}

/// The end of a run whose last step is through. `last` is what the task scheduled last gave, as
/// far as that is known.
pub(super) fn complete(plan: &Plan, state: &mut RunState, last: Option<&Payload>) -> End {
    let permissive = plan.graph.nodes.iter().filter(|node| node.permissive && !node.optional);
    let failed = permissive.filter_map(|node| {
        let fact = state.facts.get(&*node.reference_name)?;
        (!fact.status.is_successful()).then(|| {
            let name = fact.instance(&node.reference_name);
            let id = state.task_id(&name, fact.attempt).to_string();
            let why = failure(&id, fact.status, fact.reason.as_deref());
            (id, why)
        })
    });
    let failed: Vec<(String, String)> = failed.collect();
    let (status, reason) = if failed.is_empty() {
        (WorkflowStatus::Completed, None)
    } else {
        let reasons: Vec<&str> = failed.iter().map(|(_, reason)| reason.as_str()).collect();
        (WorkflowStatus::Failed, Some(reasons.join(". ")))
    };
    state.turn(status, reason.clone());
    let output = match (&plan.output, last) {
        (None, None) => Ok(None),
        (None, Some(last)) => output_of(plan, state, Some(last)).map(Some),
        (Some(_), _) => output_of(plan, state, None).map(Some),
    };
    End::with(status, output, reason, failed.into_iter().next().map(|(id, _)| id))
}
