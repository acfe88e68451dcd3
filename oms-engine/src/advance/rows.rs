//! Decisions as rows of the hot statement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::route::{Domains, queue_of};
use crate::decide::{Decision, End, Fate, Kind, SYSTEM_QUEUE, Scheduled, Scope, Wait};
use crate::store::{EndedRow, OpenedRow, RunEnd, TokenState};

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What a decision schedules, as rows. Without a delay a task is ready; the pump may make it
/// leased.
///
/// `around` is the loop's token that what floats stands in; none where it belongs to the run.
pub(crate) fn opened_rows(
    scheduled: &[Scheduled],
    source: i64,
    around: Option<i64>,
    domains: Option<&Domains>,
) -> Vec<OpenedRow> {
    let containers = Containers::of(scheduled, around);
    let row = |task: &Scheduled| opened_row(task, source, containers.of_task(task), domains);
    scheduled.iter().map(row).collect()
}

/// What opens containers in a decision, by number, and what is around all of it.
pub(super) struct Containers {
    by_key: BTreeMap<usize, i64>,
    around: Option<i64>,
}

impl Containers {
    pub(super) fn of(scheduled: &[Scheduled], around: Option<i64>) -> Self {
        let numbered = (1..).zip(scheduled);
        let by_key = numbered.filter_map(|(number, task)| Some((task.key?, number))).collect();
        Self { by_key, around }
    }

    pub(super) fn of_task(&self, task: &Scheduled) -> Option<i64> {
        match task.scope {
            Scope::Source => None,
            Scope::Opened(key) => self.by_key.get(&key).copied(),
            Scope::Around => Some(-self.around.unwrap_or(0)),
        }
    }
}

pub(super) fn opened_row(
    scheduled: &Scheduled,
    source: i64,
    container: Option<i64>,
    domains: Option<&Domains>,
) -> OpenedRow {
    let node = &scheduled.node;
    let (mut delay_ms, mut due, mut remaining, mut status, mut output) =
        (None, None, None, None, None);
    let mut state = TokenState::Ready;
    if node.kind.is_by_list() {
        remaining = Some(0);
    }
    match &scheduled.fate {
        Fate::Open(Wait::Now) | Fate::GoOn => {}
        Fate::Open(Wait::For(delay)) => {
            state = TokenState::Delayed;
            delay_ms = Some(millis(*delay).max(1));
        }
        Fate::Open(Wait::Until(at)) => {
            state = TokenState::Delayed;
            due = Some(*at);
        }
        Fate::Open(Wait::Signal) => state = TokenState::Delayed,
        Fate::Waits { output: gave } => {
            state = TokenState::Delayed;
            output.clone_from(gave);
        }
        Fate::Line { remaining: 0 } => {}
        Fate::Container { remaining: n } | Fate::Line { remaining: n } => {
            state = TokenState::Container;
            remaining = Some(i32::try_from(*n).unwrap_or(i32::MAX));
        }
        Fate::Ended { status: ended, output: gave } => {
            status = Some(*ended);
            output.clone_from(gave);
        }
    }
    let goes_on = scheduled.fate == Fate::GoOn;
    let of_no_task = goes_on || matches!(scheduled.fate, Fate::Line { .. });
    let of_node = |ms: Option<i64>| ms.filter(|_| !of_no_task);
    let (mut queue, task_type) =
        if of_no_task { (Arc::from(SYSTEM_QUEUE), None) } else { queue_of(node, domains) };
    if let Some(longest) = outside(scheduled) {
        delay_ms = longest;
        queue = node.task_type.clone();
    }
    let kept = node.stores_input || status.is_some() || state == TokenState::Container;
    OpenedRow {
        source,
        reference_name: if of_no_task { Arc::default() } else { scheduled.reference_name.clone() },
        attempt: scheduled.attempt,
        queue,
        task_type,
        state,
        status,
        delay_ms,
        due,
        timeout_ms: of_node(node.timeout_ms),
        poll_timeout_ms: of_node(poll_timeout_ms(scheduled)),
        total_ms: of_node(node.total_ms),
        set_aside: scheduled.set_aside,
        reason: scheduled.reason.clone(),
        input: if goes_on {
            Some(json!({ "after": scheduled.reference_name }).into())
        } else {
            (kept || of_no_task).then(|| scheduled.input.clone())
        },
        output,
        detail: detail_of(scheduled),
        remaining,
        container,
    }
}

/// How long a task waits to be ended from outside, at most; none where it does not so.
fn outside(scheduled: &Scheduled) -> Option<Option<i64>> {
    let node = &scheduled.node;
    match &scheduled.fate {
        Fate::Open(Wait::Signal) => {
            Some([node.timeout_ms, node.silence_ms()].into_iter().flatten().min())
        }
        Fate::Waits { .. } => Some(node.timeout_ms),
        // A WAIT whose time-out comes before its own time ends by that alone.
        Fate::Open(Wait::For(delay)) if node.kind == Kind::Wait => {
            node.timeout_ms.filter(|ms| *ms <= millis(*delay)).map(Some)
        }
        _ => None,
    }
}

/// What nobody polls must be heard of instead, where it waits for a word.
fn poll_timeout_ms(scheduled: &Scheduled) -> Option<i64> {
    let node = &scheduled.node;
    match node.kind {
        Kind::Wait | Kind::Human | Kind::Event => {
            node.silence_ms().filter(|_| scheduled.fate == Fate::Open(Wait::Signal))
        }
        _ => node.poll_timeout_ms,
    }
}

/// What the definition does not tell of a task.
fn detail_of(scheduled: &Scheduled) -> Option<Value> {
    if matches!(scheduled.fate, Fate::Ended { .. }) {
        return None;
    }
    let mut detail = Map::new();
    if let Some(branch) = &scheduled.branch {
        detail.insert("branch".to_owned(), Value::clone(&branch.text));
    }
    if let Some(def) = &scheduled.task_def {
        detail.insert("taskDefinition".to_owned(), json!(def));
    }
    if let Some(items) = &scheduled.items {
        detail.insert("items".to_owned(), Value::clone(items));
    }
    if let Some(child) = &scheduled.child {
        detail.insert("child".to_owned(), json!(child));
    }
    (!detail.is_empty()).then_some(Value::Object(detail))
}

/// What a decision says of the attempt that led to it, on the row of that.
pub(crate) fn tell(row: &mut EndedRow, decision: &Decision) {
    if let Some(status) = decision.ended_as {
        row.status = status;
    }
    if decision.output.is_some() {
        row.output.clone_from(&decision.output);
    }
    if decision.reason.is_some() {
        row.reason.clone_from(&decision.reason);
    }
    row.arrives = decision.arrives;
    row.note.clone_from(&decision.note);
    row.variables =
        (!decision.variables.is_empty()).then(|| Value::Object(decision.variables.clone()));
}

/// The end of a run as the tables have it.
pub(crate) fn run_end(end: End) -> RunEnd {
    RunEnd {
        status: end.status,
        output: end.output.unwrap_or_else(|| Arc::new(Value::Object(Map::new()))),
        reason: end.reason,
        failed_task: end.failed_task,
    }
}
