//! Those who wait for a run's end: told at once when it ends here, else by one poll for all.

use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::error::Error;
use crate::ids::WorkflowId;
use crate::maintain::Shared;
use crate::store::Rented;

/// Waits that may queue up to be taken in.
const WAITS_MAX: usize = 1_024;
/// The first poll after a new wait, and the longest time between two.
const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(500);

/// Where to say that one waits.
pub(super) type Waiters = mpsc::Sender<(WorkflowId, oneshot::Sender<()>)>;

pub(super) fn spawn(
    runtime: &Handle,
    shared: &Shared,
    ended: mpsc::Receiver<WorkflowId>,
) -> Waiters {
    let (sender, waits) = mpsc::channel(WAITS_MAX);
    runtime.spawn(run(shared.clone(), waits, ended));
    sender
}

async fn run(
    shared: Shared,
    mut waits: mpsc::Receiver<(WorkflowId, oneshot::Sender<()>)>,
    mut ended: mpsc::Receiver<WorkflowId>,
) {
    let mut waiting: HashMap<WorkflowId, Vec<oneshot::Sender<()>>> = HashMap::new();
    let mut pause = POLL_FIRST;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            wait = waits.recv() => {
                let Some((id, sender)) = wait else { return };
                waiting.entry(id).or_default().push(sender);
                pause = POLL_FIRST;
                next = next.min(Instant::now() + pause);
            }
            // None is for ever: the pumps have stopped.
            Some(id) = ended.recv() => tell(&mut waiting, id),
            () = sleep_until(next), if !waiting.is_empty() => {
                waiting.retain(|_, senders| {
                    senders.retain(|sender| !sender.is_closed());
                    !senders.is_empty()
                });
                match poll(&shared, waiting.keys().copied().collect()).await {
                    Ok(ids) => ids.into_iter().for_each(|id| tell(&mut waiting, id)),
                    Err(error) => tracing::warn!(%error, "waiting for workflows"),
                }
                pause = (pause * 2).min(POLL_MAX);
                next = Instant::now() + pause;
            }
        }
    }
}

fn tell(waiting: &mut HashMap<WorkflowId, Vec<oneshot::Sender<()>>>, id: WorkflowId) {
    for sender in waiting.remove(&id).unwrap_or_default() {
        if sender.send(()).is_err() {
            tracing::trace!(workflow_id = %id, "nobody waits for it any more");
        }
    }
}

async fn poll(shared: &Shared, ids: Vec<WorkflowId>) -> Result<Vec<WorkflowId>, Error> {
    let mut client = Rented::from(&shared.wait_pool, "waiting for workflows").await?;
    let done = shared.core.store.ended_workflows(client.client()?, &ids).await;
    client.settle(done)
}
