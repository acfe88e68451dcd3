//! Where a run's time went: its critical path, and the sums of it.

use std::collections::HashSet;
use std::fmt::Write as _;

use oms_engine::{Explanation, TaskExecution, TimeSpent};

use super::text::{short, span};
use crate::shown::plain_name;

/// Steps that are named with what they took.
const STEPS_MAX: usize = 5;
/// How wide the bar is drawn.
const WIDE: i64 = 1_000;

/// What is said of the critical path.
#[derive(Debug, Default)]
pub(super) struct Spent {
    attempts: HashSet<(String, i16)>,
    steps: HashSet<String>,
    pub(super) total: String,
    /// Markup.
    pub(super) bar: String,
    /// A class of the stylesheet, what it is, and how long.
    pub(super) parts: Vec<(&'static str, &'static str, String)>,
    /// Which steps took most of it, and how long.
    pub(super) longest: Vec<(String, String)>,
}

impl Spent {
    pub(super) fn of(explained: &Explanation) -> Self {
        let time = &explained.time;
        let path = &time.critical_path;
        let attempts = path.iter().map(|step| (step.reference_task_name.clone(), step.retry_count));
        let steps = path.iter().map(|step| plain_name(&step.reference_task_name).0.to_owned());
        let mut longest: Vec<(&str, i64)> = time
            .steps
            .iter()
            .map(|step| (step.reference_task_name.as_str(), step.critical.total_ms()))
            .filter(|(_, ms)| *ms > 0)
            .collect();
        longest.truncate(STEPS_MAX);
        let sums = sums(&time.critical);
        let parts = sums.iter().map(|&(class, what, ms)| (class, what, span(ms)));
        let longest = longest.into_iter().map(|(name, ms)| (short(name, 80), span(ms)));
        Self {
            attempts: attempts.collect(),
            steps: steps.collect(),
            total: span(time.total_ms),
            bar: bar(&sums),
            parts: parts.collect(),
            longest: longest.collect(),
        }
    }

    /// Whether the path goes by this attempt.
    pub(super) fn goes_by(&self, task: &TaskExecution) -> bool {
        self.attempts.contains(&(task.reference_task_name.clone(), task.retry_count))
    }

    /// Whether it goes by an attempt of this step.
    pub(super) fn goes_by_step(&self, reference_name: &str) -> bool {
        self.steps.contains(reference_name)
    }
}

/// What there is of each, in the order in which it is drawn.
fn sums(spent: &TimeSpent) -> Vec<(&'static str, &'static str, i64)> {
    let all = [
        ("back", "backed off", spent.back_off_ms),
        ("queue", "queued", spent.queue_wait_ms),
        ("ran", "ran", spent.run_ms),
        ("waited", "waited", spent.waiting_ms),
        ("child", "in sub-workflows", spent.sub_workflow_ms),
        ("between", "between tasks", spent.between_ms),
    ];
    all.into_iter().filter(|(.., ms)| *ms > 0).collect()
}

fn bar(sums: &[(&'static str, &'static str, i64)]) -> String {
    let whole = sums.iter().map(|(.., ms)| *ms).sum::<i64>().max(1);
    let mut bar = format!(
        "<svg class=\"bar\" viewBox=\"0 0 {WIDE} 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    );
    let mut before = 0;
    for (class, _, ms) in sums {
        let (x, end) = (before * WIDE / whole, (before + ms) * WIDE / whole);
        let width = (end - x).max(2);
        // A String takes all that is written to it.
        write!(
            bar,
            "<rect class=\"t-{class}\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"10\"/>"
        )
        .unwrap_or_default();
        before += ms;
    }
    bar.push_str("</svg>");
    bar
}
