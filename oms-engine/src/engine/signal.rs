//! Signals: what is said from outside of a task that is open.

use deadpool_postgres::ClientWrapper;
use serde_json::Value;

use super::{Engine, connection};
use crate::advance::{Action, Core, Happened, OneStep, Said, not_open};
use crate::decide::TaskStatus;
use crate::definition::{REASON_MAX_BYTES, TASK_PAYLOAD_MAX_BYTES, as_object, check_payload};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};
use crate::store::OpenTask;

/// How often a task is looked for that moves.
pub(super) const LOOKS_MAX: usize = 5;

/// How a task stands, by whoever knows: a person, another system.
#[derive(Clone, Debug)]
pub struct Signal {
    said: Said,
}

impl Signal {
    fn new(status: TaskStatus, output: Value, reason: Option<String>) -> Self {
        Self { said: Said { status, output: as_object(output), reason, adds: true } }
    }

    /// It ends COMPLETED with this output; what is no object stands under the key `result`.
    #[must_use]
    pub fn completed(output: Value) -> Self {
        Self::new(TaskStatus::Completed, output, None)
    }

    /// It ends FAILED; its retry policy is asked.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(TaskStatus::Failed, Value::Null, Some(reason.into()))
    }

    /// It has given this so far and waits on.
    #[must_use]
    pub fn in_progress(output: Value) -> Self {
        Self::new(TaskStatus::InProgress, output, None)
    }

    /// No attempt is made again.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        if self.said.status == TaskStatus::Failed {
            self.said.status = TaskStatus::FailedWithTerminalError;
        }
        self
    }

    /// With this output.
    #[must_use]
    pub fn with_output(mut self, output: Value) -> Self {
        self.said.output = as_object(output);
        self
    }

    fn adding(mut self, adds: bool) -> Self {
        self.said.adds = adds;
        self
    }

    fn check(&self) -> Result<(), Error> {
        check_payload("output", &self.said.output, TASK_PAYLOAD_MAX_BYTES)
            .map_err(|fault| Error::invalid(format!("output {}", fault.path), fault.reason))?;
        match &self.said.reason {
            Some(reason) if reason.contains('\0') => {
                Err(Error::invalid("reason", "has a NUL character"))
            }
            Some(reason) if reason.len() > REASON_MAX_BYTES => {
                let why = format!("has {} bytes, at most {REASON_MAX_BYTES}", reason.len());
                Err(Error::invalid("reason", why))
            }
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Says how the open task of this reference name stands: one that waits for a time, a person
    /// or an answer, or a worker's. What it had given before stays beside the signal's output.
    /// In a loop, the name without its turns means the one that was scheduled last. Out: the task.
    ///
    /// # Errors
    /// [`Error::Conflict`] when no such task is open, or when it is a worker's and the signal does
    /// not end it; [`Error::InvalidInput`] for a signal that is too large. After
    /// [`Error::Deadline`] the signal may have come: a repeat is a conflict then.
    pub async fn signal(
        &self,
        id: WorkflowId,
        reference_name: &str,
        signal: Signal,
    ) -> Result<TaskId, Error> {
        let to = To::Named(id, reference_name.to_owned());
        self.say(to, signal.adding(true)).await
    }

    /// Says how a task stands by its id. The signal's output takes the place of what it had given.
    /// Out: the task.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub async fn signal_task(&self, task: &TaskId, signal: Signal) -> Result<TaskId, Error> {
        self.say(To::Task(task.clone()), signal.adding(false)).await
    }

    /// Says how the first open WAIT of a run stands, or else that of the first of its open
    /// sub-workflows that has one. Out: the task.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub async fn signal_first(&self, id: WorkflowId, signal: Signal) -> Result<TaskId, Error> {
        self.say(To::First(id), signal.adding(true)).await
    }

    async fn say(&self, to: To, signal: Signal) -> Result<TaskId, Error> {
        signal.check()?;
        let engine = self.clone();
        self.on_own_threads(async move {
            for _ in 0..LOOKS_MAX {
                let mut client = connection(&engine.inner.pool).await?;
                let found = to.find(&engine.inner.shared.core, client.client()?).await;
                let task = match found {
                    Ok(Some(task)) => task,
                    Ok(None) => {
                        client.put_back();
                        break;
                    }
                    Err(error) => return client.settle(Err(error)),
                };
                let step = OneStep {
                    token_id: task.token_id,
                    holder: task.holder,
                    worker: None,
                    happened: Happened::Said(signal.said.clone()),
                };
                let core = engine.inner.shared.core.clone();
                let named = Some(task.task_id.reference_name.as_str());
                let by = engine.by(task.task_id.workflow_id, "signal", named);
                let done = core.act(client.client()?, &Action::Step(&step), by).await;
                let acted = client.settle(done)?;
                // It may have moved since the look, and be open still.
                if !acted.lost {
                    engine.tell(acted).await;
                    return Ok(task.task_id);
                }
            }
            Err(to.not_open())
        })
        .await
    }
}

/// Whom a signal is for.
#[derive(Debug)]
pub(super) enum To {
    Task(TaskId),
    Named(WorkflowId, String),
    First(WorkflowId),
}

impl To {
    pub(super) async fn find(
        &self,
        core: &Core,
        client: &ClientWrapper,
    ) -> Result<Option<OpenTask>, Error> {
        let store = &core.store;
        match self {
            Self::Task(task) => {
                let place = (task.workflow_id, task.reference_name.as_str());
                store.find_open_task(client, place, Some((task.epoch, task.attempt))).await
            }
            Self::Named(id, name) => store.find_open_task(client, (*id, name), None).await,
            Self::First(id) => store.find_first_wait(client, *id).await,
        }
    }

    fn not_open(&self) -> Error {
        match self {
            Self::Task(task) => not_open(task.workflow_id, &task.reference_name),
            Self::Named(id, name) => not_open(*id, name),
            Self::First(id) => Error::Conflict {
                workflow_id: *id,
                action: "signal",
                reason: "no WAIT of it or of its sub-workflows is open".to_owned(),
            },
        }
    }
}
