//! Slots: how many tasks may run at once, of each queue and in all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The queues that this process serves, and their free slots.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    overall: usize,
    queues: BTreeMap<String, usize>,
    closed: bool,
}

/// A place for one running task; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    queue: String,
}

impl Slots {
    /// `queues`: each with its own bound.
    pub(crate) fn new(overall: usize, queues: BTreeMap<String, usize>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(Free { overall, queues, closed: false }) })
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process has a worker for the queue.
    pub(crate) fn serves(&self, queue: &str) -> bool {
        self.lock().queues.contains_key(queue)
    }

    /// The queues served here.
    pub(crate) fn queues(&self) -> Vec<String> {
        self.lock().queues.keys().cloned().collect()
    }

    /// Takes up to `wanted` slots of a queue.
    pub(crate) fn reserve(self: &Arc<Self>, queue: &str, wanted: usize) -> Vec<Slot> {
        let mut free = self.lock();
        if free.closed {
            return Vec::new();
        }
        let overall = free.overall;
        let Some(of_queue) = free.queues.get_mut(queue) else { return Vec::new() };
        let n = wanted.min(overall).min(*of_queue);
        *of_queue -= n;
        free.overall -= n;
        (0..n).map(|_| Slot { slots: self.clone(), queue: queue.to_owned() }).collect()
    }

    /// Free slots in all.
    pub(crate) fn free(&self) -> usize {
        let free = self.lock();
        if free.closed { 0 } else { free.overall }
    }

    /// No further slot is given out: the engine is shutting down or too old.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.slots.lock();
        free.overall += 1;
        if let Some(of_queue) = free.queues.get_mut(&self.queue) {
            *of_queue += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Arc<Slots> {
        Slots::new(3, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 9)]))
    }

    #[test]
    fn neither_bound_is_passed_and_a_dropped_slot_comes_back() {
        let slots = slots();
        let a = slots.reserve("a", 5);
        let b = slots.reserve("b", 5);
        assert_eq!((a.len(), b.len(), slots.free()), (2, 1, 0));
        drop(a);
        assert_eq!((slots.free(), slots.reserve("a", 5).len()), (2, 2));
    }

    #[test]
    fn an_unknown_queue_and_a_closed_door_give_none() {
        let slots = slots();
        assert!(slots.reserve("c", 1).is_empty() && !slots.serves("c"));
        slots.close();
        assert!(slots.reserve("a", 1).is_empty());
    }
}
