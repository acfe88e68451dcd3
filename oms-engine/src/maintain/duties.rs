//! Timers, wake-ups for other processes, rescue: on a connection of their own.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Shared;
use super::rescue::{LOOK_INTERVAL, Rescuer};
use crate::advance::{Action, Happened, OneStep, Operation};
use crate::error::Error;
use crate::queue::PumpMessage;
use crate::store::Others;

/// Due tasks and time-outs that one look takes at most.
const DUE_MAX: i64 = 1_000;
/// Between two looks at what is due; longer where one failed for good and is still due.
const DUE_LEAST: Duration = Duration::from_millis(1);
/// The longest between two looks: each heartbeat tells when the next is due.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(60);
pub(super) const DUE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Other processes hear of a queue at most once in this time, and once more at its end.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(4);
/// How often dead sessions are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(300);
/// How long events are kept with what their handlers did, and how many are forgotten at once.
const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
const EVENTS_FORGOTTEN_MAX: i64 = 10_000;
const CONNECT_RETRY: Duration = Duration::from_millis(100);

/// Lives until the engine stops.
pub(crate) async fn run_duties(shared: Shared) {
    let stop = shared.stop.clone();
    let work = async {
        loop {
            let error = match shared.connector.connect().await {
                Ok((client, notifications)) => duties(&shared, client, notifications).await,
                Err(error) => error,
            };
            tracing::warn!(%error, "timers and rescue pause");
            sleep(CONNECT_RETRY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Works until the connection is lost.
async fn duties(
    shared: &Shared,
    mut client: ClientWrapper,
    _notifications: mpsc::Receiver<String>,
) -> Error {
    let mut rescuer = Rescuer::default();
    rescuer.lives_as(*shared.session.borrow());
    let mut told: HashMap<String, Instant> = HashMap::new();
    let mut others = shared.others.subscribe();
    let mut session = shared.session.subscribe();
    let mut next_look = Instant::now();
    let mut next_forget = Instant::now() + FORGET_INTERVAL;
    let mut next_due = Instant::now();
    loop {
        let done = tokio::select! {
            queues = shared.wakes.to_tell() => {
                tell(shared, &client, queues, &mut told).await
            }
            () = shared.wakes.due(next_due) => match due(shared, &mut client).await {
                Ok(next) => {
                    next_due = Instant::now() + next;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            // The first look comes at once, so that a suspicion is as old as can be.
            _ = others.changed() => {
                next_look = Instant::now();
                Ok(())
            }
            _ = session.changed() => {
                rescuer.lives_as(*session.borrow_and_update());
                Ok(())
            }
            () = tokio::time::sleep_until(next_look) => {
                let (own, others) = (*session.borrow(), *others.borrow());
                let suspected = match others {
                    Others::None => Ok(None),
                    _ => rescuer.look(shared, &client, own).await,
                };
                suspected.map(|suspected| {
                    next_look = Instant::now() + look_again(shared, others, suspected);
                })
            }
            () = tokio::time::sleep_until(next_forget) => {
                next_forget = Instant::now() + FORGET_INTERVAL;
                forget(shared, &client).await
            }
        };
        if let Err(error) = done {
            return error;
        }
    }
}

/// Forgets dead sessions, and events that are old.
async fn forget(shared: &Shared, client: &ClientWrapper) -> Result<(), Error> {
    let kept = i64::try_from(EVENTS_KEPT.as_millis()).unwrap_or(i64::MAX);
    shared.core.store.forget_events(client, (kept, EVENTS_FORGOTTEN_MAX)).await?;
    shared.core.store.forget_sessions(client).await
}

/// When the other sessions are looked at again: often while one of them lives or holds tasks, and
/// then just when a suspicion has become a death; else only so that the dead are not kept for ever.
fn look_again(shared: &Shared, others: Others, suspected: Option<Duration>) -> Duration {
    match (others, suspected) {
        (Others::Matter, Some(left)) => left.min(LOOK_INTERVAL),
        (Others::Matter, None) => LOOK_INTERVAL,
        _ => shared.config.heartbeat_limit,
    }
}

/// Tells other processes of queues; one that was told lately is told again a little later.
async fn tell(
    shared: &Shared,
    client: &ClientWrapper,
    queues: std::collections::BTreeSet<String>,
    told: &mut HashMap<String, Instant>,
) -> Result<(), Error> {
    let now = Instant::now();
    told.retain(|_, at| now - *at < NOTIFY_INTERVAL);
    let (late, new): (Vec<_>, Vec<_>) = queues.into_iter().partition(|q| told.contains_key(q));
    if !late.is_empty() {
        let wakes = shared.wakes.clone();
        tokio::spawn(async move {
            sleep(NOTIFY_INTERVAL).await;
            late.iter().for_each(|queue| wakes.tell_others(queue));
        });
    }
    if !new.is_empty() {
        let payloads: Vec<&str> = new.iter().map(String::as_str).collect();
        shared.core.store.notify(client, &payloads).await?;
        told.extend(new.into_iter().map(|queue| (queue, now)));
    }
    Ok(())
}

/// Does what is due. Out: how long nothing more will be.
async fn due(shared: &Shared, client: &mut ClientWrapper) -> Result<Duration, Error> {
    let store = &shared.core.store;
    let mut least = DUE_LEAST;
    let mut next = store.next_due(client).await?;
    // Most looks find nothing, and then this one statement was all.
    if next.is_some_and(|next| next.is_zero()) {
        least = work_off(shared, client).await?;
        next = store.next_due(client).await?;
    }
    let next = next.unwrap_or(LOOK_MAX);
    #[cfg(feature = "cron")]
    let next =
        super::schedules::fire_due(shared, client).await?.map_or(next, |fire| fire.min(next));
    Ok(next.min(LOOK_MAX).max(least))
}

/// Releases delayed tasks and ends what took too long. Out: how long to wait at least before the
/// next look.
async fn work_off(shared: &Shared, client: &mut ClientWrapper) -> Result<Duration, Error> {
    let store = &shared.core.store;
    let mut queues = store.release_due(client, DUE_MAX).await?;
    let mut freed: Vec<String> = Vec::new();
    let mut least = DUE_LEAST;
    let timed_out = store.timed_out(client, DUE_MAX).await?;
    for due in timed_out {
        let step = OneStep {
            token_id: due.token.id,
            holder: due.holder,
            worker: None,
            happened: Happened::TimeUp,
        };
        match shared.core.act(client, &Action::Step(&step), None).await {
            Ok(acted) if acted.lost => {}
            Ok(acted) => {
                queues.extend(acted.ready);
                freed.extend(acted.freed);
                tracing::info!(
                    workflow_id = %due.token.workflow_id,
                    task = &*due.token.reference_name,
                    "a task's time was up"
                );
                for pump in &shared.pumps {
                    pump.tell(PumpMessage::Taken(acted.taken.clone())).await;
                }
            }
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::error!(%error, token = due.token.id, "a time-out failed");
                least = DUE_AFTER_ERROR;
            }
        }
    }
    for (id, _) in store.overdue_workflows(client, DUE_MAX).await? {
        match shared.core.act(client, &Action::Operate(id, &Operation::TimeUp), None).await {
            Ok(acted) => {
                queues.extend(acted.ready);
                freed.extend(acted.freed);
                for pump in &shared.pumps {
                    pump.tell(PumpMessage::Taken(acted.taken.clone())).await;
                }
            }
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::error!(%error, workflow_id = %id, "a workflow time-out failed");
                least = DUE_AFTER_ERROR;
            }
        }
    }
    queues.sort_unstable();
    queues.dedup();
    for queue in queues {
        shared.ready(&queue);
    }
    for queue in freed {
        shared.made_room(&queue);
    }
    Ok(least)
}
