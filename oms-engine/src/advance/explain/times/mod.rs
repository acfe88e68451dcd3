//! Where a run's time went: pure, over when attempts were scheduled, handed out and ended.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::decide::Plan;
use crate::store::{ExplainedEnd, ExplainedTask, TokenState};

/// How long something took, by what it was spent on, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TimeSpent {
    /// Ready, until it was handed out.
    pub queue_wait_ms: i64,
    /// Delayed by the retry policy, or by `startDelay`.
    pub back_off_ms: i64,
    /// With a worker.
    pub run_ms: i64,
    /// Waiting for a time, a signal, a person or an event.
    pub waiting_ms: i64,
    /// In a sub-workflow.
    pub sub_workflow_ms: i64,
    /// No task of the path was open: the engine's own work, and the time in which the run had ended
    /// before it was brought back.
    pub between_ms: i64,
}

impl TimeSpent {
    /// All of it.
    #[must_use]
    pub const fn total_ms(&self) -> i64 {
        self.queue_wait_ms
            + self.back_off_ms
            + self.run_ms
            + self.waiting_ms
            + self.sub_workflow_ms
            + self.between_ms
    }

    fn add(&mut self, other: &Self) {
        self.queue_wait_ms += other.queue_wait_ms;
        self.back_off_ms += other.back_off_ms;
        self.run_ms += other.run_ms;
        self.waiting_ms += other.waiting_ms;
        self.sub_workflow_ms += other.sub_workflow_ms;
        self.between_ms += other.between_ms;
    }
}

/// An attempt on the critical path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PathStep {
    /// The task's reference name, with its turn.
    pub reference_task_name: String,
    /// From 0.
    pub retry_count: i16,
    /// When it was scheduled.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub scheduled_time: DateTime<Utc>,
    /// When it ended; now, where it has not.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub end_time: DateTime<Utc>,
    /// How long it took, and `betweenMs` what lies before it.
    #[serde(flatten)]
    pub spent: TimeSpent,
    #[serde(skip)]
    step: String,
}

/// What one step of the definition took, over all its attempts and turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StepTime {
    /// The step's reference name, without turns.
    pub reference_task_name: String,
    /// How many attempts it had.
    pub attempts: usize,
    /// What they took, those at the same time counted each.
    pub spent: TimeSpent,
    /// What they took of the critical path.
    pub critical: TimeSpent,
}

/// An attempt, ended or open until now.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    reference_name: String,
    /// Without turns.
    step: String,
    number: i16,
    seq: i64,
    scheduled: DateTime<Utc>,
    ended: DateTime<Utc>,
    open: bool,
    spent: TimeSpent,
}

/// The critical path in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) steps: Vec<PathStep>,
    /// Behind the last step.
    pub(super) rest_ms: i64,
}

fn ms(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_milliseconds().max(0)
}

/// What an attempt is scheduled with: when, its number, and until when it is looked at.
struct Times<'a> {
    name: &'a str,
    attempt: i16,
    task_type: &'a str,
    scheduled: DateTime<Utc>,
    started: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
}

/// How an attempt spent its time. None of a container: its time is that of what stands in it.
fn spent(plan: &Plan, times: &Times<'_>) -> Option<TimeSpent> {
    let (mut spent, all) = (TimeSpent::default(), ms(times.scheduled, times.until));
    let node = plan.node(times.name);
    let delay = node.map_or(0, |node| match times.attempt.checked_sub(1) {
        Some(before) if before >= 0 => {
            i64::try_from(node.retry.delay(before, 0.0).as_millis()).unwrap_or(i64::MAX)
        }
        _ => node.start_delay_ms,
    });
    match times.task_type {
        "JOIN" | "DO_WHILE" | "EXCLUSIVE_JOIN" => return None,
        "WAIT" | "HUMAN" | "EVENT" | "SUB_WORKFLOW" => {
            spent.back_off_ms = delay.min(all);
            let rest = all - spent.back_off_ms;
            match times.task_type {
                "SUB_WORKFLOW" => spent.sub_workflow_ms = rest,
                _ => spent.waiting_ms = rest,
            }
        }
        _ => {
            let waited = times.started.map_or(all, |started| ms(times.scheduled, started).min(all));
            spent.back_off_ms = delay.min(waited);
            spent.queue_wait_ms = waited - spent.back_off_ms;
            spent.run_ms = all - waited;
        }
    }
    Some(spent)
}

fn step_of(plan: &Plan, name: &str) -> String {
    match plan.node(name) {
        Some(node) => node.reference_name.to_string(),
        None => name.split_once("__").map_or(name, |(step, _)| step).to_owned(),
    }
}

/// The attempts that time is spent on, ended and open.
pub(super) fn attempts(
    plan: &Plan,
    now: DateTime<Utc>,
    ended: &[ExplainedEnd],
    open: &[ExplainedTask],
) -> Vec<Attempt> {
    let of_ended = ended.iter().map(|row| {
        let times = Times {
            name: &row.reference_name,
            attempt: row.attempt,
            task_type: domainless(&row.task_type),
            scheduled: row.scheduled_at,
            started: row.started_at,
            until: row.ended_at,
        };
        (times, row.seq, false)
    });
    let open = open.iter().filter(|task| {
        !task.reference_name.is_empty()
            && (task.state != TokenState::Container || task.child.is_some())
    });
    let of_open = open.map(|task| {
        let times = Times {
            name: &task.reference_name,
            attempt: task.attempt,
            task_type: domainless(task.task_type.as_deref().unwrap_or(&task.queue)),
            scheduled: task.scheduled_at,
            started: task.started_at,
            until: now,
        };
        (times, task.seq, true)
    });
    let attempt = |(times, seq, open): (Times<'_>, i64, bool)| {
        Some(Attempt {
            spent: spent(plan, &times)?,
            reference_name: times.name.to_owned(),
            step: step_of(plan, times.name),
            number: times.attempt,
            seq,
            scheduled: times.scheduled,
            ended: times.until,
            open,
        })
    };
    of_ended.chain(of_open).filter_map(attempt).collect()
}

fn domainless(task_type: &str) -> &str {
    task_type.rsplit_once(':').map_or(task_type, |(_, own)| own)
}

/// The chain of attempts of which each was scheduled when the one before it ended, found backwards
/// from the end: from the task that is open longest, or the one that ended last.
pub(super) fn critical_path(
    begun: DateTime<Utc>,
    until: DateTime<Utc>,
    attempts: &[Attempt],
) -> Path {
    let mut order: Vec<&Attempt> = attempts.iter().filter(|attempt| !attempt.open).collect();
    order.sort_by_key(|attempt| (attempt.ended, attempt.seq));
    let open = attempts.iter().filter(|attempt| attempt.open);
    order.extend(open.min_by_key(|attempt| (attempt.scheduled, attempt.seq)));
    let (mut at, mut rest_ms) = (until, None);
    let mut steps: Vec<PathStep> = Vec::new();
    for attempt in order.into_iter().rev() {
        if attempt.ended > at {
            continue;
        }
        if attempt.ended < begun {
            break;
        }
        if attempt.spent.total_ms() == 0 {
            continue;
        }
        let after = ms(attempt.ended, at);
        match steps.last_mut() {
            Some(later) => later.spent.between_ms = after,
            None => rest_ms = Some(after),
        }
        at = attempt.scheduled;
        steps.push(PathStep {
            reference_task_name: attempt.reference_name.clone(),
            retry_count: attempt.number,
            scheduled_time: attempt.scheduled,
            end_time: attempt.ended,
            spent: attempt.spent,
            step: attempt.step.clone(),
        });
    }
    match steps.last_mut() {
        Some(first) => first.spent.between_ms = ms(begun, at),
        None => rest_ms = Some(ms(begun, until)),
    }
    steps.reverse();
    Path { steps, rest_ms: rest_ms.unwrap_or(0) }
}

/// What a path adds up to.
pub(super) fn sum(steps: &[PathStep], rest_ms: i64) -> TimeSpent {
    let mut all = TimeSpent { between_ms: rest_ms, ..TimeSpent::default() };
    for step in steps {
        all.add(&step.spent);
    }
    all
}

/// The sums of each step, that which took most of the path first.
pub(super) fn by_step(attempts: &[Attempt], path: &[PathStep]) -> Vec<StepTime> {
    let mut steps: BTreeMap<&str, StepTime> = BTreeMap::new();
    for attempt in attempts {
        let step = steps.entry(&attempt.step).or_insert_with(|| StepTime {
            reference_task_name: attempt.step.clone(),
            attempts: 0,
            spent: TimeSpent::default(),
            critical: TimeSpent::default(),
        });
        step.attempts += 1;
        step.spent.add(&attempt.spent);
    }
    for on_path in path {
        if let Some(step) = steps.get_mut(on_path.step.as_str()) {
            step.critical.add(&TimeSpent { between_ms: 0, ..on_path.spent });
        }
    }
    let mut steps: Vec<StepTime> = steps.into_values().collect();
    steps.sort_by_key(|step| std::cmp::Reverse((step.critical.total_ms(), step.spent.total_ms())));
    steps
}

#[cfg(test)]
mod tests;
