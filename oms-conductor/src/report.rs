//! Telling the server how a task stands: until it has the result, or has given the task up.

use hyper::body::Bytes;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::telemetry::reported;
use crate::wire::{PolledTask, Status, TaskResult};
use crate::worker::{Queue, Shared};

/// So many tries in vain, and the server is asked whether it still wants the result.
const TRIES_AT_ONCE: u32 = 3;

impl Shared {
    /// Reports a result. Out: the next task, where one came with the answer.
    ///
    /// A result that was sent twice counts once: servers pass over results of tasks that ended. The lease
    /// is not extended meanwhile, so that a server which does not take the result gives the task up in
    /// the end, and this with it.
    pub(crate) async fn report(
        &self,
        queue: &Queue,
        task: &PolledTask,
        mut result: TaskResult,
    ) -> Option<PolledTask> {
        let (mut backoff, mut tries) = (Backoff::new(), 0_u32);
        let mut body = written(&result);
        loop {
            let error = match self.conductor.update(&body, !self.stopping.is_cancelled()).await {
                Ok(next) => {
                    reported(&queue.label, "taken");
                    return next;
                }
                Err(error) => error,
            };
            let (said, task_id, status) = (error.in_full(), &task.task_id, result.status);
            if error.is_missing() {
                reported(&queue.label, "late");
                tracing::warn!(
                    error = said,
                    task_id,
                    ?status,
                    "the server has no such task any more"
                );
                return None;
            }
            if !error.is_retryable() {
                reported(&queue.label, "refused");
                tracing::error!(
                    error = said,
                    task_id,
                    ?status,
                    "the server will not have a result"
                );
                // It is to know of the task's end, if not of all that it says.
                result = shortened(result, &error)?;
                body = written(&result);
                continue;
            }
            tries += 1;
            reported(&queue.label, "retried");
            tracing::warn!(error = said, task_id, ?status, tries, "a result is reported again");
            if tries > TRIES_AT_ONCE
                && let Ok(false) = self.conductor.is_open(task_id).await
            {
                // A report of ours may have got there, its answer lost.
                reported(&queue.label, "late");
                tracing::warn!(task_id, ?status, "the task has ended on the server");
                return None;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// What is left to say where a result is refused; nothing where this was it.
fn shortened(refused: TaskResult, error: &Error) -> Option<TaskResult> {
    let says_it = refused.status == Status::FailedWithTerminalError;
    if says_it && refused.output_data.is_empty() && refused.logs.is_empty() {
        return None;
    }
    Some(TaskResult {
        status: Status::FailedWithTerminalError,
        reason_for_incompletion: Some(format!("the server refused the task's result: {error}")),
        callback_after_seconds: 0,
        output_data: serde_json::Map::new(),
        logs: Vec::new(),
        ..refused
    })
}

/// Texts, numbers and maps of them can always be written.
fn written(result: &TaskResult) -> Bytes {
    serde_json::to_vec(result).map(Bytes::from).unwrap_or_default()
}
