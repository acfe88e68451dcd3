//! Signals: the end of a task that waits for a time or a person.

use serde_json::Value;

use super::{Engine, connection};
use crate::advance::{Action, Happened, OneStep, as_object};
use crate::decide::TaskStatus;
use crate::definition::{REASON_MAX_BYTES, TASK_PAYLOAD_MAX_BYTES, check_payload};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};

/// How a task ends that waits for a time or a person.
#[derive(Clone, Debug)]
pub struct Signal {
    status: TaskStatus,
    output: Value,
    reason: Option<String>,
}

impl Signal {
    /// It ends COMPLETED with this output; what is no object stands under the key `result`.
    #[must_use]
    pub fn completed(output: Value) -> Self {
        Self { status: TaskStatus::Completed, output: as_object(output), reason: None }
    }

    /// It ends FAILED; its retry policy is asked.
    pub fn failed(reason: impl Into<String>) -> Self {
        let output = Value::Object(serde_json::Map::new());
        Self { status: TaskStatus::Failed, output, reason: Some(reason.into()) }
    }

    /// No attempt is made again.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        if self.status == TaskStatus::Failed {
            self.status = TaskStatus::FailedWithTerminalError;
        }
        self
    }

    /// With this output.
    #[must_use]
    pub fn with_output(mut self, output: Value) -> Self {
        self.output = as_object(output);
        self
    }

    fn check(&self) -> Result<(), Error> {
        check_payload("output", &self.output, TASK_PAYLOAD_MAX_BYTES)
            .map_err(|fault| Error::invalid(format!("output {}", fault.path), fault.reason))?;
        match &self.reason {
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
    /// Ends the task of this reference name that waits for it: a WAIT, a HUMAN, or one with
    /// `asyncComplete` whose part here is done. In a loop, the name without its turns
    /// means the one that was scheduled last.
    ///
    /// # Errors
    /// [`Error::Conflict`] when no such task waits, [`Error::InvalidInput`] for a signal that is
    /// too large. After [`Error::Deadline`] the signal may have come: a repeat is a conflict then.
    pub async fn signal(
        &self,
        id: WorkflowId,
        reference_name: &str,
        signal: Signal,
    ) -> Result<(), Error> {
        self.signal_waiting(id, reference_name.to_owned(), None, signal).await
    }

    /// Ends such a task by its id.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub async fn signal_task(&self, task: &TaskId, signal: Signal) -> Result<(), Error> {
        let attempt = Some((task.epoch, task.attempt));
        self.signal_waiting(task.workflow_id, task.reference_name.clone(), attempt, signal).await
    }

    async fn signal_waiting(
        &self,
        id: WorkflowId,
        reference_name: String,
        attempt: Option<(i16, i16)>,
        signal: Signal,
    ) -> Result<(), Error> {
        signal.check()?;
        let engine = self.clone();
        self.on_own_threads(async move {
            let core = engine.inner.shared.core.clone();
            let nobody = || Error::Conflict {
                workflow_id: id,
                action: "signal",
                reason: format!("no task {reference_name:?} of it waits for a signal"),
            };
            let mut client = connection(&engine.inner.pool).await?;
            let found = core.store.find_waiting(client.client()?, id, &reference_name, attempt);
            let found = found.await;
            let token_id = match found {
                Ok(Some(token)) => token,
                Ok(None) => {
                    client.put_back();
                    return Err(nobody());
                }
                Err(error) => return client.settle(Err(error)),
            };
            let Signal { status, output, reason } = signal;
            let happened = Happened::Signal { status, output, reason };
            let step = OneStep { token_id, holder: 0, worker: None, happened };
            let done = core.act(client.client()?, &Action::Step(&step)).await;
            let acted = client.settle(done)?;
            if acted.lost {
                return Err(nobody());
            }
            engine.tell(acted).await;
            Ok(())
        })
        .await
    }
}
