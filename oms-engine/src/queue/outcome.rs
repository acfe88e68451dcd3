//! What a worker's outcome means: the end of an attempt, or a task that goes back.

use std::time::Duration;

use super::handed::Outcome;
use super::pump::Held;
use crate::decide::{TaskEnd, TaskStatus};
use crate::definition::{Payload, TASK_PAYLOAD_MAX_BYTES, clean_reason};
use crate::ids::draw_jitter;

/// The longest time before a task in progress is handed out again: ten years.
const CALLBACK_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

pub(super) enum Ended {
    End(TaskEnd),
    /// Without a delay it waits to be ended from outside.
    InProgress {
        delay_ms: Option<i64>,
        output: Option<Payload>,
        reason: Option<String>,
    },
}

/// What a worker's outcome means, or none for a task that is to run again elsewhere.
pub(super) fn task_end(held: &Held, outcome: Outcome) -> Option<Ended> {
    let end = |status, output: Option<Payload>, reason: Option<String>, retry_after| TaskEnd {
        reference_name: held.token.reference_name.clone(),
        attempt: held.token.attempt,
        status,
        input: Some(held.input.clone()),
        output,
        reason: reason.map(clean_reason),
        retry_after,
        timeout: None,
        // Only what is tried again waits.
        jitter: if status == TaskStatus::Completed { 0.0 } else { draw_jitter() },
    };
    let checked = |output: Option<Payload>| {
        let Some(output) = output.map(Payload::into_object) else { return Ok(None) };
        let what = format_args!("output of task {:?}", held.token.reference_name);
        match output.check(what, TASK_PAYLOAD_MAX_BYTES) {
            Ok(()) => Ok(Some(output)),
            Err(fault) => Err(fault.to_string()),
        }
    };
    let refused = |reason| {
        let status = TaskStatus::FailedWithTerminalError;
        Some(Ended::End(end(status, None, Some(reason), None)))
    };
    match outcome {
        Outcome::Completed { output } => match checked(Some(output)) {
            Ok(output) => Some(Ended::End(end(TaskStatus::Completed, output, None, None))),
            Err(reason) => refused(reason),
        },
        Outcome::Failed { reason, output, retry_after, terminal } => match checked(output) {
            Ok(output) => {
                let status =
                    if terminal { TaskStatus::FailedWithTerminalError } else { TaskStatus::Failed };
                Some(Ended::End(end(status, output, Some(reason), retry_after)))
            }
            Err(fault) => refused(format!("{reason}; {fault}")),
        },
        Outcome::InProgress { callback_after, output, reason } => match checked(output) {
            Ok(output) => Some(Ended::InProgress {
                delay_ms: callback_after.map(|after| {
                    i64::try_from(after.min(CALLBACK_MAX).as_millis()).unwrap_or(i64::MAX)
                }),
                output,
                reason: reason.map(clean_reason),
            }),
            Err(reason) => refused(reason),
        },
        Outcome::Abandoned => None,
    }
}
