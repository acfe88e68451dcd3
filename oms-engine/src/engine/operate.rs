//! What operators do to a run.

use serde_json::Value;

use super::{Engine, connection};
use crate::advance::{Acted, Action, Operation};
use crate::definition::{TASK_PAYLOAD_MAX_BYTES, WORKFLOW_PAYLOAD_MAX_BYTES, check_payload};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::queue::{PumpMessage, REASON_MAX_BYTES};

/// How to restart a run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RestartOptions {
    /// On the latest version of its definition instead of the one it started with.
    pub use_latest_definitions: bool,
}

impl RestartOptions {
    /// On the latest version of the definition.
    #[must_use]
    pub const fn on_latest_definition() -> Self {
        Self { use_latest_definitions: true }
    }
}

impl Engine {
    /// Ends a run TERMINATED. Its open tasks are CANCELED; no failure workflow is started. A run
    /// that was terminated already stays as it is.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has ended otherwise.
    pub async fn terminate(&self, id: WorkflowId, reason: &str) -> Result<(), Error> {
        if reason.contains('\0') {
            return Err(Error::invalid("reason", "has a NUL character"));
        }
        if reason.len() > REASON_MAX_BYTES {
            let length = reason.len();
            let why = format!("has {length} bytes, at most {REASON_MAX_BYTES}");
            return Err(Error::invalid("reason", why));
        }
        self.operate(id, Operation::Terminate { reason: reason.to_owned() }).await
    }

    /// Schedules nothing more of a run until [`resume`](Self::resume). Tasks that are scheduled
    /// already may still be handed out and completed. A paused run stays as it is.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has ended.
    pub async fn pause(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::Pause).await
    }

    /// Goes on with a paused run. Its time-out counts anew.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it is not paused.
    pub async fn resume(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::Resume).await
    }

    /// Goes on with a run that ended unsuccessfully: the step that failed gets another attempt.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when nothing of it can be retried.
    pub async fn retry(&self, id: WorkflowId) -> Result<(), Error> {
        self.operate(id, Operation::Retry).await
    }

    /// Runs an ended run again from its first step, under the same id and with the same input.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has not ended, or has COMPLETED
    /// and its definition is not restartable.
    pub async fn restart(&self, id: WorkflowId, options: RestartOptions) -> Result<(), Error> {
        let use_latest_definitions = options.use_latest_definitions;
        self.operate(id, Operation::Restart { use_latest_definitions }).await
    }

    /// Runs an ended run again from a step on, under the same id: what was scheduled before it
    /// stays and is not run again. Without a step all of it runs again on the same definition.
    /// `input` takes the place of the run's input.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has not ended, or has no such
    /// task; [`Error::InvalidInput`] for an input that is no object or too large.
    pub async fn rerun(
        &self,
        id: WorkflowId,
        from: Option<&str>,
        input: Option<Value>,
    ) -> Result<(), Error> {
        if let Some(input) = &input {
            check_input("input", input, WORKFLOW_PAYLOAD_MAX_BYTES)?;
        }
        self.operate(id, Operation::Rerun { from: from.map(str::to_owned), input }).await
    }

    /// Has a running run pass a step that was not scheduled yet: it is listed as SKIPPED with
    /// this input and output. In a loop the name carries its turn (`pay__2`).
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`]; [`Error::Conflict`] when the run is not RUNNING, or the step
    /// is not in its definition or was scheduled already; [`Error::InvalidInput`].
    pub async fn skip(
        &self,
        id: WorkflowId,
        reference_name: &str,
        input: Value,
        output: Value,
    ) -> Result<(), Error> {
        check_input("input", &input, TASK_PAYLOAD_MAX_BYTES)?;
        check_input("output", &output, TASK_PAYLOAD_MAX_BYTES)?;
        let reference_name = reference_name.to_owned();
        self.operate(id, Operation::Skip { reference_name, input, output }).await
    }

    /// Sets the priority of a run that has not ended, and of its tasks: 0 to 99.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::WorkflowNotFound`]; [`Error::Conflict`] when it has
    /// ended.
    pub async fn set_priority(&self, id: WorkflowId, priority: i32) -> Result<(), Error> {
        match i16::try_from(priority) {
            Ok(priority @ 0..=99) => self.operate(id, Operation::SetPriority(priority)).await,
            _ => Err(Error::invalid("priority", format!("{priority} is not within 0 to 99"))),
        }
    }

    async fn operate(&self, id: WorkflowId, operation: Operation) -> Result<(), Error> {
        let shared = self.inner.shared.clone();
        let pool = self.inner.pool.clone();
        let engine = self.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = shared.core.act(client.client()?, &Action::Operate(id, &operation)).await;
            let acted = client.settle(done)?;
            engine.tell(acted).await;
            Ok(())
        })
        .await
    }

    /// Tells the pumps, the timer and other processes what was done.
    pub(super) async fn tell(&self, acted: Acted) {
        let shared = &self.inner.shared;
        for queue in &acted.ready {
            shared.wakes.wake(queue);
            shared.wakes.tell_others(queue);
        }
        if acted.timed {
            shared.wakes.due_in(std::time::Duration::ZERO);
        }
        if !acted.taken.is_empty() {
            for pump in &shared.pumps {
                pump.tell(PumpMessage::Taken(acted.taken.clone())).await;
            }
        }
    }
}

fn check_input(what: &str, value: &Value, limit: usize) -> Result<(), Error> {
    if !value.is_object() {
        return Err(Error::invalid(what, "is no JSON object"));
    }
    check_payload(what, value, limit)
        .map_err(|fault| Error::invalid(format!("{} {}", fault.what, fault.path), fault.reason))
}
