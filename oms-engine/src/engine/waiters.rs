//! Those who wait for a run's end: told at once when it ends here, else by one poll for all. Each is
//! looked up once when it comes: its run may have ended before, or not be there.

use std::collections::HashMap;
use std::time::Duration;

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
/// The first poll after a new wait, and the longest time between two.
const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(500);

/// A wait, told how the run ended where that is known.
type Wait = (WorkflowId, oneshot::Sender<Option<RunEnd>>);
/// Where to say that one waits.
pub(super) type Waiters = mpsc::Sender<Wait>;
type Waiting = HashMap<WorkflowId, Vec<oneshot::Sender<Option<RunEnd>>>>;

pub(super) fn spawn(runtime: &Handle, shared: &Shared, ended: mpsc::Receiver<EndedRun>) -> Waiters {
    let (sender, waits) = mpsc::channel(WAITS_MAX);
    runtime.spawn(run(shared.clone(), waits, ended));
    sender
}

async fn run(shared: Shared, mut waits: mpsc::Receiver<Wait>, mut ended: mpsc::Receiver<EndedRun>) {
    let mut waiting = Waiting::new();
    let mut pause = POLL_FIRST;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            wait = waits.recv() => {
                let Some(wait) = wait else { return };
                let mut new = vec![wait];
                while let Ok(wait) = waits.try_recv() {
                    new.push(wait);
                }
                let ids = new.iter().map(|(id, _)| *id).collect();
                for (id, sender) in new {
                    waiting.entry(id).or_default().push(sender);
                }
                look(&shared, &mut waiting, ids).await;
                pause = POLL_FIRST;
                next = next.min(Instant::now() + pause);
            }
            // None is for ever: the pumps have stopped.
            Some(EndedRun { id, end }) = ended.recv() => tell(&mut waiting, id, end.as_ref()),
            () = sleep_until(next), if !waiting.is_empty() => {
                waiting.retain(|_, senders| {
                    senders.retain(|sender| !sender.is_closed());
                    !senders.is_empty()
                });
                let all = waiting.keys().copied().collect();
                look(&shared, &mut waiting, all).await;
                pause = (pause * 2).min(POLL_MAX);
                next = Instant::now() + pause;
            }
        }
    }
}

/// Tells those whose runs are over. After an error the next poll does.
async fn look(shared: &Shared, waiting: &mut Waiting, ids: Vec<WorkflowId>) {
    match poll(shared, ids).await {
        Ok(ids) => ids.into_iter().for_each(|id| tell(waiting, id, None)),
        Err(error) => tracing::warn!(%error, "waiting for workflows"),
    }
}

fn tell(waiting: &mut Waiting, id: WorkflowId, end: Option<&RunEnd>) {
    for sender in waiting.remove(&id).unwrap_or_default() {
        if sender.send(end.cloned()).is_err() {
            tracing::trace!(workflow_id = %id, "nobody waits for it any more");
        }
    }
}

async fn poll(shared: &Shared, ids: Vec<WorkflowId>) -> Result<Vec<WorkflowId>, Error> {
    let mut client = Rented::from(&shared.wait_pool, "waiting for workflows").await?;
    let done = shared.core.store.ended_workflows(client.client()?, &ids).await;
    client.settle(done)
}
