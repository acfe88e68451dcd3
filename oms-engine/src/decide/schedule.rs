//! Scheduling a step, and what is scheduled together with it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::flow::{After, Place, Walk, Work};
use super::lists::join_input;
use super::node::{Kind, Node, SwitchOn};
use super::status::TaskStatus;
use super::{DecideError, Fate, Scheduled, Scope, Wait, new_input, next_attempt};
use crate::definition::{Payload, PayloadFault, TASK_PAYLOAD_MAX_BYTES, check_payload};

/// An input that a task cannot begin with: what is shown of it, and why.
pub(super) struct NoInput {
    pub(super) input: Payload,
    pub(super) reason: String,
    /// Where it is over the limits: what is wrong with it.
    pub(super) over: Option<Box<PayloadFault>>,
}

/// Over the limits: nothing of it is kept.
impl From<PayloadFault> for NoInput {
    fn from(fault: PayloadFault) -> Self {
        Self {
            input: Payload::from(Value::Object(Map::new())),
            reason: fault.to_string(),
            over: Some(Box::new(fault)),
        }
    }
}

impl Walk<'_> {
    /// Schedules a step, and what is scheduled together with it: all of it, or, where a part of it
    /// ends the run, nothing.
    pub(super) fn schedule(&mut self, place: Place) -> Result<(), DecideError> {
        if self.refused {
            return Ok(());
        }
        let outermost = self.together_from.is_none();
        self.together_from.get_or_insert(self.out.scheduled.len());
        let done = self.schedule_together(place);
        if outermost {
            self.together_from = None;
        }
        done
    }

    fn schedule_together(&mut self, place: Place) -> Result<(), DecideError> {
        if self.state.open.contains_key(&place.name()) {
            return Ok(());
        }
        let (attempt, child) = match self.ended_before(&place) {
            Some(fact) if fact.status.is_successful() && !self.failed_in(&place) => {
                return self.pass(&place, &fact);
            }
            Some(fact) => {
                (next_attempt(&place.name(), fact.attempt)?, self.child_of(&place, &fact))
            }
            None => (0, None),
        };
        self.schedule_attempt(place, attempt)?;
        if let (Some(_), Some(scheduled)) = (&child, self.out.scheduled.last_mut()) {
            scheduled.child = child;
        }
        Ok(())
    }

    fn schedule_attempt(&mut self, place: Place, attempt: i16) -> Result<(), DecideError> {
        let node = place.node.clone();
        let input = match self.input(&place, attempt)? {
            _ if node.kind.is_by_list() => return self.open_by_list(&place, attempt),
            _ if matches!(node.kind, Kind::Join { .. } | Kind::ExclusiveJoin { .. }) => {
                join_input(&node.kind, None).into()
            }
            Ok(input) => input,
            Err(none) => return self.fail_at_once(&place, attempt, none),
        };
        match &node.kind {
            Kind::Worker | Kind::SubWorkflow { .. } | Kind::StartWorkflow | Kind::Human => {
                let delay = Duration::from_millis(u64::try_from(node.start_delay_ms).unwrap_or(0));
                let wait = match node.kind {
                    Kind::Human => Wait::Signal,
                    _ if attempt > 0 || delay.is_zero() => Wait::Now,
                    _ => Wait::For(delay),
                };
                self.open(&place, attempt, wait, input);
                Ok(())
            }
            Kind::Dynamic(key) => self.open_dynamic(&place, attempt, key, input),
            Kind::Wait => self.open_wait(&place, attempt, input),
            Kind::Switch { on, .. } => self.switch(&place, attempt, on, &input),
            Kind::Fork { branches, floats } => {
                self.push(&place, attempt, input.clone());
                self.keep_fork(&place, attempt, input)?;
                self.fork(&place, branches, *floats)
            }
            Kind::DynamicFork(from) => self.fork_dynamic(&place, attempt, from, &input),
            Kind::Loop { .. } => self.open_loop(&place, attempt, input),
            Kind::Join { .. }
            | Kind::ExclusiveJoin { .. }
            | Kind::Event
            | Kind::Inline
            | Kind::Lambda
            | Kind::Jq
            | Kind::SetVariable
            | Kind::Terminate
            | Kind::Noop => {
                let entry = self.push(&place, attempt, input);
                self.work.push_back(Work::Do(Some(entry), place));
                Ok(())
            }
        }
    }

    /// What a step's input comes to; the inner error is that of one that it cannot begin with.
    pub(super) fn input(
        &self,
        place: &Place,
        attempt: i16,
    ) -> Result<Result<Payload, NoInput>, DecideError> {
        if (place.node.fresh || place.node.kind.runs_script()) && !self.state.fresh {
            return Err(DecideError::NeedsFresh);
        }
        Ok(self.input_within_limits(place, &place.name(), attempt))
    }

    fn input_within_limits(
        &self,
        place: &Place,
        name: &str,
        attempt: i16,
    ) -> Result<Payload, NoInput> {
        let node = &place.node;
        let input = new_input(self.plan, self.state, node, (name, attempt))?;
        // What a worker gets is checked when it is handed out.
        if !node.kind.is_worker() {
            let what = format!("input of task {name:?}");
            check_payload(&what, &input, TASK_PAYLOAD_MAX_BYTES)?;
        }
        if let Some(reason) = unfit(node, &input) {
            return Err(NoInput { input, reason, over: None });
        }
        match &node.kind {
            Kind::SubWorkflow { .. } => {
                Ok(self.sub_workflow_input(place, input.into_value())?.into())
            }
            _ => Ok(input),
        }
    }

    /// A task that cannot begin: no worker sees it.
    pub(super) fn fail_at_once(
        &mut self,
        place: &Place,
        attempt: i16,
        none: impl Into<NoInput>,
    ) -> Result<(), DecideError> {
        let NoInput { input, reason, over } = none.into();
        let entry = self.push(place, attempt, input.clone());
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.over = over;
        }
        let status = TaskStatus::FailedWithTerminalError;
        let after = After { input: Some(input), ..After::failed(attempt, status, reason) };
        self.judge(Some(entry), place, &after)
    }

    /// Another attempt at a task, with the input that was kept or one worked out anew.
    pub(super) fn open_again(
        &mut self,
        place: &Place,
        attempt: i16,
        (wait, kept): (Wait, Option<Payload>),
        reason: Option<String>,
    ) -> Result<(), DecideError> {
        let input = match kept {
            Some(input) => Ok(input),
            None => self.input(place, attempt)?,
        };
        match input {
            Ok(input) => {
                match place.node.kind {
                    // Nobody claims them: they wait anew.
                    Kind::Human => self.open(place, attempt, Wait::Signal, input),
                    Kind::Wait => self.open_wait(place, attempt, input)?,
                    _ => self.open(place, attempt, wait, input),
                }
                if let Some(opened) = self.out.scheduled.last_mut() {
                    opened.reason = reason;
                }
                Ok(())
            }
            Err(none) => self.fail_at_once(place, attempt, none),
        }
    }

    /// Opens a task.
    pub(super) fn open(&mut self, place: &Place, attempt: i16, wait: Wait, input: Payload) {
        let entry = self.push(place, attempt, input);
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.fate = Fate::Open(wait);
        }
        self.state.open.insert(place.name(), attempt);
    }

    /// A new entry, ended until something else is said of it.
    pub(super) fn push(&mut self, place: &Place, attempt: i16, input: Payload) -> usize {
        self.done += 1;
        let entry = self.entry(place, attempt, input);
        if self.out.scheduled.is_empty() {
            // Most decisions schedule one.
            self.out.scheduled.reserve_exact(1);
        }
        self.out.scheduled.push(entry);
        self.out.scheduled.len() - 1
    }

    pub(super) fn entry(&self, place: &Place, attempt: i16, input: Payload) -> Scheduled {
        let reference_name = place.name();
        Scheduled {
            node: place.node.clone(),
            attempt,
            input,
            set_aside: self.state.set_aside(&reference_name),
            reference_name,
            reason: None,
            over: None,
            scope: place.scope,
            key: None,
            branch: place.branch.clone(),
            task_def: None,
            items: None,
            child: None,
            fate: Fate::Ended { status: TaskStatus::Completed, output: None },
        }
    }

    fn switch(
        &mut self,
        place: &Place,
        attempt: i16,
        on: &SwitchOn,
        input: &Value,
    ) -> Result<(), DecideError> {
        let case = match on {
            SwitchOn::Value(key) => Ok(input.get(key).cloned().unwrap_or_default()),
            SwitchOn::Script(script) => super::system::script(script, input),
        };
        let (input, output, first) = match &case {
            Ok(value) => self.cases(place, input, value),
            Err(_) => (input.clone(), None, None),
        };
        let entry = self.push(place, attempt, input.into());
        let after = After {
            attempt,
            status: if case.is_ok() { TaskStatus::Completed } else { TaskStatus::Failed },
            input: self.out.scheduled.get(entry).map(|scheduled| scheduled.input.clone()),
            output: output.map(Payload::from),
            reason: case.err(),
            retry_after: None,
            timeout: None,
            jitter: 0.0,
        };
        let Some(first) = first else { return self.judge(Some(entry), place, &after) };
        self.keep(place, &after, TaskStatus::Completed)?;
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.fate = Fate::Ended { status: TaskStatus::Completed, output: after.output };
        }
        let Some(node) = self.graph(place).get(first).cloned() else { return Ok(()) };
        self.schedule(Place { node, ..place.clone() })
    }

    /// A fork has ended once its branches are scheduled, and gives nothing.
    pub(super) fn keep_fork(
        &mut self,
        place: &Place,
        attempt: i16,
        input: Payload,
    ) -> Result<(), DecideError> {
        let after =
            After { input: Some(input), output: None, ..After::completed(attempt, Value::Null) };
        self.keep(place, &after, TaskStatus::Completed)
    }

    fn fork(&mut self, place: &Place, firsts: &[usize], floats: bool) -> Result<(), DecideError> {
        let graph = self.graph(place);
        let firsts: Vec<Arc<Node>> =
            firsts.iter().filter_map(|index| graph.get(*index).cloned()).collect();
        let Some(join) = place.node.next.and_then(|next| graph.get(next).cloned()) else {
            return Err(DecideError::UnknownReference(place.name().to_string()));
        };
        let join = Place { node: join, ..place.clone() };
        if floats {
            return self.fork_floating(place, firsts, join);
        }
        let Kind::Join { on, .. } = &join.node.kind else {
            return Err(DecideError::UnknownReference(join.name().to_string()));
        };
        let on = on.clone();
        // The branches stand in the JOIN, which is scheduled after them.
        let key = self.new_container(&join, firsts.len());
        for node in firsts {
            self.schedule(Place { node, scope: Scope::Opened(key), ..place.clone() })?;
        }
        if self.refused {
            return Ok(());
        }
        self.open_join(key, &join, &on)
    }

    /// Schedules branches that the JOIN may leave behind, then the JOIN.
    pub(super) fn fork_floating(
        &mut self,
        place: &Place,
        firsts: Vec<Arc<Node>>,
        join: Place,
    ) -> Result<(), DecideError> {
        self.float(place, firsts.len())?;
        for node in firsts {
            self.schedule(Place { node, scope: place.region, ..place.clone() })?;
        }
        self.schedule(join)
    }
}

/// Why an input does not fit its task's schema, if it does not.
pub(super) fn unfit(node: &Node, input: &Payload) -> Option<String> {
    let why = node.input_schema.as_ref()?.check(input).err()?;
    Some(format!("its input does not fit the schema of task {:?}: {why}", &*node.task_name))
}
