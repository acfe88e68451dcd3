//! What follows when time is up: Conductor's `timeoutPolicy`.

use super::node::Node;
use super::plan::Plan;
use super::state::RunState;
use super::status::WorkflowStatus;
use super::{End, output_of};
use crate::definition::TimeoutPolicy;

/// Which time of a task was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutKind {
    /// `timeoutSeconds`, from the attempt's start.
    Task,
    /// `responseTimeoutSeconds`, since a remote worker's last update. A worker in this process
    /// is heard through the heartbeat instead.
    Response,
    /// `pollTimeoutSeconds`, while it waits for a worker.
    Poll,
    /// `totalTimeoutSeconds`, over all attempts and delays.
    Total,
}

impl TimeoutKind {
    const ALL: [Self; 4] = [Self::Task, Self::Response, Self::Poll, Self::Total];

    /// Its name where it is stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Response => "response",
            Self::Poll => "poll",
            Self::Total => "total",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Whether the policy only wants it told.
pub(crate) fn only_alerts(node: &Node, kind: TimeoutKind) -> bool {
    kind != TimeoutKind::Response && node.timeout_policy == TimeoutPolicy::AlertOnly
}

/// Whether the run ends with it at once, even with retries left.
pub(super) fn ends_workflow(node: &Node, kind: TimeoutKind) -> bool {
    kind != TimeoutKind::Response && node.timeout_policy == TimeoutPolicy::TimeOutWorkflow
}

/// What the attempt's reason for incompletion says.
pub(crate) fn timeout_reason(node: &Node, kind: TimeoutKind, task_id: &str) -> String {
    let (name, ms) = match kind {
        TimeoutKind::Task => ("timeoutSeconds", node.timeout_ms),
        TimeoutKind::Response => ("responseTimeout", node.response_timeout_ms),
        TimeoutKind::Poll => ("pollTimeoutSeconds", node.poll_timeout_ms),
        TimeoutKind::Total => ("totalTimeoutSeconds", node.total_ms),
    };
    let seconds = ms.unwrap_or(0) / 1000;
    format!(
        "{name}: {seconds} exceeded for the taskId: {task_id} with Task Definition: {}",
        node.task_name
    )
}

/// The end of a run whose own time is up; its open tasks are canceled.
pub(crate) fn workflow_timeout(plan: &Plan, state: &mut RunState) -> End {
    let seconds = plan.def.timeout_seconds;
    end_now(
        plan,
        state,
        WorkflowStatus::TimedOut,
        format!("Workflow timed out after {seconds} seconds"),
    )
}

/// Ends a run that may still have open tasks. Without output parameters its output is that of
/// the task scheduled last, which the caller looks up.
pub(crate) fn end_now(
    plan: &Plan,
    state: &mut RunState,
    status: WorkflowStatus,
    reason: String,
) -> End {
    state.turn(status, Some(reason.clone()));
    let output = plan.output.as_ref().map(|_| output_of(plan, state, None)).transpose();
    End::with(status, output, Some(reason), None)
}
