//! Waiting until a run stands.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Engine, connection};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};

/// The first look at a run that is waited for, and the longest time between two.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(250);
/// Names that one wait may have.
const NAMES_MAX: usize = 100;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Halt {
    /// It has ended.
    Ended,
    /// This task of it, or of a sub-workflow that is open, is a WAIT without an end, or one of those
    /// that were asked for and has ended.
    At(TaskId),
}

impl Engine {
    /// Waits until a run has ended, or stands at a WAIT that only somebody outside can end, or one
    /// of the tasks of these reference names has ended, in it or in a sub-workflow that is open.
    /// There is no time limit: put one around it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for too many names; [`Error::Shutdown`]. A run that does not exist has
    /// ended.
    ///
    /// # Cancel safety
    /// Safe to drop and to repeat.
    pub async fn wait_for_halt(
        &self,
        id: WorkflowId,
        reference_names: &[String],
    ) -> Result<Halt, Error> {
        if reference_names.len() > NAMES_MAX {
            let count = reference_names.len();
            let why = format!("has {count} names, at most {NAMES_MAX}");
            return Err(Error::invalid("reference names", why));
        }
        if reference_names.iter().any(|name| name.contains('\0')) {
            return Err(Error::invalid("reference names", "has a NUL character"));
        }
        let ended = self.until_ended(id);
        tokio::pin!(ended);
        let (mut pause, mut next) = (LOOK_FIRST, Instant::now());
        loop {
            tokio::select! {
                biased;
                done = &mut ended => return done.map(|_| Halt::Ended),
                () = sleep_until(next) => {
                    match self.blocking(id, reference_names).await {
                        Ok(Some(task)) => return Ok(Halt::At(task)),
                        Ok(None) => {}
                        Err(error) if error.is_retryable() => {
                            tracing::warn!(%error, workflow_id = %id, "waiting for a workflow");
                        }
                        Err(error) => return Err(error),
                    }
                    next = Instant::now() + pause;
                    pause = (pause * 2).min(LOOK_MAX);
                }
            }
        }
    }

    async fn blocking(
        &self,
        id: WorkflowId,
        reference_names: &[String],
    ) -> Result<Option<TaskId>, Error> {
        let (core, pool) = (self.inner.shared.core.clone(), self.inner.pool.clone());
        let names = reference_names.to_vec();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let found = core.store.find_blocking(client.client()?, id, &names).await;
            client.settle(found)
        })
        .await
    }
}
