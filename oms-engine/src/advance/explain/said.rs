//! Explanations in words.

use std::cmp::Reverse;

use chrono::{DateTime, SecondsFormat, Utc};

use super::Explanation;
use super::times::TimeSpent;
use super::waits::{OpenTaskExplained, WaitsFor};
use crate::decide::WorkflowStatus;
use crate::store::{AHEAD_MAX, ExplainedRun, ExplainedTask};

/// Nobody has asked a queue for work so long: it is said that nobody serves it.
const SILENT_MS: i64 = 30_000;

/// A length of time, to its two largest units.
fn long(ms: i64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms {
        ..1_000 => format!("{} ms", ms.max(0)),
        1_000..60_000 => format!("{}.{} s", seconds, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", minutes, seconds % 60),
        3_600_000..86_400_000 => format!("{} h {} min", hours, minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

fn at(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    long((now - time).num_milliseconds())
}

fn ahead(ahead: i64) -> String {
    match ahead {
        0 => "it is the next".to_owned(),
        AHEAD_MAX.. => format!("{AHEAD_MAX} or more are before it"),
        1 => "1 is before it".to_owned(),
        n => format!("{n} are before it"),
    }
}

fn worker(queue: &str, before: i64, asked: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let silent = match asked {
        None => ": nobody has asked this queue for work for a day".to_owned(),
        Some(asked) if (now - asked).num_milliseconds() > SILENT_MS => {
            format!(": nobody has asked this queue for work for {}", ago(asked, now))
        }
        Some(_) => String::new(),
    };
    format!("waits for a worker in the queue {queue}, where {}{silent}", ahead(before))
}

fn until(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    match until {
        Some(due) if due > now => {
            format!("until {}, in {}", at(due), long((due - now).num_milliseconds()))
        }
        Some(due) => format!("until {}, which is over: an engine goes on with it", at(due)),
        None => "without end".to_owned(),
    }
}

/// What an open task waits for, in one sentence.
pub(super) fn task(task: &OpenTaskExplained, row: &ExplainedTask, now: DateTime<Utc>) -> String {
    let since = match task.waits_for {
        WaitsFor::Running { .. }
        | WaitsFor::RemoteWorker { .. }
        | WaitsFor::Rescue { .. }
        | WaitsFor::CallBack { .. } => row.started_at.unwrap_or(task.since),
        _ => task.since,
    };
    let name = match (task.reference_task_name.as_str(), task.retry_count) {
        ("", _) => "the run".to_owned(),
        (name, 0) => name.to_owned(),
        (name, n) => format!("{name} (retry {n})"),
    };
    let out = task.times_out.map(|out| format!("; it times out at {}", at(out)));
    let waits = waits(&task.waits_for, task.until, now);
    format!("{name} {waits}; so for {}{}", ago(since, now), out.unwrap_or_default())
}

fn waits(waits: &WaitsFor, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    match waits {
        WaitsFor::Worker { queue, ahead, asked } => worker(queue, *ahead, *asked, now),
        WaitsFor::Limit {
            queue,
            ahead: before,
            task_def_name,
            concurrent_exec_limit: most,
            ..
        } => {
            let which = if most.is_some() { "concurrentExecLimit" } else { "its rate limit" };
            let before = ahead(*before);
            format!(
                "waits in the queue {queue}, where {before}: {which} of {task_def_name} is used up"
            )
        }
        WaitsFor::Running { session, engine, heard } => {
            format!("runs in {engine} (session {session}, heard of {} ago)", ago(*heard, now))
        }
        WaitsFor::RemoteWorker { worker } => {
            format!("is with the worker {}", worker.as_deref().unwrap_or("that polled for it"))
        }
        WaitsFor::Rescue { engine } => {
            let who = engine.as_deref().unwrap_or("an engine that is not known");
            format!("is held by {who}, which is dead: one that lives gives it back to its queue")
        }
        WaitsFor::BackOff => format!("is tried again after its delay, {}", until(end, now)),
        WaitsFor::StartDelay => format!("waits for its start, {}", until(end, now)),
        WaitsFor::CallBack { worker } => {
            let who = worker.as_deref().unwrap_or("its worker");
            format!("was given back by {who}, {}", until(end, now))
        }
        WaitsFor::Timer => format!("waits for a time, {}", until(end, now)),
        WaitsFor::Signal => "waits to be ended from outside, by a signal or a report".to_owned(),
        WaitsFor::Person => "waits for a person".to_owned(),
        WaitsFor::SubWorkflow { workflow_id, workflow_name, status } => {
            format!("waits for the sub-workflow {workflow_name} {workflow_id}, which is {status}")
        }
        WaitsFor::Tasks { remaining: 0, tasks } => {
            format!("waits for what it lists: {}", tasks.join(", "))
        }
        WaitsFor::Tasks { remaining, tasks } if tasks.is_empty() => {
            format!("waits for {remaining} in it")
        }
        WaitsFor::Tasks { remaining, tasks } => {
            format!("waits for {remaining} in it: {}", tasks.join(", "))
        }
        WaitsFor::Engine => {
            "waits for an engine, which does it at once: if this stays, none runs".to_owned()
        }
        WaitsFor::Resume => "goes on when the run is resumed".to_owned(),
    }
}

/// The largest part of a path, in words.
fn most(spent: &TimeSpent) -> &'static str {
    let parts = [
        (spent.run_ms, "at work"),
        (spent.queue_wait_ms, "waiting for a worker"),
        (spent.back_off_ms, "in delays between attempts"),
        (spent.waiting_ms, "waiting for a time, a signal or a person"),
        (spent.sub_workflow_ms, "in sub-workflows"),
        (spent.between_ms, "between tasks"),
    ];
    parts.into_iter().min_by_key(|(ms, _)| Reverse(*ms)).map_or("", |(_, name)| name)
}

/// Where a run stands, in one sentence.
pub(super) fn summary(run: &Explanation, row: &ExplainedRun) -> String {
    let total = long(run.time.total_ms);
    if run.status.is_terminal() {
        let why = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let by = row.failed_task.as_ref().filter(|_| run.status != WorkflowStatus::Completed);
        let by = by.map(|task| format!(" by {task}")).unwrap_or_default();
        let slow = run.time.steps.first().filter(|step| step.critical.total_ms() > 0);
        let slow = slow.map(|step| {
            let (name, ms) = (&step.reference_task_name, step.critical.total_ms());
            format!(
                "; most of that was {}, and {name} took longest, {}",
                most(&run.time.critical),
                long(ms)
            )
        });
        return format!("{} after {total}{by}{why}{}", run.status, slow.unwrap_or_default());
    }
    let paused = match run.status {
        WorkflowStatus::Paused => {
            "PAUSED: what is open can be done, and nothing follows until it is resumed; "
        }
        _ => "",
    };
    let undoing =
        run.compensating.map(|end| format!("what it did is undone before it ends as {end}; "));
    let mut tasks: Vec<&OpenTaskExplained> = run.open_tasks.iter().collect();
    // Containers wait for what stands below them in the list.
    tasks.sort_by_key(|task| matches!(task.waits_for, WaitsFor::Tasks { .. }));
    let first = match tasks.first() {
        Some(task) => task.summary.clone(),
        None => "it has no open task, which cannot be: see the view stuck_workflows".to_owned(),
    };
    let more = match run.open_task_count {
        ..2 => String::new(),
        n => format!("; {} more open", n - 1),
    };
    format!("{paused}{}{first}{more}", undoing.unwrap_or_default())
}
