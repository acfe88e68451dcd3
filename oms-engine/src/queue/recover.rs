//! After an unknown outcome: a new connection, a new holder, and what is true read back.
//!
//! A commit whose answer was lost may have happened. The new holder takes over the leases whose
//! work runs here; all others of the old ones go back to their queues. Both statements wait for
//! what the old connection may still be doing, since they want the same rows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::watch;

use super::Pump;
use super::handed::task_id;
use super::pump::SessionId;
use crate::error::{Error, Remedy, remedy};
use crate::ids::{TaskId, draw_jitter};
use crate::store::REMOTE;
use crate::telemetry::{database_retry, lease_lost};

const WAIT_FIRST: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(1);
/// When the server is short of something.
const WAIT_SHORT_OF: Duration = Duration::from_secs(2);

impl Pump {
    /// Gets a connection and a holder, however long it takes. False: the engine is gone.
    pub(super) async fn renew(&mut self, session: &mut watch::Receiver<SessionId>) -> bool {
        self.client = None;
        self.handle.set_holder(0);
        if self.holder != 0 {
            self.old_holders.push(std::mem::take(&mut self.holder));
        }
        let mut wait = WAIT_FIRST;
        loop {
            let Some(id) = *session.borrow_and_update() else {
                // Taken for dead, or not yet born: nothing that was leased is ours.
                self.lose_all();
                self.old_holders.clear();
                if session.changed().await.is_err() {
                    return false;
                }
                continue;
            };
            match self.try_renew(id).await {
                Ok(true) => return true,
                Ok(false) => {
                    self.lose_all();
                    self.old_holders.clear();
                    if session.changed().await.is_err() {
                        return false;
                    }
                }
                Err(error) => {
                    database_retry(&error);
                    tracing::warn!(%error, "no connection for a pump yet");
                    wait = pause(&error, wait).await;
                }
            }
        }
    }

    /// False: the session is dead.
    async fn try_renew(&mut self, session: i64) -> Result<bool, Error> {
        let (client, _) = self.settings.connector.connect().await?;
        let Some(holder) = self.settings.core.store.draw_holder(&client, session).await? else {
            return Ok(false);
        };
        if !self.old_holders.is_empty() {
            // A take-over that fails half way may have given this holder leases.
            self.take_over(&client, holder).await.inspect_err(|_| self.old_holders.push(holder))?;
        }
        self.old_holders.clear();
        self.client = Some(client);
        self.holder = holder;
        self.handle.set_holder(holder);
        // Whatever was missed meanwhile.
        let mut queues = self.settings.slots.queues();
        queues.push(super::SYSTEM_QUEUE.to_owned());
        self.settings.wakes.wake_all(queues);
        Ok(true)
    }

    async fn take_over(&mut self, client: &ClientWrapper, holder: i64) -> Result<(), Error> {
        let core = self.settings.core.clone();
        let store = &core.store;
        let mut ids: Vec<i64> = self.held.keys().copied().collect();
        ids.extend(self.carried.iter().map(|pending| pending.ended.token_id));
        ids.extend(self.carried_steps.iter().map(|step| step.token_id));
        let adopted = store.adopt_tasks(client, holder, &self.old_holders, &ids).await?;
        let queues = store.release_holders(client, &self.old_holders).await?;
        let adopted: HashMap<i64, i32> = adopted.into_iter().collect();
        let lost: Vec<i64> =
            self.held.keys().copied().filter(|id| !adopted.contains_key(id)).collect();
        for id in lost {
            self.lose(id);
        }
        for held in self.held.values_mut() {
            if let Some(rev) = adopted.get(&held.token.id) {
                held.rev = *rev;
            }
        }
        let gone: Vec<TaskId> = self
            .carried
            .iter()
            .filter(|pending| !adopted.contains_key(&pending.ended.token_id))
            .map(|pending| task_id(&pending.token))
            .collect();
        let written: HashSet<TaskId> = if gone.is_empty() {
            HashSet::new()
        } else {
            store.find_history(client, &gone).await?.into_iter().collect()
        };
        for queue in queues {
            self.ready(&queue);
        }
        let mut carried = std::mem::take(&mut self.carried);
        carried.retain_mut(|pending| {
            let id = pending.ended.token_id;
            if let Some(rev) = adopted.get(&id) {
                pending.ended.rev = *rev;
                pending.token.rev = *rev;
                pending.ended.holder = holder;
                return true;
            }
            if written.contains(&task_id(&pending.token)) {
                self.tell_written(id);
                if pending.ended.run_end.is_some() {
                    self.tell_ended(pending.token.workflow_id, None);
                }
                return false;
            }
            if pending.ended.holder == REMOTE {
                return true;
            }
            if self.answers.remove(&id).is_none() {
                lease_lost();
                tracing::warn!(task_id = %task_id(&pending.token), "lease lost; the report has no effect");
            }
            false
        });
        self.carried = carried;
        // Where the token is gone the step was written, or is lost: either way it is done.
        self.answers.retain(|id, _| adopted.contains_key(id));
        self.carried_steps.retain_mut(|step| {
            if step.holder == REMOTE {
                return true;
            }
            step.holder = holder;
            adopted.contains_key(&step.token_id)
        });
        Ok(())
    }
}

/// Waits before the next try, and says how long the next wait is.
pub(crate) async fn pause(error: &Error, wait: Duration) -> Duration {
    let short_of =
        matches!(error, Error::Database { source, .. } if remedy(source) == Remedy::BackOff);
    let longest = if short_of { WAIT_SHORT_OF } else { wait };
    tokio::time::sleep(longest.mul_f64(0.5 + draw_jitter() / 2.0)).await;
    (wait * 2).min(WAIT_MAX)
}
