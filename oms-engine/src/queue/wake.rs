//! Wake-ups: in this process by a flag and a channel, to other processes by NOTIFY.
//!
//! None of it is needed for correctness: a slow poll is always there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::EVENTS_NOTE;

/// The furthest that a timer is set.
const LOOK_AHEAD_MAX: Duration = Duration::from_secs(3_600);

/// Queues that may have ready tasks, and who waits to hear of them.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// For our pumps.
    flagged: Mutex<BTreeSet<String>>,
    pumps: Notify,
    /// How many pumps look for slots for the flags that they took.
    planning: AtomicUsize,
    /// Queues that may have something to claim after a time, and when.
    later: Mutex<BTreeMap<String, Instant>>,
    /// Task definitions with a limit of which a task has ended here, so that there is room.
    freed: Mutex<BTreeSet<String>>,
    /// For other processes; somebody sends them at intervals.
    outgoing: Mutex<BTreeSet<String>>,
    sender: Notify,
    /// When the timer must look at the latest.
    due: Mutex<Option<Instant>>,
    timer: Notify,
    /// For whoever looks after events.
    events: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held while a pump looks for slots for the flags that it took.
#[derive(Debug)]
pub(crate) struct Planning(Arc<Wakes>);

impl Drop for Planning {
    fn drop(&mut self) {
        self.0.planning.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Wakes {
    /// To be held from before the flags are taken until there are slots for them, or they are put back.
    pub(crate) fn plan(self: &Arc<Self>) -> Planning {
        self.planning.fetch_add(1, Ordering::AcqRel);
        Planning(self.clone())
    }

    /// Whether a queue is flagged, or a pump has just taken flags.
    pub(crate) fn is_taken_up(&self, queue: &str) -> bool {
        // In the order in which a flag goes.
        self.is_flagged(queue) || self.planning.load(Ordering::Acquire) > 0
    }

    /// A queue may have ready tasks.
    pub(crate) fn wake(&self, queue: &str) {
        if queue == EVENTS_NOTE {
            return self.events.notify_one();
        }
        lock(&self.flagged).insert(queue.to_owned());
        self.pumps.notify_one();
    }

    /// Any of these may.
    pub(crate) fn wake_all(&self, queues: Vec<String>) {
        lock(&self.flagged).extend(queues);
        self.pumps.notify_one();
    }

    /// A queue may have something to claim after this time.
    pub(crate) fn wake_later(&self, queue: &str, time: Duration) {
        let at = Instant::now() + time.min(LOOK_AHEAD_MAX);
        let mut later = lock(&self.later);
        let known = later.entry(queue.to_owned()).or_insert(at);
        *known = (*known).min(at);
    }

    /// A task ended here of a definition with a limit: these queues may have one that can begin.
    pub(crate) fn room(&self, name: &str, queues: Vec<String>) {
        lock(&self.freed).insert(name.to_owned());
        self.wake_all(queues);
    }

    /// Whether a task of this name has ended here and nobody looked since.
    pub(crate) fn has_room(&self, name: &str) -> bool {
        lock(&self.freed).contains(name)
    }

    /// Whether there was room of this name to tell of; it is no longer.
    pub(crate) fn take_room(&self, name: &str) -> bool {
        lock(&self.freed).remove(name)
    }

    /// Flags queues whose time has come. Out: when the next one's comes.
    fn ripen(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut later = lock(&self.later);
        let ripe: Vec<String> =
            later.iter().filter(|(_, at)| **at <= now).map(|(queue, _)| queue.clone()).collect();
        for queue in &ripe {
            later.remove(queue);
        }
        let next = later.values().min().copied();
        drop(later);
        if !ripe.is_empty() {
            self.wake_all(ripe);
        }
        next
    }

    /// Takes the flags; whoever takes one claims from that queue.
    pub(crate) fn take(&self) -> BTreeSet<String> {
        self.ripen();
        std::mem::take(&mut *lock(&self.flagged))
    }

    /// Puts flags back without waking anybody: there was no slot.
    pub(crate) fn put_back(&self, queues: impl IntoIterator<Item = String>) {
        lock(&self.flagged).extend(queues);
    }

    /// Whether a queue may have ready tasks that nobody had a slot for.
    pub(crate) fn is_flagged(&self, queue: &str) -> bool {
        lock(&self.flagged).contains(queue)
    }

    /// Waits until a pump should look.
    pub(crate) async fn woken(&self) {
        loop {
            let Some(next) = self.ripen() else { return self.pumps.notified().await };
            tokio::select! {
                () = self.pumps.notified() => return,
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Waits until an event is published.
    pub(crate) async fn published(&self) {
        self.events.notified().await;
    }

    /// Other processes should hear of a queue.
    pub(crate) fn tell_others(&self, queue: &str) {
        lock(&self.outgoing).insert(queue.to_owned());
        self.sender.notify_one();
    }

    /// Waits for something to tell, and takes it.
    pub(crate) async fn to_tell(&self) -> BTreeSet<String> {
        loop {
            let told = std::mem::take(&mut *lock(&self.outgoing));
            if !told.is_empty() {
                return told;
            }
            self.sender.notified().await;
        }
    }

    /// Something is due after this time.
    pub(crate) fn due_in(&self, time: Duration) {
        // A look that comes early finds nothing; a time that the clock does not know is none.
        let at = Instant::now() + time.min(LOOK_AHEAD_MAX);
        let mut due = lock(&self.due);
        if due.is_none_or(|before| at < before) {
            *due = Some(at);
            self.timer.notify_one();
        }
    }

    /// Waits until something is due, at the latest at `last`.
    pub(crate) async fn due(&self, last: Instant) {
        loop {
            let at = lock(&self.due).map_or(last, |at| at.min(last));
            tokio::select! {
                () = tokio::time::sleep_until(at) => {
                    *lock(&self.due) = None;
                    return;
                }
                () = self.timer.notified() => {}
            }
        }
    }
}
