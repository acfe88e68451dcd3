//! The contract: what is measured, under which name, in which unit, with which labels.
//!
//! Names and labels change only with a note in the changelog. No label holds an id: `workflow` is the
//! name of a definition, `queue` is `[domain:]task type`, which is as many as the operator has
//! registered. What a caller can make up (inline definitions, dynamic tasks) is bounded all the same:
//! after 1,000 values of a label in one process the rest are counted under `(other)`.

use metrics::Unit;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// What is so now.
    Gauge,
    /// Observed values.
    Histogram,
}

impl MetricKind {
    /// As Prometheus spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric of the contract.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, with the unit where it has one.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub meaning: &'static str,
}

impl Metric {
    /// For the crates of this workspace.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
        meaning: &'static str,
    ) -> Self {
        Self { name, kind, labels, meaning }
    }

    /// Tells the recorder of it. What has no label is there from then on, at 0.
    pub fn describe(&self) {
        let unit = if self.name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        let (name, meaning, alone) = (self.name, self.meaning, self.labels.is_empty());
        match self.kind {
            MetricKind::Counter => {
                metrics::describe_counter!(name, unit, meaning);
                if alone {
                    metrics::counter!(name).increment(0);
                }
            }
            MetricKind::Gauge => metrics::describe_gauge!(name, unit, meaning),
            MetricKind::Histogram => metrics::describe_histogram!(name, unit, meaning),
        }
    }
}

/// Runs that were started. By a transaction of the caller's, an event, a task or as a failure
/// workflow they count when they are written, whatever becomes of that transaction.
pub const WORKFLOWS_STARTED: &str = "oms_workflows_started_total";
/// Runs that ended, by their status.
pub const WORKFLOWS_ENDED: &str = "oms_workflows_ended_total";
/// From when a task was scheduled until it was claimed.
pub const TASK_CLAIM_SECONDS: &str = "oms_task_claim_seconds";
/// From when a task was given to its worker until it reported.
pub const TASK_SECONDS: &str = "oms_task_seconds";
/// Attempts after one that failed.
pub const TASK_RETRIES: &str = "oms_task_retries_total";
/// Leases that were lost.
pub const LEASES_LOST: &str = "oms_leases_lost_total";
/// Tasks of dead engines that went back to their queues.
pub const TASKS_RESCUED: &str = "oms_tasks_rescued_total";
/// Engines that were found dead.
pub const SESSIONS_BURIED: &str = "oms_sessions_buried_total";
/// What one statement wrote or claimed.
pub const BATCH_SIZE: &str = "oms_batch_size";
/// How long such a statement took.
pub const BATCH_SECONDS: &str = "oms_batch_seconds";
/// What was tried again, by SQLSTATE.
pub const DATABASE_RETRIES: &str = "oms_database_retries_total";
/// Ready tasks.
pub const QUEUE_READY: &str = "oms_queue_ready";
/// The age of the oldest ready task.
pub const QUEUE_OLDEST_SECONDS: &str = "oms_queue_oldest_seconds";
/// Tasks that workers have.
pub const QUEUE_LEASED: &str = "oms_queue_leased";
/// Tasks that are ready after a delay.
pub const QUEUE_DELAYED: &str = "oms_queue_delayed";
/// Whether the last look at the queues was answered.
pub const DATABASE_UP: &str = "oms_database_up";

const COUNTER: MetricKind = MetricKind::Counter;
const GAUGE: MetricKind = MetricKind::Gauge;
const HISTOGRAM: MetricKind = MetricKind::Histogram;

/// All metrics of the engine.
pub const METRICS: [Metric; 16] = [
    Metric::new(
        WORKFLOWS_STARTED,
        COUNTER,
        &["workflow"],
        "Workflows started by this process, sub-workflows too. Those that SQL starts are not in it.",
    ),
    Metric::new(
        WORKFLOWS_ENDED,
        COUNTER,
        &["workflow", "status"],
        "Workflows that this process ended, by status as Conductor spells it.",
    ),
    Metric::new(
        TASK_CLAIM_SECONDS,
        HISTOGRAM,
        &["queue"],
        "From when a first attempt was scheduled until this process claimed it, a startDelay included. \
         A task that was handed over without waiting is not in it.",
    ),
    Metric::new(
        TASK_SECONDS,
        HISTOGRAM,
        &["queue", "outcome"],
        "From when a task was given to its worker until it reported: completed, failed, terminal, \
         in_progress, or returned (canceled, or its worker never got it).",
    ),
    Metric::new(
        TASK_RETRIES,
        COUNTER,
        &["queue"],
        "Attempts that were scheduled after one that failed or timed out.",
    ),
    Metric::new(
        LEASES_LOST,
        COUNTER,
        &[],
        "Leases of this process that were taken from it: time-outs, ended workflows, or it was taken for dead.",
    ),
    Metric::new(
        TASKS_RESCUED,
        COUNTER,
        &["queue"],
        "Tasks of dead engines that this process gave back to their queues.",
    ),
    Metric::new(SESSIONS_BURIED, COUNTER, &[], "Engines that this process found dead."),
    Metric::new(
        BATCH_SIZE,
        HISTOGRAM,
        &["what"],
        "How many steps, starts or claims one statement had; where it had none it is not in it.",
    ),
    Metric::new(BATCH_SECONDS, HISTOGRAM, &[], "How long such a statement took, with its commit."),
    Metric::new(
        DATABASE_RETRIES,
        COUNTER,
        &["sqlstate"],
        "What was tried again or read back after an error, by SQLSTATE; closed: the connection ended \
         without one; deadline: no answer came.",
    ),
    Metric::new(
        QUEUE_READY,
        GAUGE,
        &["queue"],
        "Tasks that wait for a worker, in the whole database, when it was last looked.",
    ),
    Metric::new(
        QUEUE_OLDEST_SECONDS,
        GAUGE,
        &["queue"],
        "How long ago the oldest of them was scheduled; 0 where there is none.",
    ),
    Metric::new(QUEUE_LEASED, GAUGE, &["queue"], "Tasks that workers have, of all engines."),
    Metric::new(
        QUEUE_DELAYED,
        GAUGE,
        &["queue"],
        "Tasks that are ready after a delay: of a retry, a callback or a start.",
    ),
    Metric::new(
        DATABASE_UP,
        GAUGE,
        &[],
        "1 where the database answered when the queues were last looked at, else 0.",
    ),
];

/// Tells the recorder of this process what each metric means. Install the recorder before: an engine
/// keeps what it was first given.
pub fn describe() {
    for metric in &METRICS {
        metric.describe();
    }
}
