//! One run as the tables would have it, moved by the decider alone.
//!
//! Every step is held to the laws: deterministic, quiescent, monotone, the same from memory as
//! from a fresh load, and never RUNNING without something open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::nonsense::nonsense;
use crate::decide::{
    DecideError, Decision, End, Event, Fact, Fate, Node, Plan, RunState, Scheduled, TaskEnd,
    TaskStatus, TimeoutKind, Wait, WorkflowStatus, counts_as, decide, input_of, retry,
};
use crate::definition::Payload;
use crate::ids::WorkflowId;

/// A row of history.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attempt {
    pub(super) reference_name: String,
    pub(super) epoch: i16,
    pub(super) attempt: i16,
    pub(super) status: TaskStatus,
    pub(super) input: Payload,
    pub(super) output: Option<Payload>,
    pub(super) reason: Option<String>,
}

/// An open task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenTask {
    pub(super) node: Arc<Node>,
    pub(super) attempt: i16,
    pub(super) delay: Duration,
    pub(super) input: Payload,
    pub(super) set_aside: i16,
    pub(super) reason: Option<String>,
}

impl OpenTask {
    fn of(scheduled: &Scheduled) -> Self {
        let delay = match scheduled.fate {
            Fate::Open(Wait::Now) => Duration::ZERO,
            Fate::Open(Wait::For(delay)) => delay,
            ref fate => panic!("{fate:?} on a straight line"),
        };
        Self {
            node: scheduled.node.clone(),
            attempt: scheduled.attempt,
            delay,
            input: scheduled.input.clone(),
            set_aside: scheduled.set_aside,
            reason: scheduled.reason.clone(),
        }
    }
}

/// What is open: on a straight line one thing at a time.
#[derive(Clone, Debug)]
pub(super) enum Token {
    Task {
        open: OpenTask,
        claimed: bool,
    },
    /// A `decide` token of a paused run.
    Parked(Event),
}

/// How a worker, or a timer, ends an attempt.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) status: TaskStatus,
    pub(super) output: Option<Value>,
    pub(super) reason: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) timeout: Option<TimeoutKind>,
    pub(super) jitter: f64,
}

impl Outcome {
    pub(super) fn of(status: TaskStatus) -> Self {
        Self { status, output: None, reason: None, retry_after: None, timeout: None, jitter: 0.0 }
    }

    pub(super) fn completed(output: Value) -> Self {
        Self { output: Some(output), ..Self::of(TaskStatus::Completed) }
    }

    pub(super) fn failed(reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::of(TaskStatus::Failed) }
    }

    pub(super) fn timed_out(kind: TimeoutKind) -> Self {
        let reason = Some(format!("{} was up", kind.as_str()));
        Self { timeout: Some(kind), reason, ..Self::of(TaskStatus::TimedOut) }
    }
}

/// Changes of status that a model has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Edges {
    pub(super) workflow: BTreeSet<(WorkflowStatus, WorkflowStatus)>,
    pub(super) task: BTreeSet<(TaskStatus, TaskStatus)>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) plan: Arc<Plan>,
    /// What the holder of the token remembers.
    pub(super) memory: RunState,
    pub(super) status: WorkflowStatus,
    pub(super) reason: Option<String>,
    pub(super) epoch: i16,
    pub(super) history: Vec<Attempt>,
    pub(super) token: Option<Token>,
    pub(super) end: Option<End>,
    pub(super) now: Duration,
    pub(super) edges: Edges,
    pub(super) retried: bool,
    input: Arc<Value>,
    opened: BTreeSet<(String, i16, i16)>,
}

impl Model {
    pub(super) fn start(plan: Plan, input: Value) -> Self {
        let input = Arc::new(input);
        let id = WorkflowId::from_uuid(Uuid::nil());
        let memory =
            RunState::new(id, input.clone(), plan.variables.clone(), Some(Arc::from("order 7")));
        let mut model = Self {
            plan: Arc::new(plan),
            memory,
            status: WorkflowStatus::Running,
            reason: None,
            epoch: 0,
            history: Vec::new(),
            token: None,
            end: None,
            now: Duration::ZERO,
            edges: Edges::default(),
            retried: false,
            input,
            opened: BTreeSet::new(),
        };
        model.step(&Event::Start);
        model
    }

    /// The run as a load from the tables has it: nothing but rows.
    pub(super) fn fresh(&self) -> RunState {
        let mut state = RunState {
            fresh: true,
            epoch: self.epoch,
            status: self.status,
            reason: self.reason.clone(),
            ..RunState::new(
                self.memory.id,
                self.input.clone(),
                self.plan.variables.clone(),
                self.memory.correlation_id.clone(),
            )
        };
        let mut done = BTreeMap::new();
        for row in &self.history {
            if row.epoch == self.epoch {
                done.insert(row.reference_name.clone(), fact_of(row));
                state.facts.insert(row.reference_name.as_str().into(), fact_of(row));
            } else if row.status == TaskStatus::Completed {
                *state.set_aside.entry(row.reference_name.clone()).or_default() += 1;
            }
        }
        if self.retried || self.status.is_terminal() {
            state.done = Some(Arc::new(done));
        }
        if let Some(Token::Task { open, .. }) = &self.token {
            state.open.insert(open.node.reference_name.clone(), open.attempt);
        }
        state
    }

    /// Applies an event to the run and holds it to the laws.
    pub(super) fn step(&mut self, event: &Event) {
        let fresh = self.fresh();
        // A memory is only asked what a worker's end leads to; all else is loaded first.
        let remembers = matches!(event, Event::Ended(_))
            && decide(&self.plan, &mut self.memory.clone(), event) != Err(DecideError::NeedsFresh);
        let from = if remembers { &self.memory } else { &fresh };
        let mut state = from.clone();
        let decision = decided(&self.plan, &mut state, event);
        assert_eq!(decided(&self.plan, &mut from.clone(), event), decision, "not deterministic");
        assert_eq!(decided(&self.plan, &mut fresh.clone(), event), decision, "memory differs");
        nothing_follows(&self.plan, &state, event);
        state.fresh = false;
        self.memory = state;
        self.apply(event, decision);
        self.nonsense_changes_nothing();
    }

    fn apply(&mut self, event: &Event, decision: Decision) {
        let ended = self.token.take();
        if let (Event::Ended(end), Some(Token::Task { open, claimed })) = (event, ended) {
            let status = decision.ended_as.expect("an end that is news says what it counts as");
            self.append(&open, claimed, (status, end));
        }
        if matches!(event, Event::Retry) {
            self.retried = true;
            self.begin_again();
        }
        match (decision.scheduled.as_slice(), decision.end) {
            ([scheduled], None) => self.open(&OpenTask::of(scheduled)),
            ([], Some(end)) => {
                self.turn(end.status);
                self.reason.clone_from(&end.reason);
                self.end = Some(end);
            }
            (open, end) => panic!("one thing follows, not {open:?} and {end:?}"),
        }
    }

    pub(super) fn append(
        &mut self,
        open: &OpenTask,
        claimed: bool,
        (status, end): (TaskStatus, &TaskEnd),
    ) {
        let from = if claimed { TaskStatus::InProgress } else { TaskStatus::Scheduled };
        self.task_turns(from, status);
        self.history.push(Attempt {
            reference_name: open.node.reference_name.to_string(),
            epoch: self.epoch,
            attempt: open.attempt,
            status,
            input: open.input.clone(),
            output: end.output.clone(),
            reason: end.reason.clone(),
        });
    }

    fn open(&mut self, open: &OpenTask) {
        let name = open.node.reference_name.to_string();
        assert!(open.delay <= retry::DELAY_MAX, "{:?} is too long a delay", open.delay);
        assert!(self.opened.insert((name, self.epoch, open.attempt)), "{open:?} was open before");
        self.now += open.delay;
        let token = Token::Task { open: open.clone(), claimed: false };
        self.token = Some(token);
        if !open.node.stores_input {
            // Whoever claims it after a rescue works the input out again from the tables.
            let again = self.input_again(open);
            assert_eq!(again, *open.input, "a rescue would give {} another input", self.name());
        }
    }

    fn input_again(&self, open: &OpenTask) -> Value {
        let name = &open.node.reference_name;
        input_of(&self.plan, &self.fresh(), &open.node, name, open.attempt).into_value()
    }

    fn name(&self) -> String {
        match &self.token {
            Some(Token::Task { open, .. }) => open.node.reference_name.to_string(),
            _ => String::new(),
        }
    }

    pub(super) fn begin_again(&mut self) {
        self.turn(WorkflowStatus::Running);
        self.reason = None;
        self.end = None;
    }

    pub(super) fn turn(&mut self, to: WorkflowStatus) {
        assert!(self.status.may_become(to), "the table has no edge {} to {to}", self.status);
        self.edges.workflow.insert((self.status, to));
        self.status = to;
    }

    pub(super) fn task_turns(&mut self, from: TaskStatus, to: TaskStatus) {
        assert!(from.may_become(to), "the table has no edge {from} to {to}");
        self.edges.task.insert((from, to));
    }

    /// Every live run has something open, and an ended one nothing.
    pub(super) fn check(&self) {
        assert_eq!(
            self.status.is_terminal(),
            self.token.is_none(),
            "{}: {:?}",
            self.status,
            self.token
        );
        assert_eq!(self.status.is_terminal(), self.end.is_some());
    }

    fn nonsense_changes_nothing(&self) {
        self.check();
        let mut state = self.memory.clone();
        for event in nonsense(self) {
            if let Ok(decision) = decide(&self.plan, &mut state, &event) {
                assert_eq!(decision, Decision::default(), "{event:?} led to something");
            }
        }
        assert_eq!(state, self.memory, "nonsense changed something");
    }
}

fn decided(plan: &Plan, state: &mut RunState, event: &Event) -> Decision {
    decide(plan, state, event).expect("the event fits the state")
}

/// The same event again is no news.
fn nothing_follows(plan: &Plan, state: &RunState, event: &Event) {
    let mut again = state.clone();
    match decide(plan, &mut again, event) {
        Ok(decision) => assert_eq!(decision, Decision::default(), "not quiescent"),
        Err(error) => assert_eq!(error, DecideError::NothingToRetry),
    }
    assert_eq!(&again, state, "not quiescent");
}

pub(super) fn fact_of(row: &Attempt) -> Fact {
    Fact {
        turns: Vec::new(),
        epoch: row.epoch,
        attempt: row.attempt,
        status: row.status,
        input: Some(row.input.clone()),
        output: row.output.clone(),
        reason: row.reason.clone(),
        history: None,
    }
}

pub(super) fn end_of(open: &OpenTask, outcome: Outcome) -> TaskEnd {
    TaskEnd {
        reference_name: open.node.reference_name.clone(),
        attempt: open.attempt,
        status: outcome.status,
        input: Some(open.input.clone()),
        output: outcome.output.map(Into::into),
        reason: outcome.reason,
        retry_after: outcome.retry_after,
        timeout: outcome.timeout,
        jitter: outcome.jitter,
    }
}

/// What history says of an attempt that ends while its run is paused, and what is parked.
pub(super) fn parked(plan: &Plan, state: &RunState, end: &TaskEnd) -> (TaskStatus, Event) {
    let event = Event::Continue {
        after: end.reference_name.to_string(),
        retry_after: end.retry_after,
        timeout: end.timeout,
        jitter: end.jitter,
    };
    (counts_as(plan, state, end), event)
}
