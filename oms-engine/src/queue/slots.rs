//! Slots: how many tasks may run at once, of each queue and in all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::store::LimitsInForce;

/// The queues that this process serves, and their free slots.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<Free>,
    /// The number of the limits that were read last.
    versions: watch::Sender<i64>,
}

#[derive(Debug)]
struct Free {
    overall: usize,
    queues: BTreeMap<String, OfQueue>,
    /// Task definitions that have a limit, and how many of their tasks may run at once.
    limits: BTreeMap<String, Option<usize>>,
    knowledge: Knowledge,
    /// Earlier ones, by which somebody may still decide.
    outdated: Vec<CancellationToken>,
    closed: bool,
}

/// The limits as they are known at a time, and who decides by them.
#[derive(Debug)]
struct Knowledge {
    held: Arc<DropGuard>,
    /// Canceled with the last that holds it.
    gone: CancellationToken,
}

impl Knowledge {
    fn new() -> Self {
        let gone = CancellationToken::new();
        Self { held: Arc::new(gone.clone().drop_guard()), gone }
    }
}

/// Held while something is decided by the limits as they are known, and until it is written.
#[derive(Debug)]
pub(crate) struct ByLimits {
    _held: Arc<DropGuard>,
}

/// A queue that is served here.
#[derive(Clone, Debug)]
pub(crate) struct OfQueue {
    /// How many of its tasks may run here at once; while they run, so many more.
    pub(crate) free: usize,
    /// The name of the task definition.
    pub(crate) name: String,
}

/// A place for one running task; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    queue: String,
}

impl Slots {
    pub(crate) fn new(overall: usize, queues: BTreeMap<String, OfQueue>) -> Arc<Self> {
        let free = Free {
            overall,
            queues,
            limits: BTreeMap::new(),
            knowledge: Knowledge::new(),
            outdated: Vec::new(),
            closed: false,
        };
        Arc::new(Self { free: Mutex::new(free), versions: watch::Sender::new(-1) })
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
        let n = wanted.min(overall).min(of_queue.free);
        of_queue.free -= n;
        free.overall -= n;
        (0..n).map(|_| Slot { slots: self.clone(), queue: queue.to_owned() }).collect()
    }

    /// A slot for a task that is written leased, without a claim. None also where its definition
    /// has a limit, which only a claim can keep.
    pub(crate) fn reserve_at_once(self: &Arc<Self>, queue: &str) -> Option<Slot> {
        if self.limit_of(queue).is_some() {
            return None;
        }
        self.reserve(queue, 1).pop()
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

    /// To be held by who decides by the limits, until that is written.
    pub(crate) fn by_limits(&self) -> ByLimits {
        ByLimits { _held: self.lock().knowledge.held.clone() }
    }

    /// Waits until all goes by other limits here than by those of this number, and what was
    /// decided by older ones is written. Out: their number.
    pub(crate) async fn limits_seen(&self, but: i64) -> i64 {
        let mut versions = self.versions.subscribe();
        loop {
            match self.goes_by() {
                Err(older) => older.cancelled().await,
                Ok(version) if version != but => return version,
                // It ends with the sender, which is this one's own.
                Ok(_) => drop(versions.changed().await),
            }
        }
    }

    /// The number of the limits, or older ones by which somebody still decides.
    fn goes_by(&self) -> Result<i64, CancellationToken> {
        let mut free = self.lock();
        free.outdated.retain(|gone| !gone.is_cancelled());
        free.outdated.first().map_or_else(|| Ok(self.limits_version()), |gone| Err(gone.clone()))
    }

    /// The limits that were read last.
    pub(crate) fn limits_version(&self) -> i64 {
        *self.versions.borrow()
    }

    /// Takes limits that were read. Out: the queues served here.
    pub(crate) fn set_limits(&self, limits: LimitsInForce) -> Vec<String> {
        let mut free = self.lock();
        // Another may have read newer ones meanwhile.
        if limits.version > self.limits_version() {
            let old = std::mem::replace(&mut free.knowledge, Knowledge::new());
            free.outdated.push(old.gone);
            self.versions.send_replace(limits.version);
            let most = |most: Option<i32>| most.and_then(|most| usize::try_from(most).ok());
            free.limits = limits.names.into_iter().map(|(name, n)| (name, most(n))).collect();
        }
        free.queues.keys().cloned().collect()
    }

    /// Of a queue served here whose task definition has a limit: the name of that, and how many
    /// may run at once.
    pub(crate) fn limit_of(&self, queue: &str) -> Option<(String, Option<usize>)> {
        let free = self.lock();
        if free.limits.is_empty() {
            return None;
        }
        let name = &free.queues.get(queue)?.name;
        free.limits.get(name).map(|most| (name.clone(), *most))
    }

    /// The task definition with a limit whose tasks a queue holds, served here or not.
    pub(crate) fn limited_by(&self, queue: &str) -> Option<String> {
        let free = self.lock();
        if free.limits.is_empty() {
            return None;
        }
        if let Some(served) = free.queues.get(queue) {
            return free.limits.contains_key(&served.name).then(|| served.name.clone());
        }
        free.limits.keys().find(|name| is_of(queue, name)).cloned()
    }

    /// The queues served here that hold tasks of a definition with a limit.
    pub(crate) fn limited_queues(&self, name: &str) -> Vec<String> {
        let free = self.lock();
        if !free.limits.contains_key(name) {
            return Vec::new();
        }
        let of_name = free.queues.iter().filter(|(_, of)| of.name == name);
        of_name.map(|(queue, _)| queue.clone()).collect()
    }
}

/// Whether a queue holds tasks of this name: `[domain:]name[@namespace][-group]`. Where it may be
/// either, it does: that costs a look and nothing else.
fn is_of(queue: &str, name: &str) -> bool {
    let begins = |rest: &str| {
        let rest = rest.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '-']))
    };
    begins(queue) || queue.split_once(':').is_some_and(|(_, rest)| begins(rest))
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.slots.lock();
        free.overall += 1;
        if let Some(of_queue) = free.queues.get_mut(&self.queue) {
            of_queue.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn slots() -> Arc<Slots> {
        let of = |queue: &str, free, name: &str| {
            (queue.to_owned(), OfQueue { free, name: name.to_owned() })
        };
        Slots::new(3, BTreeMap::from([of("a", 2, "a"), of("b", 9, "b"), of("eu:b", 9, "b")]))
    }

    fn limits(version: i64, names: &[(&str, Option<i32>)]) -> LimitsInForce {
        let names = names.iter().map(|(name, most)| ((*name).to_owned(), *most)).collect();
        LimitsInForce { version, names }
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

    #[test]
    fn what_has_a_limit_is_never_handed_over_in_whatever_queue() {
        let slots = slots();
        slots.set_limits(limits(4, &[("b", Some(2)), ("c", None)]));
        assert!(slots.reserve_at_once("a").is_some());
        assert!(slots.reserve_at_once("b").is_none() && slots.reserve_at_once("eu:b").is_none());
        assert_eq!(slots.limit_of("eu:b"), Some(("b".to_owned(), Some(2))));
        assert_eq!(slots.limited_queues("b"), ["b", "eu:b"]);
        assert_eq!(slots.limited_queues("a"), Vec::<String>::new());
        for queue in ["c", "eu:c", "c@space", "eu:c@space-group", "c-group"] {
            assert_eq!(slots.limited_by(queue).as_deref(), Some("c"), "{queue}");
        }
        assert_eq!(slots.limited_by("cc"), None);
    }

    #[tokio::test]
    async fn limits_are_seen_when_nobody_decides_by_older_ones() {
        let slots = slots();
        slots.set_limits(limits(1, &[]));
        assert_eq!(slots.limits_seen(-1).await, 1);
        let (one, other) = (slots.by_limits(), slots.by_limits());
        slots.set_limits(limits(2, &[("a", None)]));
        let newer = slots.by_limits();
        let mut seen = std::pin::pin!(slots.limits_seen(1));
        assert!(seen.as_mut().now_or_never().is_none());
        drop((one, newer));
        assert!(seen.as_mut().now_or_never().is_none());
        drop(other);
        assert_eq!(seen.await, 2);
        assert!(slots.limits_seen(2).now_or_never().is_none());
    }

    #[test]
    fn older_limits_do_not_replace_newer_ones() {
        let slots = slots();
        slots.set_limits(limits(4, &[("a", Some(2))]));
        slots.set_limits(limits(3, &[]));
        assert!(slots.limit_of("a").is_some());
        slots.set_limits(limits(5, &[]));
        assert!(slots.limit_of("a").is_none());
    }
}
