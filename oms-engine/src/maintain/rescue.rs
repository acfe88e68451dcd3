//! Rescue: tasks of a dead session go back to their queues.
//!
//! A free lock is a suspicion. It becomes a death after two looks half a second apart with no
//! heartbeat between them, if the server was not restarted, nor a standby promoted, since that
//! heartbeat: then all locks are free at once, and the heartbeat alone decides. So it does for a session that has
//! its lock and is silent: a stopped process, or a host that TCP has not given up yet.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use tokio::time::Instant;

use super::Shared;
use crate::error::Error;
use crate::queue::SessionId;
use crate::store::SessionLook;
use crate::telemetry;

/// A lock must have been free for so long.
const SUSPICION: Duration = Duration::from_millis(500);
/// How often the other sessions are looked at while one of them holds tasks.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What earlier looks saw.
#[derive(Debug, Default)]
pub(super) struct Rescuer {
    suspects: HashMap<i64, (Instant, DateTime<Utc>)>,
    own: Option<(i64, Instant)>,
}

impl Rescuer {
    /// The session that this engine has from now on.
    pub(super) fn lives_as(&mut self, session: SessionId) {
        self.own = session.map(|id| (id, Instant::now()));
    }

    /// Looks at the other sessions once, and rescues what the dead hold. Out: how long it is
    /// until the oldest suspicion is a death.
    pub(super) async fn look(
        &mut self,
        shared: &Shared,
        client: &ClientWrapper,
        session: SessionId,
    ) -> Result<Option<Duration>, Error> {
        let since = match (session, self.own) {
            (Some(own), Some((id, since))) if id == own => since,
            _ => return Ok(Some(LOOK_INTERVAL)),
        };
        let looks = shared.core.store.look_at_sessions(client, session.unwrap_or(0)).await?;
        self.suspects.retain(|id, _| looks.iter().any(|look| look.id == *id));
        for look in looks {
            if self.is_dead(&look, shared.config.heartbeat_limit, since) {
                self.rescue(shared, client, &look).await?;
            }
        }
        let oldest = self.suspects.values().map(|(seen, _)| *seen).min();
        Ok(oldest.map(|seen| (seen.max(since) + SUSPICION) - Instant::now()))
    }

    fn is_dead(&mut self, look: &SessionLook, limit: Duration, own_since: Instant) -> bool {
        if look.dead {
            return look.holds;
        }
        let silent = i64::try_from(limit.as_millis()).is_ok_and(|limit| look.age_ms > limit);
        if silent {
            return true;
        }
        if look.locked || look.locks_since >= look.heartbeat_at {
            self.suspects.remove(&look.id);
            return false;
        }
        let now = Instant::now();
        let (seen, heartbeat) = *self.suspects.entry(look.id).or_insert((now, look.heartbeat_at));
        if heartbeat != look.heartbeat_at {
            self.suspects.insert(look.id, (now, look.heartbeat_at));
            return false;
        }
        now >= seen + SUSPICION && now >= own_since + SUSPICION
    }

    async fn rescue(
        &mut self,
        shared: &Shared,
        client: &ClientWrapper,
        look: &SessionLook,
    ) -> Result<(), Error> {
        let store = &shared.core.store;
        let buried = store.bury_session(client, look).await?;
        self.suspects.remove(&look.id);
        // None: it has sent a heartbeat meanwhile, so it lives.
        let Some(holders) = buried else { return Ok(()) };
        telemetry::buried();
        let queues = store.release_holders(client, &holders).await?;
        telemetry::rescued(queues.iter().map(String::as_str));
        if !queues.is_empty() {
            tracing::warn!(
                session = look.id,
                tasks = queues.len(),
                "rescued tasks of a dead session"
            );
        }
        for queue in queues {
            shared.ready(&queue);
            shared.made_room(&queue);
        }
        // The dead one's timers are everybody's.
        shared.wakes.due_in(Duration::ZERO);
        Ok(())
    }
}
