//! Slots: how many tasks may run at once, of each queue and in all; and how many those would take
//! who wait for tasks from afar.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Wakes;
use crate::store::LimitsInForce;

/// A queue that nobody has asked for so long is not looked after any more.
const ASKED_LATELY: Duration = Duration::from_secs(60);

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
    /// Queues that remote workers ask for tasks of.
    asked: BTreeMap<String, Asked>,
    /// Task definitions that have a limit, and how many of their tasks may run at once.
    limits: BTreeMap<String, Option<usize>>,
    knowledge: Knowledge,
    /// Earlier ones, by which somebody may still decide.
    outdated: Vec<CancellationToken>,
    closed: bool,
}

impl Free {
    /// How many slots of a queue are taken for own workers, and how many for others.
    fn take(&mut self, queue: &str, share: usize, most: usize) -> (usize, usize) {
        if self.closed {
            return (0, 0);
        }
        let mut own = 0;
        if let Some(of_queue) = self.queues.get_mut(queue) {
            own = share.min(most).min(self.overall).min(of_queue.free);
            of_queue.free -= own;
            self.overall -= own;
        }
        let mut afar = 0;
        if let Some(asked) = self.asked.get_mut(queue) {
            afar = (most - own).min(asked.room());
            asked.reserved += afar;
        }
        (own, afar)
    }

    fn limit_of(&self, queue: &str) -> Option<(&str, Option<usize>)> {
        if self.limits.is_empty() {
            return None;
        }
        let name = match self.queues.get(queue) {
            Some(of) => of.name.as_str(),
            None => self.asked.get(queue)?.limited_name(queue, &self.limits),
        };
        self.limits.get_key_value(name).map(|(name, most)| (name.as_str(), *most))
    }
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

/// What remote workers ask of a queue.
#[derive(Debug)]
struct Asked {
    /// What stands for the task definition in the queue's name.
    name: String,
    /// How many tasks those who wait would take.
    wanted: usize,
    /// For how many of these there is a slot that is not used yet.
    reserved: usize,
    at: Instant,
}

impl Asked {
    /// The definition whose limit counts for the queue. Remote workers name queues as a whole.
    fn limited_name<'a>(
        &'a self,
        queue: &str,
        limits: &'a BTreeMap<String, Option<usize>>,
    ) -> &'a str {
        if limits.contains_key(&self.name) {
            return &self.name;
        }
        limits.keys().find(|name| is_of(queue, name)).map_or(&self.name, String::as_str)
    }

    const fn room(&self) -> usize {
        self.wanted.saturating_sub(self.reserved)
    }
}

/// A place for one running task; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    queue: Arc<str>,
    /// For somebody who waits from afar: whether he has got his task.
    remote: Option<AtomicBool>,
}

impl Slot {
    pub(crate) const fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Somebody who waited has got his task in this slot: he wants one less.
    pub(crate) fn used(&self) {
        let Some(used) = &self.remote else { return };
        if !used.swap(true, Ordering::AcqRel)
            && let Some(asked) = self.slots.lock().asked.get_mut(&*self.queue)
        {
            asked.reserved = asked.reserved.saturating_sub(1);
            asked.wanted = asked.wanted.saturating_sub(1);
        }
    }
}

impl Slots {
    pub(crate) fn new(overall: usize, queues: BTreeMap<String, OfQueue>) -> Arc<Self> {
        let free = Free {
            overall,
            queues,
            asked: BTreeMap::new(),
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

    /// Whether this process looks after the queue: it has a worker for it, or remote ones have
    /// asked here lately.
    pub(crate) fn serves(&self, queue: &str) -> bool {
        let free = self.lock();
        free.queues.contains_key(queue) || free.asked.contains_key(queue)
    }

    /// Whether this process has a worker of its own for the queue.
    pub(crate) fn has_own(&self, queue: &str) -> bool {
        self.lock().queues.contains_key(queue)
    }

    /// Whether nobody here could take a task of this queue now.
    pub(crate) fn is_full(&self, queue: &str) -> bool {
        let free = self.lock();
        let own = free.queues.get(queue).map_or(0, |of| of.free.min(free.overall));
        let room = free.asked.get(queue).map_or(0, Asked::room);
        free.closed || own + room == 0
    }

    /// The queues that this process looks after.
    pub(crate) fn queues(&self) -> Vec<String> {
        let mut free = self.lock();
        let now = Instant::now();
        free.asked.retain(|_, asked| asked.wanted > 0 || now - asked.at < ASKED_LATELY);
        let mut queues: Vec<String> = free.queues.keys().cloned().collect();
        queues.extend(free.asked.keys().filter(|q| !free.queues.contains_key(*q)).cloned());
        queues
    }

    /// Whether something may be on its way from a queue to those who ask for it.
    pub(crate) fn is_claiming(&self, queue: &str, wakes: &Wakes) -> bool {
        // In the order in which it comes: who looks at slots first misses a flag that becomes one.
        wakes.is_taken_up(queue)
            || self.lock().asked.get(queue).is_some_and(|asked| asked.reserved > 0)
    }

    /// Somebody waits for so many tasks of a queue. Out: whether that queue is new here.
    pub(crate) fn ask(&self, queue: &str, name: &str, wanted: usize) -> bool {
        let mut free = self.lock();
        let at = Instant::now();
        if let Some(asked) = free.asked.get_mut(queue) {
            asked.wanted += wanted;
            asked.at = at;
            return false;
        }
        let asked = Asked { name: name.to_owned(), wanted, reserved: 0, at };
        free.asked.insert(queue.to_owned(), asked);
        true
    }

    /// He does not wait for them any more.
    pub(crate) fn unask(&self, queue: &str, wanted: usize) {
        if let Some(asked) = self.lock().asked.get_mut(queue) {
            asked.wanted = asked.wanted.saturating_sub(wanted);
            asked.at = Instant::now();
        }
    }

    /// Takes up to `most` slots of a queue, of those for own workers up to `share`.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        queue: &Arc<str>,
        share: usize,
        most: usize,
    ) -> Vec<Slot> {
        let (own, afar) = self.lock().take(queue, share, most);
        let far = (0..afar).map(|_| self.slot(queue, true));
        // The last is taken first.
        far.chain((0..own).map(|_| self.slot(queue, false))).collect()
    }

    /// A slot for a task that is written leased, without a claim. None also where its definition
    /// has a limit, which only a claim can keep.
    pub(crate) fn reserve_at_once(self: &Arc<Self>, queue: &Arc<str>) -> Option<Slot> {
        let mut free = self.lock();
        if free.limit_of(queue).is_some() {
            return None;
        }
        match free.take(queue, 1, 1) {
            (0, 0) => None,
            (own, _) => Some(self.slot(queue, own == 0)),
        }
    }

    fn slot(self: &Arc<Self>, queue: &Arc<str>, remote: bool) -> Slot {
        let remote = remote.then(|| AtomicBool::new(false));
        Slot { slots: self.clone(), queue: queue.clone(), remote }
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
        free.queues.keys().chain(free.asked.keys()).cloned().collect()
    }

    /// Of a queue looked after here whose task definition has a limit: the name of that, and how many
    /// may run at once.
    pub(crate) fn limit_of(&self, queue: &str) -> Option<(String, Option<usize>)> {
        let free = self.lock();
        free.limit_of(queue).map(|(name, most)| (name.to_owned(), most))
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
        let own = free.queues.iter().filter(|(_, of)| of.name == name);
        let asked = free.asked.iter().filter(|(queue, asked)| {
            !free.queues.contains_key(*queue) && asked.limited_name(queue, &free.limits) == name
        });
        own.map(|(queue, _)| queue).chain(asked.map(|(queue, _)| queue)).cloned().collect()
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
        if let Some(used) = &self.remote {
            if !used.load(Ordering::Acquire)
                && let Some(asked) = free.asked.get_mut(&*self.queue)
            {
                asked.reserved = asked.reserved.saturating_sub(1);
            }
            return;
        }
        free.overall += 1;
        if let Some(of_queue) = free.queues.get_mut(&*self.queue) {
            of_queue.free += 1;
        }
    }
}
