//! Asking for tasks: never for more than can begin at once.
//!
//! Conductor answers a batch poll when it has as many tasks as were asked for, or when the wait is over. So a
//! queue that seems empty is asked for one task, with a wait, which is answered as soon as there is one;
//! a queue that gave all it was asked for is asked for as many as there are free slots, without.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::backoff::Backoff;
use crate::telemetry::polled;
use crate::worker::{Queue, Shared};

/// Tasks that one poll asks for at most.
const BATCH_MAX: usize = 100;

/// Polls until the worker stops. A poll under way is waited for: what it brings would be lost for a while.
pub(crate) async fn serve(shared: Arc<Shared>, queue: Arc<Queue>) {
    let (mut seems_empty, mut backoff) = (true, Backoff::new());
    loop {
        let most = if seems_empty { 1 } else { BATCH_MAX };
        let slots = shared.stopping.run_until_cancelled(free_slots(&queue, most)).await;
        let Some(mut slots) = slots.filter(|_| !shared.stopping.is_cancelled()) else { return };
        let (asked, wait) =
            (slots.len(), if seems_empty { shared.poll_wait } else { Duration::ZERO });
        let of = (&*queue.name, queue.domain.as_deref());
        match shared.conductor.poll(of, &shared.name, asked, wait).await {
            Ok(tasks) => {
                backoff = Backoff::new();
                seems_empty = tasks.len() < asked;
                polled(&queue.label, if tasks.is_empty() { "empty" } else { "tasks" });
                for task in tasks {
                    // No server gives more than it was asked for; if one does, they wait.
                    let slot = slots.pop();
                    shared.running.spawn(shared.clone().hold(queue.clone(), task, slot));
                }
            }
            Err(error) => {
                drop(slots);
                seems_empty = true;
                polled(&queue.label, "failed");
                tracing::warn!(error = error.in_full(), queue = queue.label, "a poll failed");
                shared.stopping.run_until_cancelled(tokio::time::sleep(backoff.next())).await;
            }
        }
    }
}

/// At least one slot, up to `most`. Nothing closes the semaphore.
async fn free_slots(queue: &Queue, most: usize) -> Vec<OwnedSemaphorePermit> {
    let mut slots: Vec<OwnedSemaphorePermit> =
        queue.slots.clone().acquire_owned().await.into_iter().collect();
    while slots.len() < most
        && let Ok(slot) = queue.slots.clone().try_acquire_owned()
    {
        slots.push(slot);
    }
    slots
}
