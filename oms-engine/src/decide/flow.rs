//! From one event to all that follows in the same decision.
//!
//! The order is Conductor's: what is scheduled together (a fork with the first tasks of its
//! branches and its JOIN, a switch with the first task of its case) gets its numbers together;
//! then what needs no worker is done in that order; then what follows it is scheduled.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::ends::{Verdict, complete, fail, verdict};
use super::graph::{Graph, Next};
use super::plan::Plan;
use super::state::{Fact, RunState};
use super::status::{TaskStatus, WorkflowStatus};
pub(super) use super::work::{After, Opened, Place, Work};
use super::{DecideError, Decision, End, Event, Fate, Scope, TaskEnd, Wait, next_attempt, retry};
use crate::definition::Payload;

/// Tasks that are done in one decision; what follows more of them is left for another, so that
/// an endless loop of such tasks does not hold up all else.
const TASKS_MAX: usize = 1_000;

/// A decision in the making.
pub(super) struct Walk<'a> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'a mut RunState,
    pub(super) out: Decision,
    pub(super) work: VecDeque<Work>,
    /// Containers that this decision opens, by key.
    pub(super) opened: BTreeMap<usize, Opened>,
    pub(super) done: usize,
    /// By how many the lineages of the source's region have grown.
    pub(super) left: i64,
    /// What had ended before it is reached, and not well.
    pub(super) failed: Option<Vec<String>>,
    /// What the source gave, where nothing was scheduled after it.
    last: Option<Payload>,
    /// Where what is scheduled together begins, while it is.
    pub(super) together_from: Option<usize>,
    /// No task can be made of something that is scheduled together.
    pub(super) refused: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(plan: &'a Plan, state: &'a mut RunState) -> Self {
        Self {
            plan,
            state,
            out: Decision::default(),
            work: VecDeque::new(),
            opened: BTreeMap::new(),
            done: 0,
            left: 0,
            failed: None,
            last: None,
            together_from: None,
            refused: false,
        }
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), DecideError> {
        let ended = self.state.status.is_terminal();
        match event {
            Event::Start if self.state.open.is_empty() && !ended => self.begin(),
            Event::Ended(end) => self.ended(end),
            Event::Fell(fell) if !ended => self.fell(fell),
            Event::Run { reference_name, attempt, input } if !ended => {
                let place = self.source(reference_name)?;
                self.state.open.insert(reference_name.clone(), *attempt);
                self.run_source(&place, *attempt, input)
            }
            // Where nothing forks an open task means that it has gone on already.
            Event::Continue { .. } if !self.plan.forks && !self.state.open.is_empty() => Ok(()),
            Event::Continue { after, retry_after, timeout, jitter } if !ended => {
                let place = self.source(after)?;
                if self.settled(&place) {
                    return Ok(());
                }
                let fact = self.fact_of(&place, after)?;
                let after = After {
                    attempt: fact.attempt,
                    status: fact.status,
                    input: fact.input,
                    output: fact.output,
                    reason: fact.reason,
                    retry_after: *retry_after,
                    timeout: *timeout,
                    jitter: *jitter,
                };
                self.last = Some(after.output.clone().unwrap_or_else(empty));
                self.note_listed(&place.node.reference_name)?;
                let verdict = verdict(&place.node, after.attempt, after.status, after.timeout);
                self.then(&place, &after, &verdict)
            }
            Event::Retry => self.retry(),
            Event::Unwind(unwind) if !ended => self.unwind(unwind),
            Event::Undo(undo) if !ended => self.undo(undo),
            _ => Ok(()),
        }
    }

    /// The decision, once all that needs no worker is done.
    pub(super) fn finish(mut self) -> Result<Decision, DecideError> {
        while self.out.end.is_none() {
            let Some(work) = self.work.pop_front() else { break };
            match work {
                Work::Do(entry, place) => self.perform(entry, &place)?,
                Work::Follow(place) if self.done >= TASKS_MAX => self.leave(&place),
                Work::Follow(place) => self.follow(&place)?,
            }
        }
        if self.out.end.is_some() {
            self.cancel_opened();
        } else {
            self.count_opened();
        }
        Ok(self.out)
    }

    fn begin(&mut self) -> Result<(), DecideError> {
        let plan = self.plan;
        let Some(node) = plan.graph.get(0) else { return Ok(()) };
        let place = Place {
            node: node.clone(),
            turns: Vec::new(),
            scope: Scope::Source,
            region: Scope::Around,
            branch: None,
        };
        self.schedule(place)
    }

    /// An operator's retry: what ended well is passed, the rest gets another attempt.
    fn retry(&mut self) -> Result<(), DecideError> {
        let status = self.state.status;
        if status == WorkflowStatus::Completed || !self.state.open.is_empty() {
            return Err(DecideError::NothingToRetry);
        }
        if status.is_terminal() {
            self.state.turn(WorkflowStatus::Running, None);
        }
        self.begin()
    }

    fn ended(&mut self, end: &TaskEnd) -> Result<(), DecideError> {
        let place = self.source(&end.reference_name)?;
        let open = self.state.open.get(&end.reference_name) == Some(&end.attempt);
        let ends = end.status.is_terminal() && TaskStatus::InProgress.may_become(end.status);
        if !open || self.state.status.is_terminal() || !ends {
            return Ok(());
        }
        let after = After {
            attempt: end.attempt,
            status: end.status,
            input: end.input.clone(),
            output: end.output.clone(),
            reason: end.reason.clone(),
            retry_after: end.retry_after,
            timeout: end.timeout,
            jitter: end.jitter,
        };
        if self.settled(&place) {
            self.keep(&place, &after, end.status)?;
            self.out.ended_as = Some(end.status);
            return Ok(());
        }
        self.judge(None, &place, &after)
    }

    /// The place of the event's own task.
    pub(super) fn source(&self, reference_name: &str) -> Result<Place, DecideError> {
        let branch = self.state.branch.clone();
        let own = branch.as_ref().and_then(|branch| branch.graph.find(reference_name));
        let (found, branch) = match own {
            Some((node, turns)) => (Some((node.clone(), turns)), branch.clone()),
            None => {
                let found = self.plan.graph.find(reference_name);
                (found.map(|(node, turns)| (node.clone(), turns)), None)
            }
        };
        let Some((mut node, turns)) = found else {
            return Err(DecideError::UnknownReference(reference_name.to_owned()));
        };
        let own = self.state.dynamic.as_ref();
        if let Some(own) = own.filter(|own| own.reference_name == node.reference_name) {
            node = own.clone();
        }
        Ok(Place { node, turns, scope: Scope::Source, region: Scope::Around, branch })
    }

    fn fact_of(&self, place: &Place, name: &str) -> Result<Fact, DecideError> {
        let facts = &self.state.facts;
        let fact = facts.get(&*place.node.reference_name).filter(|fact| fact.turns == place.turns);
        // The definition does not know the tasks of a dynamic fork, so that theirs stand under
        // the whole name.
        let fact = fact.or_else(|| facts.get(name));
        let fact = fact.or_else(|| self.state.done.as_ref().and_then(|done| done.get(name)));
        fact.cloned().ok_or_else(|| DecideError::NotEnded(name.to_owned()))
    }

    pub(super) fn graph<'b>(&'b self, place: &'b Place) -> &'b Graph {
        place.branch.as_ref().map_or(&self.plan.graph, |branch| &branch.graph)
    }

    /// Keeps what an attempt gave, for whoever reads it.
    pub(super) fn keep(
        &mut self,
        place: &Place,
        after: &After,
        status: TaskStatus,
    ) -> Result<(), DecideError> {
        if !self.state.undoing {
            self.note_listed(&place.node.reference_name)?;
        }
        self.state.open.remove(&place.name());
        let (input_read, output_read) = match place.branch {
            Some(_) => (false, false),
            None => self.plan.payloads_read(&place.node),
        };
        let fact = Fact {
            turns: place.turns.clone(),
            epoch: self.state.epoch,
            attempt: after.attempt,
            status,
            input: after.input.clone().filter(|_| input_read),
            output: after.output.clone().filter(|_| output_read),
            reason: after.reason.clone(),
            history: None,
        };
        self.state.facts.insert(place.node.reference_name.clone(), fact);
        Ok(())
    }

    /// What follows an attempt that has ended; `entry` is none for the event's own.
    pub(super) fn judge(
        &mut self,
        entry: Option<usize>,
        place: &Place,
        after: &After,
    ) -> Result<(), DecideError> {
        let node = &place.node;
        let verdict = verdict(node, after.attempt, after.status, after.timeout);
        let status = match verdict {
            Verdict::GoOn(status) => status,
            Verdict::Retry | Verdict::Fail => after.status,
        };
        self.keep(place, after, status)?;
        match entry.and_then(|entry| self.out.scheduled.get_mut(entry)) {
            Some(scheduled) => {
                scheduled.fate = Fate::Ended { status, output: after.output.clone() };
                scheduled.reason.clone_from(&after.reason);
            }
            None => {
                self.out.ended_as = Some(status);
                self.last = Some(after.output.clone().unwrap_or_else(empty));
            }
        }
        self.then(place, after, &verdict)
    }

    fn then(&mut self, place: &Place, after: &After, verdict: &Verdict) -> Result<(), DecideError> {
        let node = &place.node;
        match verdict {
            Verdict::GoOn(_) => {
                self.work.push_back(Work::Follow(place.clone()));
                Ok(())
            }
            Verdict::Retry => {
                let delay = after
                    .retry_after
                    .unwrap_or_else(|| node.retry.delay(after.attempt, after.jitter));
                let attempt = next_attempt(&place.name(), after.attempt)?;
                let delay = delay.min(retry::DELAY_MAX);
                let wait = if delay.is_zero() { Wait::Now } else { Wait::For(delay) };
                let reason = after.reason.clone();
                // It is made of how the run was, not of how it is.
                let kept = after.input.clone().filter(|_| node.undoes());
                self.open_again(place, attempt, (wait, kept), reason)
            }
            Verdict::Fail => {
                let name = place.name();
                let what = (after.status, after.reason.as_deref(), after.output.as_deref());
                self.check_end(place)?;
                let end = fail(self.plan, self.state, (&name, after.attempt), what);
                self.out.end = Some(end);
                Ok(())
            }
        }
    }

    /// An end of the run from a branch concerns tasks that memory does not know.
    pub(super) fn check_end(&self, place: &Place) -> Result<(), DecideError> {
        let sole = place.node.sole && place.branch.is_none() && self.state.loops.is_empty();
        if (sole && !self.plan.output_fresh) || self.state.fresh {
            return Ok(());
        }
        Err(DecideError::NeedsFresh)
    }

    fn follow(&mut self, place: &Place) -> Result<(), DecideError> {
        let graph = self.graph(place);
        match graph.after(&place.node) {
            Next::Step(index) => {
                let Some(node) = graph.get(index).cloned() else { return Ok(()) };
                if place.branch.is_none() {
                    self.release(place.node.index, index);
                }
                self.schedule(Place { node, ..place.clone() })
            }
            Next::Turn(of) => {
                let Some(node) = graph.get(of).cloned() else { return Ok(()) };
                if !self.is_last(place)? {
                    return Ok(());
                }
                self.turn(&Place { node, turns: outer(&place.turns), ..place.clone() })
            }
            Next::Arrive => self.arrive(place.scope, None),
            Next::Done => {
                self.check_end(place)?;
                if !self.is_last(place)? {
                    return Ok(());
                }
                let last = match self.out.scheduled.last().map(|last| &last.fate) {
                    // Another lineage may have scheduled later.
                    _ if self.plan.graph.floats => None,
                    Some(Fate::Ended { output, .. }) => Some(output.clone().unwrap_or_else(empty)),
                    Some(_) => None,
                    None if place.node.kind.is_container() => None,
                    None => self.last.clone(),
                };
                let end: End = complete(self.plan, self.state, last.as_ref());
                self.out.end = Some(end);
                Ok(())
            }
        }
    }

    /// Forgets what nothing reads once these steps have been passed.
    fn release(&mut self, from: usize, to: usize) {
        if from < to {
            for node in self.plan.released(from..to) {
                self.state.facts.remove(&*node.reference_name);
            }
        }
    }

    /// Leaves what follows a task to another decision.
    fn leave(&mut self, place: &Place) {
        let mut entry = self.entry(place, 0, Value::Null.into());
        entry.fate = Fate::GoOn;
        self.out.scheduled.push(entry);
    }

    fn cancel_opened(&mut self) {
        for scheduled in &mut self.out.scheduled {
            let output = match &mut scheduled.fate {
                Fate::Open(_) | Fate::Container { .. } => None,
                Fate::Waits { output } => output.take(),
                Fate::Ended { .. } | Fate::GoOn | Fate::Line { .. } => continue,
            };
            scheduled.fate = Fate::Ended { status: TaskStatus::Canceled, output };
        }
        self.out.scheduled.retain(|scheduled| scheduled.fate != Fate::GoOn);
        self.out.arrives = false;
        self.state.open.clear();
    }
}

fn empty() -> Payload {
    Payload::from(json!({}))
}

pub(super) fn outer(turns: &[u32]) -> Vec<u32> {
    turns.split_last().map(|(_, outer)| outer.to_vec()).unwrap_or_default()
}
