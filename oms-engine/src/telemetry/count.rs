//! Observations, with their handles kept: a task costs a look into a map and a few atomic adds.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram, SharedString, counter, gauge, histogram};

use super::names::{
    BATCH_SECONDS, BATCH_SIZE, DATABASE_RETRIES, DATABASE_UP, LEASES_LOST, QUEUE_DELAYED,
    QUEUE_LEASED, QUEUE_OLDEST_SECONDS, QUEUE_READY, SESSIONS_BURIED, TASK_CLAIM_SECONDS,
    TASK_RETRIES, TASK_SECONDS, TASKS_RESCUED, WORKFLOWS_ENDED, WORKFLOWS_STARTED,
};
use super::trace::Ended;
use crate::error::Error;

/// Values of one label, beyond which all others are one.
const VALUES_MAX: usize = 1_000;
const OTHER: &str = "(other)";

/// How a task went that was given to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ran {
    Completed,
    Failed,
    Terminal,
    InProgress,
    Returned,
}

impl Ran {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Terminal => "terminal",
            Self::InProgress => "in_progress",
            Self::Returned => "returned",
        }
    }
}

/// In their order.
const ALL_RAN: [Ran; 5] =
    [Ran::Completed, Ran::Failed, Ran::Terminal, Ran::InProgress, Ran::Returned];

struct OfQueue {
    claims: Histogram,
    /// In the order of [`Ran`].
    runs: [Histogram; 5],
    retries: Counter,
}

impl OfQueue {
    fn of(queue: &str) -> Self {
        let queue = SharedString::from(queue.to_owned());
        let run = |outcome: &'static str| histogram!(TASK_SECONDS, "queue" => queue.clone(), "outcome" => outcome);
        Self {
            claims: histogram!(TASK_CLAIM_SECONDS, "queue" => queue.clone()),
            runs: ALL_RAN.map(|how| run(how.as_str())),
            retries: counter!(TASK_RETRIES, "queue" => queue.clone()),
        }
    }
}

/// The statuses that a run can end with.
const ENDS: [&str; 4] = ["COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED"];

struct OfWorkflow {
    started: Counter,
    ended: [(&'static str, Counter); 4],
}

impl OfWorkflow {
    fn of(workflow: &str) -> Self {
        let workflow = SharedString::from(workflow.to_owned());
        let ended = |status: &'static str| {
            (status, counter!(WORKFLOWS_ENDED, "workflow" => workflow.clone(), "status" => status))
        };
        Self {
            started: counter!(WORKFLOWS_STARTED, "workflow" => workflow.clone()),
            ended: ENDS.map(ended),
        }
    }
}

struct Batches {
    steps: Histogram,
    starts: Histogram,
    claims: Histogram,
    seconds: Histogram,
}

/// Handles by the value of a label.
struct Known<T>(RwLock<HashMap<Box<str>, Arc<T>>>);

impl<T> Known<T> {
    fn new() -> Self {
        Self(RwLock::default())
    }

    fn get(&self, value: &str, make: impl FnOnce(&str) -> T) -> Arc<T> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(value) {
            return found.clone();
        }
        let value = if known.len() >= VALUES_MAX { OTHER } else { value };
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(value.into()).or_insert_with(|| Arc::new(make(value))).clone()
    }
}

static QUEUES: LazyLock<Known<OfQueue>> = LazyLock::new(Known::new);
static WORKFLOWS: LazyLock<Known<OfWorkflow>> = LazyLock::new(Known::new);
/// For those that are looked up seldom: only the names.
static NAMES: LazyLock<Known<()>> = LazyLock::new(Known::new);
static BATCHES: LazyLock<Batches> = LazyLock::new(|| Batches {
    steps: histogram!(BATCH_SIZE, "what" => "steps"),
    starts: histogram!(BATCH_SIZE, "what" => "starts"),
    claims: histogram!(BATCH_SIZE, "what" => "claims"),
    seconds: histogram!(BATCH_SECONDS),
});
/// Queues that were told of, which are told of when they are empty too.
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A value of a label that is not kept with its handles.
fn bounded(value: &str) -> SharedString {
    let known = NAMES.0.read().unwrap_or_else(PoisonError::into_inner);
    if known.contains_key(value) {
        return value.to_owned().into();
    }
    let full = known.len() >= VALUES_MAX;
    drop(known);
    if full {
        return OTHER.into();
    }
    NAMES.get(value, |_| ());
    value.to_owned().into()
}

fn of_queue(queue: &str) -> Arc<OfQueue> {
    QUEUES.get(queue, OfQueue::of)
}

/// A run was started.
pub(crate) fn started(workflow: &str) {
    WORKFLOWS.get(workflow, OfWorkflow::of).started.increment(1);
}

pub(crate) fn started_all<'a>(workflows: impl IntoIterator<Item = &'a str>) {
    workflows.into_iter().for_each(started);
}

/// A first attempt was claimed from its queue.
pub(crate) fn claimed(queue: &str, waited: Duration) {
    of_queue(queue).claims.record(waited);
}

/// A task was reported.
pub(crate) fn ran(queue: &str, how: Ran, took: Duration) {
    if let Some(runs) = of_queue(queue).runs.get(how as usize) {
        runs.record(took);
    }
}

/// An attempt follows one that failed.
pub(crate) fn retried(queue: &str) {
    of_queue(queue).retries.increment(1);
}

pub(crate) fn lease_lost() {
    counter!(LEASES_LOST).increment(1);
}

/// An engine was found dead, which held tasks of these queues.
pub(crate) fn rescued<'a>(queues: impl IntoIterator<Item = &'a str>) {
    for queue in queues {
        counter!(TASKS_RESCUED, "queue" => bounded(queue)).increment(1);
    }
}

pub(crate) fn buried() {
    counter!(SESSIONS_BURIED).increment(1);
}

/// One statement wrote so many steps and starts, and claimed so many tasks.
pub(crate) fn batch((steps, starts, claims): (usize, usize, usize), took: Duration) {
    let batches = &*BATCHES;
    for (n, sizes) in
        [(steps, &batches.steps), (starts, &batches.starts), (claims, &batches.claims)]
    {
        if n > 0 {
            sizes.record(f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
        }
    }
    if steps + starts + claims > 0 {
        batches.seconds.record(took);
    }
}

/// Something is tried again, or read back, since the database did not do it.
pub(crate) fn database_retry(error: &Error) {
    let state = match error {
        Error::Database { source, .. } => source.code().map_or("closed", |code| code.code()),
        Error::Deadline { .. } => "deadline",
        Error::Connection { .. } => "closed",
        _ => return,
    };
    database_retry_for(state);
}

/// As [`database_retry`], of an SQLSTATE.
pub(crate) fn database_retry_for(state: &str) {
    counter!(DATABASE_RETRIES, "sqlstate" => bounded(state)).increment(1);
}

/// How full a queue is.
#[derive(Debug)]
pub(crate) struct Depth<'a> {
    pub(crate) queue: &'a str,
    pub(crate) ready: i64,
    pub(crate) leased: i64,
    pub(crate) delayed: i64,
    pub(crate) oldest: Duration,
}

/// All queues that hold something, as one look found them.
pub(crate) fn depths<'a>(found: impl IntoIterator<Item = Depth<'a>>) {
    gauge!(DATABASE_UP).set(1.0);
    let mut empty = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut told = BTreeSet::new();
    for depth in found {
        let label = bounded(depth.queue);
        empty.remove(&*label);
        tell(&label, &depth);
        told.insert(label.to_string());
    }
    for queue in &*empty {
        let (ready, leased, delayed, oldest) = (0, 0, 0, Duration::ZERO);
        let label = SharedString::from(queue.clone());
        tell(&label, &Depth { queue, ready, leased, delayed, oldest });
    }
    empty.extend(told);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is as exact as it need be")]
fn tell(label: &SharedString, depth: &Depth<'_>) {
    gauge!(QUEUE_READY, "queue" => label.clone()).set(depth.ready as f64);
    gauge!(QUEUE_LEASED, "queue" => label.clone()).set(depth.leased as f64);
    gauge!(QUEUE_DELAYED, "queue" => label.clone()).set(depth.delayed as f64);
    gauge!(QUEUE_OLDEST_SECONDS, "queue" => label.clone()).set(depth.oldest.as_secs_f64());
}

/// The database did not answer when it was asked for its queues.
pub(crate) fn unanswered() {
    gauge!(DATABASE_UP).set(0.0);
}

/// What is to be counted, and told, once a transaction has committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ended: Option<Ended>,
    /// Queues of attempts that follow others.
    pub(crate) retried: Vec<String>,
}

impl Tally {
    pub(crate) fn count(&self) {
        if let Some(run) = &self.ended {
            let known = WORKFLOWS.get(&run.workflow, OfWorkflow::of);
            if let Some((_, ended)) = known.ended.iter().find(|(named, _)| *named == run.status) {
                ended.increment(1);
            }
            run.tell();
        }
        for queue in &self.retried {
            retried(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_values_of_a_label_the_rest_are_one() {
        let known = Known::<String>::new();
        for n in 0..VALUES_MAX + 50 {
            known.get(&format!("made-up-{n}"), str::to_owned);
        }
        assert_eq!(known.0.read().unwrap().len(), VALUES_MAX + 1);
        assert_eq!(&**known.get("one more", str::to_owned), OTHER);
        assert_eq!(&**known.get("made-up-7", str::to_owned), "made-up-7");
    }
}
