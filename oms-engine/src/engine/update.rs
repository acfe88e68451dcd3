//! What is reported of a task from outside, where no pump of this process knows it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::remote::outcome_of;
use super::signal::{LOOKS_MAX, To};
use super::{Engine, connection};
use crate::advance::{Action, Happened, OneStep, Said};
use crate::decide::TaskStatus;
use crate::definition::{TASK_PAYLOAD_MAX_BYTES, as_object, check_payload, clean_reason};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};
use crate::queue::Outcome;
use crate::store::{OpenTask, REMOTE, ReturnedRow};

/// What a remote worker reports of a task. Names and meanings are those of Conductor's
/// `TaskResult`.
#[derive(Clone, Debug)]
#[must_use]
pub struct TaskUpdate {
    pub(super) status: TaskStatus,
    pub(super) output: Option<Value>,
    pub(super) reason: Option<String>,
    pub(super) callback_after: Duration,
    worker: Option<String>,
    log: Vec<String>,
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// It counts.
    Written,
    /// The attempt had ended before; it has no effect.
    HadEnded,
}

/// An update as a pump takes it.
pub(super) struct Reported {
    pub(super) outcome: Option<Outcome>,
    pub(super) log: Vec<String>,
    pub(super) worker: Option<Arc<str>>,
}

impl TaskUpdate {
    fn new(status: TaskStatus, output: Option<Value>, reason: Option<String>) -> Self {
        let (worker, log) = (None, Vec::new());
        Self { status, output, reason, callback_after: Duration::ZERO, worker, log }
    }

    /// It has completed with this output; what is no object stands under the key `result`.
    pub fn completed(output: Value) -> Self {
        Self::new(TaskStatus::Completed, Some(output), None)
    }

    /// It has failed; its retry policy is asked.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(TaskStatus::Failed, None, Some(reason.into()))
    }

    /// It has failed, and no attempt is made again.
    pub fn failed_terminally(reason: impl Into<String>) -> Self {
        Self::new(TaskStatus::FailedWithTerminalError, None, Some(reason.into()))
    }

    /// It was given up: its run ends TERMINATED.
    pub fn canceled(reason: impl Into<String>) -> Self {
        Self::new(TaskStatus::Canceled, None, Some(reason.into()))
    }

    /// It is not done, and is handed out again after this time.
    pub fn in_progress(callback_after: Duration) -> Self {
        Self { callback_after, ..Self::new(TaskStatus::InProgress, None, None) }
    }

    /// With this output, in place of what it had given before.
    pub fn output(mut self, output: Value) -> Self {
        self.output = Some(output);
        self
    }

    /// With this reason for incompletion.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// By this worker; without it by the one that was given the task.
    pub fn worker(mut self, worker: impl Into<String>) -> Self {
        self.worker = Some(worker.into());
        self
    }

    /// With lines for the task's log.
    pub fn log(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.log.extend(lines);
        self
    }

    pub(super) fn reported(&self) -> Reported {
        let worker = self.worker.as_deref().map(Arc::from);
        Reported { outcome: outcome_of(self), log: self.log.clone(), worker }
    }

    /// What counts: too large an output fails the task.
    fn said(&self) -> Said {
        let output = as_object(self.output.clone().unwrap_or_default());
        let reason = self.reason.clone().map(clean_reason);
        let what = "output of the task";
        match check_payload(what, &output, TASK_PAYLOAD_MAX_BYTES) {
            Ok(()) => Said { status: self.status, output, reason, adds: false },
            Err(fault) => Said {
                status: TaskStatus::FailedWithTerminalError,
                output: as_object(Value::Null),
                reason: Some(fault.to_string()),
                adds: false,
            },
        }
    }
}

impl Engine {
    pub(super) async fn update_slowly(
        &self,
        task: &TaskId,
        update: &TaskUpdate,
    ) -> Result<Updated, Error> {
        let said = update.said();
        let updated = self.say_of(&To::Task(task.clone()), &said, update).await?;
        if updated.is_none() && !self.has_ended(task).await? {
            return Err(Error::TaskNotFound(task.clone()));
        }
        if !update.log.is_empty() {
            self.log_task(task, update.log.clone()).await?;
        }
        Ok(if updated.is_some() { Updated::Written } else { Updated::HadEnded })
    }

    /// Reports on the open task of this reference name; in a loop, the name without its turns means
    /// the one that was scheduled last. What it had given before stays beside the output. Out: the
    /// task, or none where no such task is open.
    ///
    /// # Errors
    /// When the database cannot be reached. After [`Error::Deadline`] the report may have come.
    pub async fn update_named_task(
        &self,
        id: WorkflowId,
        reference_name: &str,
        update: TaskUpdate,
    ) -> Result<Option<TaskId>, Error> {
        let engine = self.clone();
        let to = To::Named(id, reference_name.to_owned());
        self.on_own_threads(async move {
            let said = Said { adds: true, ..update.said() };
            let task = Box::pin(engine.say_of(&to, &said, &update)).await?;
            if let (Some(task), false) = (&task, update.log.is_empty()) {
                Box::pin(engine.log_task(task, update.log.clone())).await?;
            }
            Ok(task)
        })
        .await
    }

    async fn say_of(
        &self,
        to: &To,
        said: &Said,
        update: &TaskUpdate,
    ) -> Result<Option<TaskId>, Error> {
        let core = &self.inner.shared.core;
        for _ in 0..LOOKS_MAX {
            let mut client = connection(&self.inner.pool).await?;
            let found = to.find(core, client.client()?).await;
            let task = match found {
                Ok(Some(task)) => task,
                Ok(None) => {
                    client.put_back();
                    break;
                }
                Err(error) => return client.settle(Err(error)),
            };
            let goes_back = said.status == TaskStatus::InProgress && task.for_worker;
            let done = if goes_back {
                let row = returned(&task, said, update);
                core.store.return_tasks(client.client()?, &[row]).await.map(|done| {
                    let ready = done.iter().filter_map(|(_, queue)| queue.clone()).collect();
                    let (lost, taken) = (done.is_empty(), vec![task.token_id]);
                    crate::advance::Acted { lost, ready, taken, timed: true, ..Default::default() }
                })
            } else {
                let step = OneStep {
                    token_id: task.token_id,
                    holder: task.holder,
                    worker: update.worker.as_deref().map(Arc::from),
                    happened: Happened::Said(said.clone()),
                };
                Box::pin(core.act(client.client()?, &Action::Step(&step), None)).await
            };
            let acted = client.settle(done)?;
            // It may have moved since the look, and be open still.
            if !acted.lost {
                self.tell(acted).await;
                return Ok(Some(task.task_id));
            }
        }
        Ok(None)
    }

    /// The queue of a task that is open and for workers.
    pub(super) async fn queue_of(&self, task: &TaskId) -> Result<Option<Arc<str>>, Error> {
        let engine = self.clone();
        let to = To::Task(task.clone());
        self.on_own_threads(async move {
            let mut client = connection(&engine.inner.pool).await?;
            let found = to.find(&engine.inner.shared.core, client.client()?).await;
            let found = client.settle(found)?.filter(|open| open.for_worker);
            Ok(found.map(|open| Arc::from(open.queue.as_str())))
        })
        .await
    }

    async fn has_ended(&self, task: &TaskId) -> Result<bool, Error> {
        let mut client = connection(&self.inner.pool).await?;
        let tasks = std::slice::from_ref(task);
        let done = self.inner.shared.core.store.find_history(client.client()?, tasks).await;
        client.settle(done).map(|found| !found.is_empty())
    }

    /// A remote worker says that it is still at a task: its `responseTimeoutSeconds` begin anew.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`].
    pub async fn extend_lease(&self, task: &TaskId) -> Result<Updated, Error> {
        let engine = self.clone();
        let task = task.clone();
        self.on_own_threads(async move {
            let core = engine.inner.shared.core.clone();
            let to = To::Task(task.clone());
            let mut client = connection(&engine.inner.pool).await?;
            let found = to.find(&core, client.client()?).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => return client.settle(Err(error)),
            };
            let Some(open) = found else {
                client.put_back();
                let ended = engine.has_ended(&task).await?;
                return if ended { Ok(Updated::HadEnded) } else { Err(Error::TaskNotFound(task)) };
            };
            if open.holder != REMOTE {
                // A pump has it, and lends it soon; its time has hardly begun.
                client.put_back();
                return Ok(Updated::Written);
            }
            let (token_id, holder, happened) = (open.token_id, open.holder, Happened::HeardOf);
            let step = OneStep { token_id, holder, worker: None, happened };
            let done = Box::pin(core.act(client.client()?, &Action::Step(&step), None)).await;
            let lost = client.settle(done)?.lost;
            Ok(if lost { Updated::HadEnded } else { Updated::Written })
        })
        .await
    }

    /// Adds lines to the log of an attempt; of one attempt [`LOG_LINES_MAX`](crate::LOG_LINES_MAX)
    /// lines are kept.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`] where there is no such run.
    pub async fn log_task(&self, task: &TaskId, lines: Vec<String>) -> Result<(), Error> {
        let lines: Vec<(TaskId, String)> =
            lines.into_iter().map(|line| (task.clone(), clean_reason(line))).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let task = task.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let known = core.store.load_runs(client.client()?, &[task.workflow_id]).await;
            match known {
                Ok(runs) if runs.is_empty() => {
                    client.put_back();
                    return Err(Error::TaskNotFound(task));
                }
                Ok(_) => {}
                Err(error) => return client.settle(Err(error)),
            }
            let done = core.store.append_logs(client.client()?, &lines).await;
            client.settle(done)
        })
        .await
    }
}

fn returned(task: &OpenTask, said: &Said, update: &TaskUpdate) -> ReturnedRow {
    let delay = i64::try_from(update.callback_after.as_millis()).unwrap_or(i64::MAX);
    ReturnedRow {
        token_id: task.token_id,
        holder: task.holder,
        delay_ms: Some(delay.min(CALLBACK_MAX_MS)),
        output: update.output.is_some().then(|| said.output.clone().into()),
        worker: Arc::from(update.worker.as_deref().unwrap_or_default()),
        reason: said.reason.clone(),
    }
}

/// The longest time before a task in progress is handed out again: ten years.
const CALLBACK_MAX_MS: i64 = 10 * 366 * 24 * 3_600_000;
