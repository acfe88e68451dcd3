//! Tasks of one type that come while others of it are under way, and go on together.
//!
//! Whoever comes first leads, takes those who are there when the transaction begins, and after that
//! those who have come meanwhile. It waits for more only where it is told to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Those of one queue that one pump has handed out, and that no batch has taken yet.
#[derive(Debug)]
pub(crate) struct Gatherer<T> {
    waiting: Mutex<Waiting<T>>,
    size: BatchSize,
    full: Notify,
}

/// How many go together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSize {
    pub(crate) largest: usize,
    /// How long to wait for a full batch.
    pub(crate) wait: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    tasks: VecDeque<T>,
    led: bool,
}

impl<T> Gatherer<T> {
    pub(super) fn new(size: BatchSize) -> Self {
        let waiting = Mutex::new(Waiting { tasks: VecDeque::new(), led: false });
        Self { waiting, size, full: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task. Some: nobody leads, and the caller does.
    pub(super) fn join(&self, task: T) -> Option<Leader<'_, T>> {
        let mut waiting = self.lock();
        waiting.tasks.push_back(task);
        if waiting.tasks.len() >= self.size.largest {
            self.full.notify_one();
        }
        let led = std::mem::replace(&mut waiting.led, true);
        (!led).then(|| Leader { gatherer: self, over: false })
    }

    /// Those who have come since, as far as a batch has room for them.
    pub(super) fn fill(&self, batch: &mut Vec<T>) {
        let mut waiting = self.lock();
        let n = waiting.tasks.len().min(self.size.largest.saturating_sub(batch.len()));
        batch.extend(waiting.tasks.drain(..n));
    }
}

/// Whoever takes the batches. Dropped before none is left, the next who comes leads.
#[derive(Debug)]
pub(super) struct Leader<'a, T> {
    gatherer: &'a Gatherer<T>,
    over: bool,
}

impl<T> Leader<'_, T> {
    /// Gives those who wait time to become a full batch.
    pub(super) async fn fuller(&self) {
        let Gatherer { size, full, .. } = self.gatherer;
        let waits = || (1..size.largest).contains(&self.gatherer.lock().tasks.len());
        let over = tokio::time::sleep(size.wait);
        tokio::pin!(over);
        // A notice may be of a batch that has gone since.
        while !size.wait.is_zero() && waits() {
            tokio::select! {
                () = full.notified() => {}
                () = &mut over => return,
            }
        }
    }

    /// A batch, those first who came first. None: nobody waits, and the next who comes leads.
    pub(super) fn take(&mut self) -> Option<Vec<T>> {
        let mut waiting = self.gatherer.lock();
        let n = waiting.tasks.len().min(self.gatherer.size.largest);
        if n == 0 {
            self.over = true;
            waiting.led = false;
            return None;
        }
        Some(waiting.tasks.drain(..n).collect())
    }
}

impl<T> Drop for Leader<'_, T> {
    fn drop(&mut self) {
        if !self.over {
            self.gatherer.lock().led = false;
        }
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
    pub(super) fn of(&self, queue: &str, pump: usize, size: BatchSize) -> Arc<Gatherer<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Gatherer::new(size));
        all.entry((queue.to_owned(), pump)).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at_once(largest: usize) -> BatchSize {
        BatchSize { largest, wait: Duration::ZERO }
    }

    #[test]
    fn the_first_leads_and_takes_those_who_come_meanwhile_until_nobody_waits() {
        let gatherer = Gatherer::new(at_once(10));
        let mut leader = gatherer.join(1).unwrap();
        assert_eq!(leader.take(), Some(vec![1]));
        assert!(gatherer.join(2).is_none() && gatherer.join(3).is_none());
        assert_eq!(leader.take(), Some(vec![2, 3]));
        assert_eq!(leader.take(), None);
        let next = gatherer.join(4);
        assert!(next.is_some(), "nobody led");
        drop(leader);
        assert!(gatherer.join(5).is_none(), "he leads still");
    }

    #[test]
    fn where_a_leader_is_lost_the_next_who_comes_leads_all_who_wait() {
        let gatherer = Gatherer::new(at_once(10));
        let leader = gatherer.join(1);
        assert!(gatherer.join(2).is_none());
        drop(leader);
        assert_eq!(gatherer.join(3).unwrap().take(), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_batch_is_never_larger_than_it_may_be_and_nobody_is_passed() {
        let gatherer = Gatherer::new(at_once(3));
        let mut leader = gatherer.join(0).unwrap();
        for n in 1..8 {
            assert!(gatherer.join(n).is_none());
        }
        let mut batch = leader.take().unwrap();
        gatherer.fill(&mut batch);
        assert_eq!(batch, [0, 1, 2]);
        batch.truncate(1);
        gatherer.fill(&mut batch);
        assert_eq!(batch, [0, 3, 4]);
        assert_eq!(leader.take(), Some(vec![5, 6, 7]));
    }

    #[test]
    fn each_queue_of_each_pump_has_its_own() {
        let gatherers = Gatherers::<u8>::default();
        let of = |queue, pump| gatherers.of(queue, pump, at_once(5));
        assert!(Arc::ptr_eq(&of("a", 1), &of("a", 1)));
        assert!(!Arc::ptr_eq(&of("a", 1), &of("a", 2)));
        assert!(!Arc::ptr_eq(&of("a", 1), &of("b", 1)));
    }
}
