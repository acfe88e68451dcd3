//! Those who wait for a run's end: told at once when it ends here, else by one poll for all. Each is
//! looked up once when it comes: its run may have ended before, or not be there.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Fuse, FusedFuture as _};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::error::Error;
use crate::ids::WorkflowId;
use crate::maintain::Shared;
use crate::queue::EndedRun;
use crate::store::{Rented, RunEnd};

/// Waits that may queue up to be taken in.
const WAITS_MAX: usize = 1_024;
/// New waits are looked up at once, but so soon after the last time only together with others.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// The first poll after a new wait, and the longest time between two.
const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(500);

/// A wait, told how the run ended where that is known.
type Wait = (WorkflowId, oneshot::Sender<Option<RunEnd>>);
/// Where to say that one waits.
pub(super) type Waiters = mpsc::Sender<Wait>;
type Waiting = HashMap<WorkflowId, Vec<oneshot::Sender<Option<RunEnd>>>>;

type Look = BoxFuture<'static, Result<Vec<WorkflowId>, Error>>;

pub(super) fn spawn(runtime: &Handle, shared: &Shared, ended: mpsc::Receiver<EndedRun>) -> Waiters {
    let (sender, waits) = mpsc::channel(WAITS_MAX);
    runtime.spawn(run(shared.clone(), waits, ended));
    sender
}

async fn run(shared: Shared, mut waits: mpsc::Receiver<Wait>, mut ended: mpsc::Receiver<EndedRun>) {
    let mut waiting = Waiting::new();
    let mut new: Vec<WorkflowId> = Vec::new();
    let mut pause = POLL_FIRST;
    let (mut next, mut next_look) = (Instant::now(), Instant::now());
    // Beside the rest: whoever is told of an end here waits for no statement.
    let mut look: Fuse<Look> = Fuse::terminated();
    loop {
        let idle = look.is_terminated();
        tokio::select! {
            () = shared.stop.cancelled() => return,
            wait = waits.recv() => {
                let Some((id, sender)) = wait else { return };
                new.push(id);
                waiting.entry(id).or_default().push(sender);
            }
            // None is for ever: the pumps have stopped.
            Some(EndedRun { id, end }) = ended.recv() => tell(&mut waiting, id, end.as_ref()),
            found = &mut look, if !idle => match found {
                Ok(ids) => ids.into_iter().for_each(|id| tell(&mut waiting, id, None)),
                // The next poll finds them.
                Err(error) => tracing::warn!(%error, "waiting for workflows"),
            },
            () = sleep_until(next_look), if idle && !new.is_empty() => {
                let mut ids = std::mem::take(&mut new);
                ids.retain(|id| waiting.contains_key(id));
                if !ids.is_empty() {
                    look = ended_of(shared.clone(), ids).boxed().fuse();
                }
                pause = POLL_FIRST;
                next = next.min(Instant::now() + pause);
                next_look = Instant::now() + LOOK_PAUSE;
            }
            () = sleep_until(next), if idle && new.is_empty() && !waiting.is_empty() => {
                waiting.retain(|_, senders| {
                    senders.retain(|sender| !sender.is_closed());
                    !senders.is_empty()
                });
                let all = waiting.keys().copied().collect();
                look = ended_of(shared.clone(), all).boxed().fuse();
                pause = (pause * 2).min(POLL_MAX);
                next = Instant::now() + pause;
            }
        }
    }
}

fn tell(waiting: &mut Waiting, id: WorkflowId, end: Option<&RunEnd>) {
    for sender in waiting.remove(&id).unwrap_or_default() {
        if sender.send(end.cloned()).is_err() {
            tracing::trace!(workflow_id = %id, "nobody waits for it any more");
        }
    }
}

async fn ended_of(shared: Shared, ids: Vec<WorkflowId>) -> Result<Vec<WorkflowId>, Error> {
    let mut client = Rented::from(&shared.wait_pool, "waiting for workflows").await?;
    let done = shared.core.store.ended_workflows(client.client()?, &ids).await;
    client.settle(done)
}
