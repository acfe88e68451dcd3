//! Tasks of one type that come while others of it are under way, and go on together.
//!
//! Nobody waits for a batch to fill: whoever comes first leads, takes those who are there when the
//! transaction begins, and after that those who have come meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those of one queue that one pump has handed out, and that no batch has taken yet.
#[derive(Debug)]
pub(crate) struct Gatherer<T> {
    waiting: Mutex<Waiting<T>>,
    largest: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    tasks: VecDeque<T>,
    led: bool,
}

impl<T> Gatherer<T> {
    pub(super) fn new(largest: usize) -> Self {
        Self { waiting: Mutex::new(Waiting { tasks: VecDeque::new(), led: false }), largest }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task. True: nobody leads; the caller does, until [`take`](Self::take) gives none.
    pub(super) fn join(&self, task: T) -> bool {
        let mut waiting = self.lock();
        waiting.tasks.push_back(task);
        !std::mem::replace(&mut waiting.led, true)
    }

    /// A batch, those first who came first. None: nobody waits, and the next who comes leads.
    pub(super) fn take(&self) -> Option<Vec<T>> {
        let mut waiting = self.lock();
        let n = waiting.tasks.len().min(self.largest);
        if n == 0 {
            waiting.led = false;
            return None;
        }
        Some(waiting.tasks.drain(..n).collect())
    }

    /// Those who have come since, as far as a batch has room for them.
    pub(super) fn fill(&self, batch: &mut Vec<T>) {
        let mut waiting = self.lock();
        let n = waiting.tasks.len().min(self.largest.saturating_sub(batch.len()));
        batch.extend(waiting.tasks.drain(..n));
    }
}

/// The gatherers of a process, by queue and pump. Tasks of two pumps have two holders: they cannot
/// end in one statement.
#[derive(Debug)]
pub(crate) struct Gatherers<T>(Mutex<ByQueueAndPump<T>>);

type ByQueueAndPump<T> = HashMap<(String, usize), Arc<Gatherer<T>>>;

impl<T> Default for Gatherers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Gatherers<T> {
    pub(super) fn of(&self, queue: &str, pump: usize, largest: usize) -> Arc<Gatherer<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Gatherer::new(largest));
        all.entry((queue.to_owned(), pump)).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_leads_and_takes_those_who_come_meanwhile_until_nobody_waits() {
        let gatherer = Gatherer::new(10);
        assert!(gatherer.join(1));
        assert_eq!(gatherer.take(), Some(vec![1]));
        assert!(!gatherer.join(2) && !gatherer.join(3));
        assert_eq!(gatherer.take(), Some(vec![2, 3]));
        assert_eq!(gatherer.take(), None);
        assert!(gatherer.join(4), "nobody led");
    }

    #[test]
    fn a_batch_is_never_larger_than_it_may_be_and_nobody_is_passed() {
        let gatherer = Gatherer::new(3);
        for n in 0..8 {
            gatherer.join(n);
        }
        let mut batch = gatherer.take().unwrap();
        gatherer.fill(&mut batch);
        assert_eq!(batch, [0, 1, 2]);
        batch.truncate(1);
        gatherer.fill(&mut batch);
        assert_eq!(batch, [0, 3, 4]);
        assert_eq!(gatherer.take(), Some(vec![5, 6, 7]));
    }

    #[test]
    fn each_queue_of_each_pump_has_its_own() {
        let gatherers = Gatherers::<u8>::default();
        let of = |queue, pump| gatherers.of(queue, pump, 5);
        assert!(Arc::ptr_eq(&of("a", 1), &of("a", 1)));
        assert!(!Arc::ptr_eq(&of("a", 1), &of("a", 2)));
        assert!(!Arc::ptr_eq(&of("a", 1), &of("b", 1)));
    }
}
