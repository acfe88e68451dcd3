//! How states look: an icon, a word and a colour.

use std::fmt;
use std::time::Duration;

use oms_engine::{FireState, TaskExecution, TaskStatus, WorkflowStatus};

use crate::graph::escaped;

/// How a state looks. It is written as markup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Of the stylesheet.
    pub(super) class: &'static str,
    /// A path in a square of 12 by 12.
    pub(super) icon: &'static str,
    pub(super) word: &'static str,
}

/// Engines give a sign of life each second.
const SILENT: Duration = Duration::from_secs(5);

const GOOD: &str = "M2 6.5 5 9.5 10 2.5";
const BAD: &str = "M3 3 9 9M9 3 3 9";
const GOES: &str = "M4 2.5 9.5 6 4 9.5z";
const CLOCK: &str = "M6 1.5a4.5 4.5 0 1 1-.01 0zM6 3.5V6L8 7.2";
const QUEUED: &str = "M6 2a4 4 0 1 1-.01 0z";
const HALT: &str = "M4 2.5V9.5M8 2.5V9.5";
const GLASS: &str = "M3 1.5H9L3 10.5H9z";
const STOP: &str = "M3 3H9V9H3z";
const PASS: &str = "M2 3 5.5 6 2 9M6.5 3 10 6 6.5 9";
const NOTE: &str = "M6 1.8V7.2M6 9.4V10.2";

const fn look(class: &'static str, icon: &'static str, word: &'static str) -> Look {
    Look { class, icon, word }
}

impl Look {
    /// Of nothing that has happened.
    pub(super) const NONE: Self = look("none", "", "");
    /// Of a step that the run has not come to.
    pub(super) const NOT_REACHED: Self = look("none", "", "not reached");

    /// Which is to be looked at first.
    pub(super) fn rank(&self) -> usize {
        let order = ["bad", "warn", "run", "wait", "none", "off", "ok"];
        order.iter().position(|class| *class == self.class).unwrap_or(order.len())
    }

    pub(super) const fn of_run(status: WorkflowStatus) -> Self {
        match status {
            WorkflowStatus::Running => look("run", GOES, "running"),
            WorkflowStatus::Paused => look("warn", HALT, "paused"),
            WorkflowStatus::Completed => look("ok", GOOD, "completed"),
            WorkflowStatus::Failed => look("bad", BAD, "failed"),
            WorkflowStatus::TimedOut => look("bad", GLASS, "timed out"),
            WorkflowStatus::Terminated => look("off", STOP, "terminated"),
        }
    }

    /// Of an engine that was last heard of so long ago.
    pub(super) fn of_engine(dead: bool, silent: Duration) -> Self {
        match dead {
            true => look("off", STOP, "gone"),
            false if silent > SILENT => look("warn", NOTE, "silent"),
            false => look("ok", GOOD, "alive"),
        }
    }

    pub(super) const fn of_schedule(paused: bool) -> Self {
        if paused { look("warn", HALT, "paused") } else { look("ok", CLOCK, "active") }
    }

    pub(super) const fn of_fire(state: FireState) -> Self {
        match state {
            FireState::Executed => look("ok", GOOD, "started"),
            FireState::Failed => look("bad", BAD, "failed"),
            _ => look("off", PASS, "skipped"),
        }
    }

    pub(super) fn of_task(task: &TaskExecution) -> Self {
        match task.status {
            TaskStatus::Completed => look("ok", GOOD, "completed"),
            TaskStatus::CompletedWithErrors => look("warn", NOTE, "completed with errors"),
            TaskStatus::Skipped => look("off", PASS, "skipped"),
            TaskStatus::Failed => look("bad", BAD, "failed"),
            TaskStatus::FailedWithTerminalError => look("bad", BAD, "failed for good"),
            TaskStatus::TimedOut => look("bad", GLASS, "timed out"),
            TaskStatus::Canceled => look("off", STOP, "canceled"),
            TaskStatus::Scheduled => look("wait", QUEUED, "queued"),
            TaskStatus::InProgress if waits(&task.task_type) => look("wait", CLOCK, "waiting"),
            TaskStatus::InProgress => look("run", GOES, "running"),
        }
    }
}

/// A state that is given as a word in capitals, as markup.
pub(super) fn state(word: &str) -> String {
    let of = ["PAYMENT_", "STOCK_", "DELIVERY_"].iter().find_map(|of| word.strip_prefix(of));
    let (class, icon) = match of.unwrap_or(word) {
        "COMPLETED" | "CAPTURED" | "CONFIRMED" | "BOOKED" | "RESERVED" | "SHIPPED" | "SENT"
        | "DELIVERED" | "SCHEDULED" => ("ok", GOOD),
        "FAILED" | "DECLINED" | "REFUSED" | "UNDELIVERABLE" => ("bad", BAD),
        "ACKNOWLEDGED" | "PAID" | "DISPATCHED" | "OUT_FOR_DELIVERY" => ("run", GOES),
        "AUTHORISED" if of.is_some() => ("ok", GOOD),
        "PENDING" | "INTENDED" | "AUTHORISED" | "BACKORDERED" => ("wait", CLOCK),
        "UNWINDING" | "REVERSING" => ("warn", NOTE),
        _ => ("off", STOP),
    };
    let word: String = word.chars().take(40).collect();
    let word = escaped(&word.to_lowercase().replace('_', " "));
    marked(class, icon, &word)
}

fn marked(class: &str, icon: &str, word: &str) -> String {
    format!(
        "<span class=\"state {class}\"><svg viewBox=\"0 0 12 12\" width=\"12\" height=\"12\" \
         aria-hidden=\"true\"><path d=\"{icon}\"/></svg>{word}</span>"
    )
}

/// Whether a task of this type does nothing itself but wait: for others, a time or a person.
pub(super) fn waits(task_type: &str) -> bool {
    const WAITING: [&str; 7] =
        ["JOIN", "EXCLUSIVE_JOIN", "WAIT", "HUMAN", "SUB_WORKFLOW", "DO_WHILE", "FORK"];
    WAITING.contains(&task_type)
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&marked(self.class, self.icon, self.word))
    }
}
