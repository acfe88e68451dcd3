//! What a worker measures, for whichever recorder of the `metrics` facade the program installs.
//!
//! `queue` is `[domain:]task`, as registered; no label holds an id.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use oms_engine::telemetry::{Metric, MetricKind};

/// Polls, by what came of them.
pub const POLLS: &str = "oms_conductor_polls_total";
/// From when a task was received until its end was known.
pub const TASK_SECONDS: &str = "oms_conductor_task_seconds";
/// Tasks that are held.
pub const TASKS_HELD: &str = "oms_conductor_tasks_held";
/// Results, by what became of them.
pub const REPORTS: &str = "oms_conductor_reports_total";
/// Repeated deliveries.
pub const INBOX_ANSWERS: &str = "oms_conductor_inbox_answers_total";

/// All metrics of a worker.
pub const METRICS: [Metric; 5] = [
    Metric::new(
        POLLS,
        MetricKind::Counter,
        &["queue", "outcome"],
        "Polls that gave tasks, were empty, or failed.",
    ),
    Metric::new(
        TASK_SECONDS,
        MetricKind::Histogram,
        &["queue", "outcome"],
        "From when a task was received until its end was known: completed, failed, terminal, in_progress, \
         returned (the worker stops), or lost (the server gave it up).",
    ),
    Metric::new(
        TASKS_HELD,
        MetricKind::Gauge,
        &["queue"],
        "Tasks that this process holds: at work, or their result not yet with the server.",
    ),
    Metric::new(
        REPORTS,
        MetricKind::Counter,
        &["queue", "outcome"],
        "Results by what became of them: taken, retried (once for each try in vain), refused (the server will \
         not have it), late (the server had given the task up), left (the worker's time to stop was over).",
    ),
    Metric::new(
        INBOX_ANSWERS,
        MetricKind::Counter,
        &["queue"],
        "Deliveries of transactional tasks that had been done before, and were answered from the inbox.",
    ),
];

/// Tells the recorder of this process what each metric means. Install the recorder before.
pub fn describe() {
    for metric in &METRICS {
        metric.describe();
    }
}

pub(crate) fn polled(queue: &str, outcome: &'static str) {
    counter!(POLLS, "queue" => queue.to_owned(), "outcome" => outcome).increment(1);
}

pub(crate) fn ended(queue: &str, outcome: &'static str, took: Duration) {
    histogram!(TASK_SECONDS, "queue" => queue.to_owned(), "outcome" => outcome)
        .record(took.as_secs_f64());
}

pub(crate) fn reported(queue: &str, outcome: &'static str) {
    counter!(REPORTS, "queue" => queue.to_owned(), "outcome" => outcome).increment(1);
}

pub(crate) fn answered_from_inbox(queue: &str) {
    counter!(INBOX_ANSWERS, "queue" => queue.to_owned()).increment(1);
}

/// Counts a task as held while it lives.
pub(crate) struct Held(metrics::Gauge);

impl Held {
    pub(crate) fn of(queue: &str) -> Self {
        let held = gauge!(TASKS_HELD, "queue" => queue.to_owned());
        held.increment(1.0);
        Self(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
