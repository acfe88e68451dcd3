//! What happens next. Pure: no clock, no randomness, no database, no async.
//!
//! [`decide`] takes a run as it is and one event, moves the state on and says what to open and
//! whether the run ends. Everything that happens to a run goes through it. The rules are
//! Conductor's `DeciderService`, without its flaw of looking things up while it decides.

mod beside;
mod branches;
mod dynamic;
mod ends;
mod event;
mod flow;
mod graph;
mod join;
mod kind;
mod lists;
mod node;
mod plan;
mod reads;
mod replay;
mod retry;
mod schedule;
mod scope;
mod state;
mod status;
mod system;
#[cfg(test)]
mod tests;
mod timeout;
mod turns;
mod undo;
mod unwind;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

pub(crate) use beside::Branches;
pub(crate) use ends::{counts_as, misfit, node_of, output_of};
pub(crate) use event::Published;
pub(crate) use graph::{Branch, Graph, instance};
pub(crate) use lists::Beside;
pub(crate) use node::{Kind, Node, SUB_WORKFLOW_DEFINITION, SYSTEM_QUEUE};
pub(crate) use plan::Plan;
pub(crate) use scope::RunScope;
pub(crate) use state::{Fact, HistoryFields, OpenLoop, RunState};
pub use status::{TaskStatus, WorkflowStatus};
pub(crate) use timeout::{TimeoutKind, end_now, only_alerts, timeout_reason, workflow_timeout};
pub(crate) use undo::{Undo, undo_reads};
pub(crate) use unwind::{Part, Unwind, dynamic_forks_in, forked_by, undoable_in};

use self::flow::Walk;
use crate::definition::{Payload, PayloadFault, TASK_PAYLOAD_MAX_BYTES, TaskDef};

/// Something that happened to a run.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It begins, or begins again in a new epoch.
    Start,
    /// An attempt ended.
    Ended(TaskEnd),
    /// All that a JOIN or a loop waited for has ended.
    Fell(Fell),
    /// A task that needs no worker, and had to wait, is to be done.
    Run { reference_name: Arc<str>, attempt: i16, input: Payload },
    /// It goes on after an attempt that had ended while the run was paused, or whose successor
    /// was left for another decision.
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
    /// It is about to end, and this is to be undone before.
    Unwind(Unwind),
    /// What was undone last is through: this comes next.
    Undo(Undo),
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) struct TaskEnd {
    pub(crate) reference_name: Arc<str>,
    pub(crate) attempt: i16,
    pub(crate) status: TaskStatus,
    pub(crate) input: Option<Payload>,
    pub(crate) output: Option<Payload>,
    pub(crate) reason: Option<String>,
    /// The worker's own delay before the next attempt, in place of the policy's.
    pub(crate) retry_after: Option<Duration>,
    /// For an attempt whose time was up: which time.
    pub(crate) timeout: Option<TimeoutKind>,
    /// In 0..=1, drawn by the caller.
    pub(crate) jitter: f64,
}

/// A JOIN or a loop with nothing left to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Fell {
    pub(crate) reference_name: Arc<str>,
    pub(crate) attempt: i16,
    pub(crate) input: Payload,
    /// Of a loop: what it went through.
    pub(crate) items: Option<Arc<Value>>,
    /// What the last to arrive said.
    pub(crate) note: Option<Value>,
    /// The last attempts of what it waited for: of a JOIN the tasks of `joinOn`, of a loop the
    /// tasks of its turns (as far as they are kept), in the order they were scheduled.
    pub(crate) gathered: Vec<Gathered>,
}

/// An ended task inside a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gathered {
    /// With turns.
    pub(crate) reference_name: String,
    pub(crate) task_id: String,
    pub(crate) task_name: String,
    pub(crate) status: TaskStatus,
    pub(crate) output: Option<Payload>,
    pub(crate) reason: Option<String>,
}

/// In which container a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In that of the task whose end led to it.
    Source,
    /// In one that this decision opens: the key of its entry.
    Opened(usize),
    /// In the loop around the task whose end led to it; in none where no loop is.
    Around,
}

/// A task that a decision schedules, in the order of their sequence numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scheduled {
    pub(crate) node: Arc<Node>,
    /// With the turns of its loops.
    pub(crate) reference_name: Arc<str>,
    pub(crate) attempt: i16,
    pub(crate) input: Payload,
    pub(crate) set_aside: i16,
    /// What the attempt before failed with, or why this one ended as it did.
    pub(crate) reason: Option<String>,
    /// Of a task that ended before it began, since its input is over the limits.
    pub(crate) over: Option<Box<PayloadFault>>,
    pub(crate) scope: Scope,
    /// Of a container that this decision opens.
    pub(crate) key: Option<usize>,
    /// The branch of a dynamic fork that it stands in.
    pub(crate) branch: Option<Arc<Branch>>,
    /// Of a DYNAMIC task: the definition it was found to have.
    pub(crate) task_def: Option<Arc<TaskDef>>,
    /// Of a loop: what it goes through.
    pub(crate) items: Option<Arc<Value>>,
    /// Of a sub-workflow: the run that is gone on with, in place of a new one.
    pub(crate) child: Option<String>,
    pub(crate) fate: Fate,
}

/// What becomes of a scheduled task in the same decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is open.
    Open(Wait),
    /// It is open, has given something, and ends when somebody says so.
    Waits { output: Option<Payload> },
    /// It is open until so many branches have arrived.
    Container { remaining: usize },
    /// It has ended already.
    Ended { status: TaskStatus, output: Option<Payload> },
    /// No task: what follows this one is left for another decision.
    GoOn,
    /// No task: what is left to be undone of a line, once so many tasks and lines are through.
    Line { remaining: usize },
}

/// When an open task can be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    Now,
    For(Duration),
    Until(DateTime<Utc>),
    /// When somebody says so.
    Signal,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) status: WorkflowStatus,
    /// None: that of the task scheduled last, which has to be looked up.
    pub(crate) output: Option<Arc<Value>>,
    pub(crate) reason: Option<String>,
    pub(crate) failed_task: Option<String>,
}

/// What an event leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// What the attempt that ended counts as.
    pub(crate) ended_as: Option<TaskStatus>,
    /// What it gave, and why it ended so, where the decision has made that.
    pub(crate) output: Option<Payload>,
    pub(crate) reason: Option<String>,
    pub(crate) scheduled: Vec<Scheduled>,
    /// The source's task does not end: it has given this, and ends when somebody says so.
    pub(crate) stays: Option<Payload>,
    /// Events that are published with it.
    pub(crate) events: Vec<Published>,
    /// The source's branch is through: its container has one less to wait for.
    pub(crate) arrives: bool,
    /// What it tells the container.
    pub(crate) note: Option<Value>,
    /// By how many lineages the loop around the source has more to wait for.
    pub(crate) lineages: i64,
    /// What ended and JOINs may wait for, without turns.
    pub(crate) listed: BTreeSet<String>,
    /// The source is a JOIN that has not got what it waits for: it stays open.
    pub(crate) waits: bool,
    /// Variables that were set.
    pub(crate) variables: Map<String, Value>,
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
    /// Not from memory: what it reads has to be read under its lock.
    #[error("it needs what only a fresh look can tell")]
    NeedsFresh,
    /// The caller looks these up, or finds that there are none, and decides again.
    #[error("it needs task definitions: {0:?}")]
    NeedsTaskDefs(BTreeSet<String>),
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
    let mut walk = Walk::new(plan, state);
    walk.event(event)?;
    walk.finish()
}

/// A task's input, worked out from the run.
fn new_input(
    plan: &Plan,
    state: &RunState,
    node: &Node,
    (reference_name, attempt): (&str, i16),
) -> Result<Payload, PayloadFault> {
    let scope = RunScope::for_task(plan, state, reference_name, attempt);
    let what = format_args!("input of task {reference_name:?}");
    let given = state.given.as_ref().filter(|(name, _)| name == reference_name);
    // What a worker gets is not looked into here.
    if given.is_none()
        && node.kind.is_worker()
        && let Some(written) = node.input.write(&scope, what, TASK_PAYLOAD_MAX_BYTES)
    {
        return written;
    }
    let own = node.input.resolve(&scope, what, TASK_PAYLOAD_MAX_BYTES)?;
    let input = match given {
        Some((_, given)) => given_input(given, own, attempt),
        None => own,
    };
    Ok(Payload::from(Value::Object(input)))
}

/// The input of a task that was scheduled, worked out again: it was within its limit then.
pub(crate) fn input_of(
    plan: &Plan,
    state: &RunState,
    node: &Node,
    reference_name: &str,
    attempt: i16,
) -> Payload {
    let found = new_input(plan, state, node, (reference_name, attempt));
    found.unwrap_or_else(|_| Payload::from(Value::Object(Map::new())))
}

/// What an operator gave a step; an attempt that is made again adds what its own input comes to.
fn given_input(given: &Value, own: Map<String, Value>, attempt: i16) -> Map<String, Value> {
    let mut input = given.as_object().cloned().unwrap_or_default();
    if attempt > 0 {
        input.extend(own);
    }
    input
}

fn next_attempt(reference_name: &str, attempt: i16) -> Result<i16, DecideError> {
    attempt.checked_add(1).ok_or_else(|| DecideError::TooManyAttempts(reference_name.to_owned()))
}
