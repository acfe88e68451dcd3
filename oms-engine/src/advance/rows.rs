//! Decisions as rows of the hot statement.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::decide::{End, OpenTask, WorkflowStatus};
use crate::definition::{WORKFLOW_PAYLOAD_MAX_BYTES, check_payload};
use crate::store::{OpenedRow, RunEnd, TokenState};

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The row of a task to open. Without a delay it is ready; the pump may make it leased.
pub(crate) fn opened_row(open: OpenTask, source: i64) -> OpenedRow {
    let node = open.node;
    let delay = millis(open.delay);
    OpenedRow {
        source,
        reference_name: node.reference_name.to_string(),
        attempt: open.attempt,
        queue: node.queue.to_string(),
        state: if delay > 0 { TokenState::Delayed } else { TokenState::Ready },
        delay_ms: (delay > 0).then_some(delay),
        timeout_ms: node.timeout_ms,
        poll_timeout_ms: node.poll_timeout_ms,
        total_ms: node.total_ms,
        set_aside: open.set_aside,
        reason: open.reason,
        input: node.stores_input.then_some(open.input),
    }
}

/// The end of a run as the tables have it.
pub(crate) fn run_end(end: End) -> RunEnd {
    RunEnd {
        status: end.status,
        output: end.output,
        reason: end.reason,
        failed_task: end.failed_task,
    }
}

/// A run whose output is too large fails with a clear reason; it does not hang. Every end passes
/// here before anything is made of it, since its status may change.
pub(crate) fn within_limits(end: End) -> End {
    match check_payload("output of the workflow", &end.output, WORKFLOW_PAYLOAD_MAX_BYTES) {
        Ok(()) => end,
        Err(fault) => End {
            status: match end.status {
                WorkflowStatus::Completed => WorkflowStatus::Failed,
                other => other,
            },
            output: Arc::new(Value::Object(Map::new())),
            reason: Some(match end.reason {
                Some(reason) => format!("{reason}; {fault}"),
                None => fault.to_string(),
            }),
            failed_task: end.failed_task,
        },
    }
}
