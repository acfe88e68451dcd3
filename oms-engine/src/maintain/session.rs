//! The session: a row with a heartbeat, and an advisory lock on a connection of its own.
//!
//! The same connection listens for wake-ups. When it is lost the lock is taken again before
//! anything else; an owner that cannot within the heartbeat limit gives its leases up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use crate::config::ENGINE_VERSION;
use crate::error::Error;
use crate::queue::{EVENTS_NOTE, LIMITS_NOTE, PumpHandle, PumpMessage, TIMER_NOTE, is_engines};
use crate::store::{Others, PollRow};
use crate::telemetry::database_retry;

/// Between tries to get the lock back from an old connection.
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// Between tries to reach the server.
const CONNECT_RETRY: Duration = Duration::from_millis(100);

/// Lives until the engine stops.
pub(crate) async fn run_session(shared: Shared) {
    let mut last_beat = Instant::now();
    let mut session = None;
    while !shared.stop.is_cancelled() {
        let limit = last_beat + shared.config.heartbeat_limit;
        let joined = tokio::select! {
            () = shared.stop.cancelled() => break,
            joined = timeout_at(limit, join(&shared, session)) => joined,
        };
        let Ok((client, notifications, id)) = joined else {
            if session.take().is_some() {
                tracing::error!("the session's lock could not be had in time; leases are given up");
            }
            shared.session.send_replace(None);
            last_beat = Instant::now();
            continue;
        };
        if session != Some(id) {
            tracing::info!(session = id, "session opened");
            session = Some(id);
            shared.session.send_replace(Some(id));
        }
        last_beat = Instant::now();
        match beat(&shared, &client, notifications, id, &mut last_beat).await {
            Ok(Beat::Stopped) => {
                if let Err(error) = shared.core.store.close_session(&client, id).await {
                    tracing::warn!(%error, "the session could not be closed; it will be buried");
                }
                return;
            }
            Ok(Beat::Dead) => {
                tracing::error!(session = id, "this session was taken for dead; leases are lost");
                session = None;
                shared.session.send_replace(None);
            }
            Err(error) => {
                database_retry(&error);
                tracing::warn!(%error, "the session's connection is lost");
            }
        }
    }
}

/// Connects, and takes the lock of the session, or of a new one.
async fn join(
    shared: &Shared,
    session: Option<i64>,
) -> (ClientWrapper, mpsc::Receiver<String>, i64) {
    loop {
        match try_join(shared, session).await {
            Ok(joined) => return joined,
            Err(error) => {
                database_retry(&error);
                tracing::warn!(%error, "no session yet");
                sleep(CONNECT_RETRY).await;
            }
        }
    }
}

async fn try_join(
    shared: &Shared,
    session: Option<i64>,
) -> Result<(ClientWrapper, mpsc::Receiver<String>, i64), Error> {
    let store = &shared.core.store;
    let (client, notifications) = shared.connector.connect().await?;
    let id = match session {
        Some(id) => id,
        None => store.open_session(&client, &shared.config.name, ENGINE_VERSION).await?,
    };
    while !store.lock_session(&client, id).await? {
        sleep(LOCK_RETRY).await;
    }
    store.listen(&client).await?;
    // Before a pump takes anything for this session.
    shared.slots.set_limits(store.list_limits(&client).await?);
    // A new engine is known at once to those that are there.
    store.notify(&client, &[""]).await?;
    Ok((client, notifications, id))
}

enum Beat {
    Stopped,
    Dead,
}

/// Heartbeats, and passes wake-ups on, until the connection is lost.
async fn beat(
    shared: &Shared,
    client: &ClientWrapper,
    mut notifications: mpsc::Receiver<String>,
    id: i64,
    last_beat: &mut Instant,
) -> Result<Beat, Error> {
    let mut next = Instant::now();
    let mut told = -1;
    let mut looks = Looks { at: next, strays: BTreeSet::new() };
    // A connection that swallows answers must be noticed while the session still lives.
    let patience = shared.config.heartbeat_limit / 3;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return Ok(Beat::Stopped),
            note = notifications.recv() => match note {
                // Somebody has just come.
                Some(queue) if queue.is_empty() => next = Instant::now(),
                Some(note) if note == TIMER_NOTE => shared.wakes.due_in(Duration::ZERO),
                Some(note) if note == LIMITS_NOTE => next = Instant::now(),
                // A queue, or a task definition with a limit that has room.
                Some(queue) => {
                    shared.wakes.wake_all(shared.slots.limited_queues(&queue));
                    if shared.slots.serves(&queue) || is_engines(&queue) {
                        shared.wakes.wake(&queue);
                    }
                }
                None => {
                    let doing = "listening for wake-ups";
                    let source = "the connection was closed".into();
                    return Err(Error::Connection { doing, source });
                }
            },
            seen = shared.slots.limits_seen(told) => {
                told = seen;
                next = Instant::now();
            }
            () = tokio::time::sleep_until(next) => {
                let session = (id, told);
                let beat = timeout(patience, one_beat(shared, client, session, &mut looks)).await;
                let missed = |_| Error::Deadline { doing: "sending a heartbeat", after: patience };
                let Some(alone) = beat.map_err(missed)?? else { return Ok(Beat::Dead) };
                *last_beat = Instant::now();
                let interval = shared.config.heartbeat_interval;
                next = Instant::now() + if alone { interval * 2 } else { interval };
            }
        }
    }
}

/// What heartbeats see of open tasks.
struct Looks {
    /// When to look again: this takes long while an old snapshot is held, and much was done since.
    at: Instant,
    /// Leases of this session that belonged to none of its pumps then, by token and holder.
    strays: BTreeSet<(i64, i64)>,
}

/// Open tasks are looked at again after so many times what a heartbeat took that did.
const LOOK_PART: u32 = 20;
/// And at the latest after this time.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// One heartbeat. None: the session is dead. Else whether this engine is alone.
async fn one_beat(
    shared: &Shared,
    client: &ClientWrapper,
    (id, limits_seen): (i64, i64),
    looks: &mut Looks,
) -> Result<Option<bool>, Error> {
    let before: Vec<i64> = shared.pumps.iter().map(PumpHandle::holder).collect();
    let asked = Instant::now();
    let mut domains = shared.core.plans.polls.asked_here();
    domains.extend(shared.domains.iter().cloned());
    let look = asked >= looks.at;
    let beat = shared.core.store.heartbeat(client, (id, limits_seen), &domains, look).await?;
    if look {
        looks.at = Instant::now() + (asked.elapsed() * LOOK_PART).min(LOOK_MAX);
    }
    shared.clock.set(asked.into_std(), beat.now);
    if !beat.alive {
        return Ok(None);
    }
    if beat.min_engine > ENGINE_VERSION {
        tracing::error!(
            needed = beat.min_engine,
            own = ENGINE_VERSION,
            "this engine is too old for its tables: it takes no more tasks; upgrade it"
        );
        shared.slots.close();
    }
    shared.others.send_if_modified(|known| std::mem::replace(known, beat.others) != beat.others);
    shared.turns.there_are_others(beat.others == Others::Matter);
    let own = domains.into_iter().filter(|(_, domain)| !domain.is_empty());
    let own = own.map(|(task_type, domain)| PollRow { task_type, domain, age_ms: 0 });
    shared.core.plans.polls.set(beat.polls.into_iter().chain(own).collect());
    if beat.events_wait {
        shared.wakes.wake(EVENTS_NOTE);
    }
    if beat.limits_version != shared.slots.limits_version() {
        let limits = shared.core.store.list_limits(client).await?;
        shared.wakes.wake_all(shared.slots.set_limits(limits));
    }
    if let Some(due_at) = beat.next_due {
        // Also what an engine had written that has died since.
        shared.wakes.due_in(shared.clock.until(due_at));
    }
    let after: Vec<i64> = shared.pumps.iter().map(PumpHandle::holder).collect();
    let alone = beat.others != Others::Matter;
    let Some(leased) = beat.leased.map(Arc::new) else { return Ok(Some(alone)) };
    for (pump, holder) in shared.pumps.iter().zip(&before) {
        if *holder != 0 && after.contains(holder) {
            let (holder, tokens) = (*holder, leased.clone());
            // A busy pump compares at a later heartbeat; this one must not wait for it.
            if pump.messages.try_send(PumpMessage::Leased { holder, tokens, asked }).is_err() {
                tracing::debug!(holder, "a pump had no room for a comparison");
            }
        }
    }
    // A pump that has no holder now may be about to take leases of an earlier one over.
    let found = if before.contains(&0) || after.contains(&0) {
        BTreeSet::new()
    } else {
        let ours = |holder| before.contains(holder) || after.contains(holder);
        leased.iter().filter(|(_, holder)| !ours(holder)).copied().collect()
    };
    give_back(shared, client, found.intersection(&looks.strays)).await?;
    looks.strays = found;
    Ok(Some(alone))
}

/// What an earlier connection of a pump committed after its leases were taken over.
async fn give_back(
    shared: &Shared,
    client: &ClientWrapper,
    strays: impl Iterator<Item = &(i64, i64)>,
) -> Result<(), Error> {
    for (token, holder) in strays {
        tracing::warn!(token, holder, "a lease that no pump holds is given back");
        for queue in shared.core.store.release_tasks(client, &[*token], *holder).await? {
            shared.ready(&queue);
        }
    }
    Ok(())
}
