//! What happens next. Pure: no clock, no randomness, no database, no async.
//!
//! [`decide`] takes a run as it is and one event, moves the state on and says what to open and
//! whether the run ends. Everything that happens to a run goes through it. The rules are
//! Conductor's `DeciderService`, without its flaw of looking things up while it decides.

mod plan;
mod retry;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod timeout;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use plan::{Node, Plan};
pub(crate) use state::{Fact, HistoryFields, RunScope, RunState};
pub use status::{TaskStatus, WorkflowStatus};
pub(crate) use timeout::{TimeoutKind, end_now, only_alerts, timeout_reason, workflow_timeout};

/// Something that happened to a run.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It begins, or begins again in a new epoch.
    Start,
    /// An attempt ended.
    Ended(TaskEnd),
    /// It goes on after an attempt that had ended while the run was paused.
    Continue {
        /// The attempt's reference name.
        after: String,
        /// As in [`TaskEnd`].
        retry_after: Option<Duration>,
        /// As in [`TaskEnd`].
        timeout: Option<TimeoutKind>,
        /// As in [`TaskEnd`].
        jitter: f64,
    },
    /// An operator retries an ended run.
    Retry,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) struct TaskEnd {
    pub(crate) reference_name: String,
    pub(crate) attempt: i16,
    pub(crate) status: TaskStatus,
    pub(crate) input: Option<Arc<Value>>,
    pub(crate) output: Option<Arc<Value>>,
    pub(crate) reason: Option<String>,
    /// The worker's own delay before the next attempt, in place of the policy's.
    pub(crate) retry_after: Option<Duration>,
    /// For an attempt whose time was up: which time.
    pub(crate) timeout: Option<TimeoutKind>,
    /// In 0..=1, drawn by the caller.
    pub(crate) jitter: f64,
}

/// A task to open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenTask {
    pub(crate) node: Arc<Node>,
    pub(crate) attempt: i16,
    pub(crate) delay: Duration,
    pub(crate) input: Arc<Value>,
    pub(crate) set_aside: i16,
    /// What the attempt before failed with.
    pub(crate) reason: Option<String>,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) status: WorkflowStatus,
    pub(crate) output: Arc<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) failed_task: Option<String>,
}

/// What an event leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// What the attempt that ended counts as.
    pub(crate) ended_as: Option<TaskStatus>,
    pub(crate) open: Option<OpenTask>,
    pub(crate) end: Option<End>,
}

/// A state and an event that do not fit together, or a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecideError {
    #[error("the definition has no task {0:?}")]
    UnknownReference(String),
    #[error("task {0:?} has been attempted 32767 times")]
    TooManyAttempts(String),
    #[error("task {0:?} has not ended")]
    NotEnded(String),
    #[error("nothing of it can be retried")]
    NothingToRetry,
    #[error("it is paused: what happens to it waits")]
    Paused,
}

/// Moves a run on by one event.
///
/// Events that are not news (an attempt that is not open, an ended run) change nothing and lead
/// to nothing, so a repeat is harmless. After an error the state is to be thrown away.
pub(crate) fn decide(
    plan: &Plan,
    state: &mut RunState,
    event: &Event,
) -> Result<Decision, DecideError> {
    if state.status == WorkflowStatus::Paused {
        return Err(DecideError::Paused);
    }
    match event {
        Event::Start if state.open.is_empty() && !state.status.is_terminal() => {
            go_on(plan, state, 0, None)
        }
        Event::Ended(end) => ended(plan, state, end),
        // On a straight line an open task means that it has gone on already.
        Event::Continue { after, retry_after, timeout, jitter }
            if state.open.is_empty() && !state.status.is_terminal() =>
        {
            let index = index_of(plan, after)?;
            let fact =
                state.facts.get(after).ok_or_else(|| DecideError::NotEnded(after.clone()))?;
            let after = After {
                attempt: fact.attempt,
                status: fact.status,
                reason: fact.reason.clone(),
                output: fact.output.clone(),
                retry_after: *retry_after,
                timeout: *timeout,
                jitter: *jitter,
            };
            follow(plan, state, index, &after)
        }
        Event::Retry => retry(plan, state),
        Event::Start | Event::Continue { .. } => Ok(Decision::default()),
    }
}

/// What an end that is no step's leaves as the run's output, with `last` as its last task.
pub(crate) fn output_of(plan: &Plan, state: &RunState, last: Option<&Value>) -> Arc<Value> {
    match &plan.output {
        Some(template) => Arc::new(template.resolve(&RunScope::new(plan, state))),
        None => Arc::new(last.cloned().unwrap_or_else(|| json!({}))),
    }
}

/// An attempt that ended, as far as what follows depends on it.
struct After {
    attempt: i16,
    status: TaskStatus,
    reason: Option<String>,
    output: Option<Arc<Value>>,
    retry_after: Option<Duration>,
    timeout: Option<TimeoutKind>,
    jitter: f64,
}

fn index_of(plan: &Plan, reference_name: &str) -> Result<usize, DecideError> {
    plan.index_of(reference_name)
        .ok_or_else(|| DecideError::UnknownReference(reference_name.to_owned()))
}

fn ended(plan: &Plan, state: &mut RunState, end: &TaskEnd) -> Result<Decision, DecideError> {
    let index = index_of(plan, &end.reference_name)?;
    let open = state.open.get(&end.reference_name) == Some(&end.attempt);
    let ends = end.status.is_terminal() && TaskStatus::InProgress.may_become(end.status);
    if !open || state.status.is_terminal() || !ends {
        return Ok(Decision::default());
    }
    state.open.remove(&end.reference_name);
    let (input_read, output_read) = plan.payloads_read(index);
    let fact = Fact {
        epoch: state.epoch,
        attempt: end.attempt,
        status: end.status,
        input: end.input.clone().filter(|_| input_read),
        output: end.output.clone().filter(|_| output_read),
        reason: end.reason.clone(),
        history: None,
    };
    state.facts.insert(end.reference_name.clone(), fact);
    let after = After {
        attempt: end.attempt,
        status: end.status,
        reason: end.reason.clone(),
        output: end.output.clone(),
        retry_after: end.retry_after,
        timeout: end.timeout,
        jitter: end.jitter,
    };
    follow(plan, state, index, &after)
}

/// What follows an attempt of node `index` that has ended.
fn follow(
    plan: &Plan,
    state: &mut RunState,
    index: usize,
    after: &After,
) -> Result<Decision, DecideError> {
    let Some(node) = plan.nodes.get(index) else { return Ok(Decision::default()) };
    match verdict(node, after.attempt, after.status, after.timeout) {
        Verdict::GoOn(status) => {
            if let Some(fact) = state.facts.get_mut(&*node.reference_name) {
                fact.status = status;
            }
            go_on(plan, state, index + 1, Some(status))
        }
        Verdict::Retry => {
            let delay =
                after.retry_after.unwrap_or_else(|| node.retry.delay(after.attempt, after.jitter));
            let open = open(plan, state, node, next_attempt(node, after.attempt)?);
            let delay = delay.min(retry::DELAY_MAX);
            let open = OpenTask { delay, reason: after.reason.clone(), ..open };
            Ok(Decision { ended_as: Some(after.status), open: Some(open), end: None })
        }
        Verdict::Fail => Ok(fail(plan, state, node, after)),
    }
}

/// What an attempt that ended means for its run. It depends on the definition alone.
enum Verdict {
    GoOn(TaskStatus),
    Retry,
    Fail,
}

fn verdict(node: &Node, attempt: i16, status: TaskStatus, timeout: Option<TimeoutKind>) -> Verdict {
    if status.is_successful() {
        return Verdict::GoOn(status);
    }
    if timeout.is_some_and(|kind| timeout::ends_workflow(node, kind)) {
        return Verdict::Fail;
    }
    let out_of_time = timeout == Some(TimeoutKind::Total);
    if status.is_retriable() && !out_of_time && node.retry.allows_after(attempt) {
        Verdict::Retry
    } else if node.optional {
        Verdict::GoOn(TaskStatus::CompletedWithErrors)
    } else if node.permissive {
        Verdict::GoOn(status)
    } else {
        Verdict::Fail
    }
}

/// What an attempt counts as in history when its run is paused and what follows waits.
pub(crate) fn counts_as(plan: &Plan, end: &TaskEnd) -> TaskStatus {
    let Some(node) = plan.node(&end.reference_name) else { return end.status };
    match verdict(node, end.attempt, end.status, end.timeout) {
        Verdict::GoOn(status) => status,
        Verdict::Retry | Verdict::Fail => end.status,
    }
}

fn fail(plan: &Plan, state: &mut RunState, node: &Node, after: &After) -> Decision {
    let status = match after.status {
        TaskStatus::Canceled => WorkflowStatus::Terminated,
        TaskStatus::TimedOut => WorkflowStatus::TimedOut,
        _ => WorkflowStatus::Failed,
    };
    let task_id = state.task_id(&node.reference_name, after.attempt).to_string();
    let reason = failure(&task_id, status, after.reason.as_deref());
    state.turn(status, Some(reason.clone()));
    let output = output_of(plan, state, after.output.as_deref());
    let end = End { status, output, reason: Some(reason), failed_task: Some(task_id) };
    Decision { ended_as: Some(after.status), open: None, end: Some(end) }
}

fn failure(task_id: &str, status: impl Display, reason: Option<&str>) -> String {
    let reason = reason.unwrap_or_default();
    format!("Task {task_id} failed with status: {status} and reason: '{reason}'")
}

/// Opens the first step from node `index` that has no successful end yet, or ends the run.
///
/// A failed step lies ahead only where an operator retries a run: it gets another attempt.
fn go_on(
    plan: &Plan,
    state: &mut RunState,
    index: usize,
    ended_as: Option<TaskStatus>,
) -> Result<Decision, DecideError> {
    for (at, node) in plan.nodes.iter().enumerate().skip(index) {
        let attempt = match state.facts.get(&*node.reference_name) {
            Some(fact) if fact.status.is_successful() => continue,
            Some(fact) => next_attempt(node, fact.attempt)?,
            None => 0,
        };
        for node in plan.released(index.saturating_sub(1)..at) {
            state.facts.remove(&*node.reference_name);
        }
        let open = open(plan, state, node, attempt);
        return Ok(Decision { ended_as, open: Some(open), end: None });
    }
    Ok(Decision { ended_as, open: None, end: Some(complete(plan, state)) })
}

fn complete(plan: &Plan, state: &mut RunState) -> End {
    let failed =
        plan.nodes.iter().filter(|node| node.permissive && !node.optional).filter_map(|node| {
            let fact = state.facts.get(&*node.reference_name)?;
            (!fact.status.is_successful()).then(|| {
                let id = state.task_id(&node.reference_name, fact.attempt).to_string();
                let why = failure(&id, fact.status, fact.reason.as_deref());
                (id, why)
            })
        });
    let failed: Vec<(String, String)> = failed.collect();
    let (status, reason) = if failed.is_empty() {
        (WorkflowStatus::Completed, None)
    } else {
        let reasons: Vec<&str> = failed.iter().map(|(_, reason)| reason.as_str()).collect();
        (WorkflowStatus::Failed, Some(reasons.join(". ")))
    };
    state.turn(status, reason.clone());
    let last = plan.nodes.last().and_then(|node| state.facts.get(&*node.reference_name));
    let output = output_of(plan, state, last.and_then(|fact| fact.output.as_deref()));
    End { status, output, reason, failed_task: failed.into_iter().next().map(|(id, _)| id) }
}

fn open(plan: &Plan, state: &mut RunState, node: &Arc<Node>, attempt: i16) -> OpenTask {
    state.open.insert(node.reference_name.to_string(), attempt);
    let start_delay = u64::try_from(node.start_delay_ms).unwrap_or(0);
    OpenTask {
        node: node.clone(),
        attempt,
        delay: Duration::from_millis(if attempt == 0 { start_delay } else { 0 }),
        input: Arc::new(input_of(plan, state, node, attempt)),
        set_aside: state.set_aside(&node.reference_name),
        reason: None,
    }
}

/// A task's input, worked out (again) from the run.
pub(crate) fn input_of(plan: &Plan, state: &RunState, node: &Node, attempt: i16) -> Value {
    let scope = RunScope::for_task(plan, state, &node.reference_name, attempt);
    Value::Object(node.input.resolve(&scope))
}

fn next_attempt(node: &Node, attempt: i16) -> Result<i16, DecideError> {
    attempt
        .checked_add(1)
        .ok_or_else(|| DecideError::TooManyAttempts(node.reference_name.to_string()))
}

/// An operator's retry: the first step that did not end well gets another attempt; later ones
/// follow when it has.
fn retry(plan: &Plan, state: &mut RunState) -> Result<Decision, DecideError> {
    let unsuccessful = matches!(
        state.status,
        WorkflowStatus::Failed | WorkflowStatus::TimedOut | WorkflowStatus::Terminated
    );
    let ended_well = |node: &Arc<Node>| {
        state.facts.get(&*node.reference_name).is_some_and(|fact| fact.status.is_successful())
    };
    if !unsuccessful || !state.open.is_empty() || plan.nodes.iter().all(ended_well) {
        return Err(DecideError::NothingToRetry);
    }
    state.turn(WorkflowStatus::Running, None);
    go_on(plan, state, 0, None)
}
