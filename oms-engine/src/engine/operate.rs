//! What operators do to a run.

use super::{Engine, connection};
use crate::advance::{Acted, Action, Operation};
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
