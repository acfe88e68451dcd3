//! One delivery of a task: run, and told to the server.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use oms_engine::{TaskContext, TaskError};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::lease::keep;
use crate::registry::AnyTask;
use crate::telemetry::{Held, answered_from_inbox, ended, reported};
use crate::transaction::Done;
use crate::wire::{PolledTask, Status, TaskResult};
use crate::worker::{Queue, Shared};

/// A canceled task may still end by itself for so long; then its future is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

impl Shared {
    /// Runs a task, and those that come with the answers to its reports, one after the other.
    pub(crate) async fn hold(
        self: Arc<Self>,
        queue: Arc<Queue>,
        task: PolledTask,
        slot: Option<OwnedSemaphorePermit>,
    ) {
        let _slot = match slot {
            Some(slot) => Some(slot),
            None => queue.slots.clone().acquire_owned().await.ok(),
        };
        let mut next = Some(task);
        while let Some(task) = next.take() {
            let _held = Held::of(&queue.label);
            let span = tracing::info_span!(
                "task",
                otel.kind = "consumer",
                workflow_id = task.workflow_instance_id,
                task_id = task.task_id,
                queue = queue.label,
            );
            let id = task.task_id.clone();
            let through = Box::pin(self.one(&queue, task).instrument(span));
            next = match self.leave.run_until_cancelled(through).await {
                Some(next) => next,
                None => {
                    reported(&queue.label, "left");
                    let task_id = id;
                    tracing::error!(task_id, "a task is left: its result did not reach the server");
                    None
                }
            };
        }
    }

    /// Out: the next task of this type.
    async fn one(&self, queue: &Queue, task: PolledTask) -> Option<PolledTask> {
        let begun = Instant::now();
        let (outcome, result) = self.run(queue, &task).await;
        ended(&queue.label, outcome, begun.elapsed());
        self.report(queue, &task, result?).await
    }

    /// How it ended, and what the server is told; nothing where it has given the task up.
    async fn run(&self, queue: &Queue, task: &PolledTask) -> (&'static str, Option<TaskResult>) {
        let lost = self.cancel.child_token();
        let result = |status| TaskResult::new(task, &self.name, status);
        let give_back = || ("returned", Some(result(Status::InProgress)));
        if self.stopping.is_cancelled() {
            return give_back();
        }
        let cx = match task.context(lost.clone()) {
            Ok(cx) => cx,
            Err(why) => {
                let refused = result(Status::FailedWithTerminalError).because(why);
                return ("terminal", Some(refused));
            }
        };
        // Of its own, so that a task which blocks its thread does not lose its lease.
        let keeping = keep(self.conductor.clone(), self.name.clone(), task.clone(), lost.clone());
        let _keeping = AbortOnDropHandle::new(tokio::spawn(keeping));
        // What was spawned last runs next on this thread, and nowhere else.
        tokio::task::yield_now().await;
        let input = Value::Object(task.input_data.clone().unwrap_or_default());
        let ran = until_dropped(self.work(queue, &cx, &input), &lost).await;
        match ran {
            Some(ran) => {
                let (outcome, told) = told(ran, result);
                (outcome, Some(told.with_log(cx.take_log())))
            }
            None if self.cancel.is_cancelled() => give_back(),
            None => ("lost", None),
        }
    }

    async fn work(
        &self,
        queue: &Queue,
        cx: &TaskContext,
        input: &Value,
    ) -> Result<Value, TaskError> {
        match (&queue.task, &self.transactions) {
            (AnyTask::Plain(body), _) => {
                let ran = AssertUnwindSafe(body.run(cx, input)).catch_unwind().await;
                ran.unwrap_or_else(|panic| Err(panicked(&*panic)))
            }
            (AnyTask::Transactional(body), Some(transactions)) => {
                match transactions.run(body, &queue.name, cx, input).await? {
                    Done::Now(output) => Ok(output),
                    Done::Before(output) => {
                        answered_from_inbox(&queue.label);
                        Ok(output)
                    }
                }
            }
            // A worker is not made without.
            (AnyTask::Transactional(_), None) => Err(TaskError::retry("there is no database")),
        }
    }
}

/// What a task's word is in Conductor's terms. Its own delay before a retry has none: the policy decides.
fn told(
    ran: Result<Value, TaskError>,
    result: impl Fn(Status) -> TaskResult,
) -> (&'static str, TaskResult) {
    let error = match ran {
        Ok(output) => return ("completed", result(Status::Completed).with_output(output)),
        Err(error) => error,
    };
    let output = error.output().cloned().unwrap_or_default();
    if let Some(after) = error.callback_after() {
        let mut told = result(Status::InProgress).with_output(output);
        // Never earlier than it asked for.
        told.callback_after_seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        return ("in_progress", told);
    }
    let (outcome, status) = if error.is_terminal() {
        ("terminal", Status::FailedWithTerminalError)
    } else {
        ("failed", Status::Failed)
    };
    (outcome, result(status).because(error.reason()).with_output(output))
}

/// Lets a task run until a while after it was canceled. None: it was dropped.
async fn until_dropped<T>(
    work: impl Future<Output = T>,
    canceled: &CancellationToken,
) -> Option<T> {
    let over = async {
        canceled.cancelled().await;
        tokio::time::sleep(CANCEL_GRACE).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = over => None,
    }
}

pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> TaskError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of a kind that is no text".to_owned());
    TaskError::retry(format!("the task panicked: {text}"))
}
