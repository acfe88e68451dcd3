//! What the engine measures, for whichever recorder of the `metrics` facade the program installs; and
//! the trace that each run belongs to.
//!
//! Without a recorder an observation is a look into a map and nothing else. Series are process-wide,
//! as the recorder is: several engines in one process count together.

mod count;
mod names;
mod trace;

pub(crate) use count::{
    Depth, Ran, Tally, batch, buried, claimed, database_retry, database_retry_for, depths,
    lease_lost, ran, rescued, retried, started, started_all, unanswered,
};
pub use names::{
    BATCH_SECONDS, BATCH_SIZE, DATABASE_RETRIES, DATABASE_UP, LEASES_LOST, METRICS, Metric,
    MetricKind, QUEUE_DELAYED, QUEUE_LEASED, QUEUE_OLDEST_SECONDS, QUEUE_READY, SESSIONS_BURIED,
    TASK_CLAIM_SECONDS, TASK_RETRIES, TASK_SECONDS, TASKS_RESCUED, WORKFLOWS_ENDED,
    WORKFLOWS_STARTED, describe,
};
#[cfg(feature = "otel")]
pub use trace::EngineSpans;
pub(crate) use trace::{Attempt, Ended, Lineage, attempt, batch_span, went};
pub use trace::{InvalidTraceparent, TraceContext};
