//! Where the time of an attempt went: until it might begin, in its queue, at work, waiting.

use std::fmt::Write as _;

use oms_engine::TaskDef;
use oms_engine::TaskExecution;
use oms_engine::chrono::{DateTime, Utc};
use oms_engine::definition::RetryLogic;

use super::look::waits;
use super::text::span;

/// How wide a bar is drawn.
const WIDE: i64 = 1_000;

/// The times of an attempt in milliseconds; those that are none are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Between the attempt before and when this one might begin.
    pub(super) back_off: i64,
    /// Until a worker had it.
    pub(super) queue: i64,
    /// At work.
    pub(super) run: i64,
    /// For others, a time or a person.
    pub(super) wait: i64,
}

/// A span of time that bars are drawn in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

impl Times {
    /// Of an attempt, with the task definition that it went by where that is known.
    pub(super) fn of(task: &TaskExecution, def: Option<&TaskDef>, now: DateTime<Utc>) -> Self {
        let end = task.end_time.unwrap_or(now);
        let ms = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).num_milliseconds().max(0);
        if waits(&task.task_type) {
            return Self { wait: ms(task.scheduled_time, end), ..Self::default() };
        }
        let begun = task.start_time.unwrap_or(end);
        let before = ms(task.scheduled_time, begun);
        let back_off = def.map_or(0, |def| delay(def, task.retry_count)).min(before);
        let run = task.start_time.map_or(0, |start| ms(start, end));
        Self { back_off, queue: before - back_off, run, wait: 0 }
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let parts = [
            ("back-off", self.back_off),
            ("queued", self.queue),
            ("ran", self.run),
            ("waited", self.wait),
        ];
        let parts = parts.iter().filter(|(_, ms)| *ms > 0);
        let parts: Vec<String> = parts.map(|(what, ms)| format!("{what} {}", span(*ms))).collect();
        if parts.is_empty() { "0 ms".to_owned() } else { parts.join(" · ") }
    }

    /// As a bar in a span of time.
    pub(super) fn bar(&self, begun: DateTime<Utc>, within: Span) -> String {
        let whole = (within.to - within.from).num_milliseconds().max(1);
        let place = |ms: i64| (ms.clamp(0, whole) * WIDE) / whole;
        let mut at = (begun - within.from).num_milliseconds();
        let mut bar = format!(
            "<svg class=\"bar\" viewBox=\"0 0 {WIDE} 10\" preserveAspectRatio=\"none\" \
             aria-hidden=\"true\">"
        );
        let parts = [
            ("back", self.back_off, 4, 2),
            ("queue", self.queue, 3, 4),
            ("ran", self.run, 0, 10),
            ("waited", self.wait, 1, 8),
        ];
        for (class, ms, y, height) in parts {
            if ms > 0 {
                let (x, end) = (place(at), place(at + ms));
                let width = (end - x).max(4);
                let x = x.min(WIDE - width);
                // A String takes all that is written to it.
                write!(
                    bar,
                    "<rect class=\"t-{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
                )
                .unwrap_or_default();
                at += ms;
            }
        }
        bar.push_str("</svg>");
        bar
    }
}

/// How long after the attempt before this one might begin, in milliseconds, without what is drawn.
fn delay(def: &TaskDef, attempt: i16) -> i64 {
    if attempt < 1 {
        return 0;
    }
    let (base, n) = (i64::from(def.retry_delay_seconds), u32::from(attempt.unsigned_abs()));
    let seconds = match def.retry_logic {
        RetryLogic::Fixed => base,
        RetryLogic::LinearBackoff => {
            base.saturating_mul(i64::from(def.backoff_scale_factor)).saturating_mul(i64::from(n))
        }
        RetryLogic::ExponentialBackoff => base.saturating_mul(2_i64.saturating_pow(n - 1)),
    };
    let cap = i64::from(def.max_retry_delay_seconds);
    let seconds = if cap > 0 { seconds.min(cap) } else { seconds };
    seconds.saturating_mul(1_000)
}
