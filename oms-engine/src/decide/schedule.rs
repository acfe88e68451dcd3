//! Scheduling a step, and what is scheduled together with it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::flow::{After, Place, Walk, Work};
use super::node::{Kind, Node, SwitchOn};
use super::status::TaskStatus;
use super::{DecideError, Fate, Scheduled, Scope, Wait, input_of, next_attempt};

impl Walk<'_> {
    /// Schedules a step, and what is scheduled together with it.
    pub(super) fn schedule(&mut self, place: Place) -> Result<(), DecideError> {
        if self.state.open.contains_key(&place.name()) {
            return Ok(());
        }
        let attempt = match self.ended_before(&place) {
            Some(fact) if fact.status.is_successful() && !self.failed_in(&place) => {
                return self.pass(&place, &fact);
            }
            Some(fact) => next_attempt(&place.name(), fact.attempt)?,
            None => 0,
        };
        self.schedule_attempt(place, attempt)
    }

    fn schedule_attempt(&mut self, place: Place, attempt: i16) -> Result<(), DecideError> {
        let node = place.node.clone();
        match &node.kind {
            Kind::Worker | Kind::SubWorkflow { .. } | Kind::StartWorkflow | Kind::Human => {
                let delay = Duration::from_millis(u64::try_from(node.start_delay_ms).unwrap_or(0));
                let wait = match node.kind {
                    Kind::Human => Wait::Signal,
                    _ if attempt > 0 || delay.is_zero() => Wait::Now,
                    _ => Wait::For(delay),
                };
                self.open(&place, attempt, wait)
            }
            Kind::Dynamic(key) => self.open_dynamic(&place, attempt, key),
            Kind::Wait => self.open_wait(&place, attempt),
            Kind::Event(_) => self.open(&place, attempt, Wait::Now),
            Kind::Switch { on, .. } => self.switch(&place, attempt, on),
            Kind::Fork { branches } => self.fork(&place, attempt, branches),
            Kind::DynamicFork(from) => self.fork_dynamic(&place, attempt, from),
            Kind::Loop { .. } => self.open_loop(&place, attempt),
            Kind::Join { .. }
            | Kind::ExclusiveJoin { .. }
            | Kind::Inline
            | Kind::Lambda
            | Kind::Jq
            | Kind::SetVariable
            | Kind::Terminate
            | Kind::Noop => {
                let input = self.input(&place, attempt)?;
                let entry = self.push(&place, attempt, input);
                self.work.push_back(Work::Do(Some(entry), place));
                Ok(())
            }
        }
    }

    /// What a step's input comes to.
    pub(super) fn input(&self, place: &Place, attempt: i16) -> Result<Arc<Value>, DecideError> {
        if (place.node.fresh || place.node.kind.runs_script()) && !self.state.fresh {
            return Err(DecideError::NeedsFresh);
        }
        let input = input_of(self.plan, self.state, &place.node, &place.name(), attempt);
        Ok(Arc::new(input))
    }

    /// Opens a task with its own input.
    pub(super) fn open(
        &mut self,
        place: &Place,
        attempt: i16,
        wait: Wait,
    ) -> Result<(), DecideError> {
        let mut input = self.input(place, attempt)?;
        if matches!(place.node.kind, Kind::SubWorkflow { .. }) {
            input = Arc::new(self.sub_workflow_input(place, &input));
        }
        self.open_with(place, attempt, wait, input);
        Ok(())
    }

    pub(super) fn open_with(&mut self, place: &Place, attempt: i16, wait: Wait, input: Arc<Value>) {
        let entry = self.push(place, attempt, input);
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.fate = Fate::Open(wait);
        }
        self.state.open.insert(place.name(), attempt);
    }

    /// A new entry, ended until something else is said of it.
    pub(super) fn push(&mut self, place: &Place, attempt: i16, input: Arc<Value>) -> usize {
        self.done += 1;
        let entry = self.entry(place, attempt, input);
        self.out.scheduled.push(entry);
        self.out.scheduled.len() - 1
    }

    pub(super) fn entry(&self, place: &Place, attempt: i16, input: Arc<Value>) -> Scheduled {
        let reference_name = place.name();
        Scheduled {
            node: place.node.clone(),
            attempt,
            input,
            set_aside: self.state.set_aside(&reference_name),
            reference_name,
            reason: None,
            scope: place.scope,
            key: None,
            branch: place.branch.clone(),
            task_def: None,
            items: None,
            fate: Fate::Ended { status: TaskStatus::Completed, output: None },
        }
    }

    fn switch(&mut self, place: &Place, attempt: i16, on: &SwitchOn) -> Result<(), DecideError> {
        let input = self.input(place, attempt)?;
        let case = match on {
            SwitchOn::Value(key) => Ok(input.get(key).cloned().unwrap_or_default()),
            SwitchOn::Script(script) => super::system::script(script, &input),
        };
        let (input, output, first) = match &case {
            Ok(value) => self.cases(place, &input, value),
            Err(_) => (Value::clone(&input), None, None),
        };
        let entry = self.push(place, attempt, Arc::new(input));
        let after = After {
            attempt,
            status: if case.is_ok() { TaskStatus::Completed } else { TaskStatus::Failed },
            input: self.out.scheduled.get(entry).map(|scheduled| scheduled.input.clone()),
            output: output.map(Arc::new),
            reason: case.err(),
            retry_after: None,
            timeout: None,
            jitter: 0.0,
        };
        let Some(first) = first else { return self.judge(Some(entry), place, &after) };
        self.keep(place, &after, TaskStatus::Completed);
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.fate = Fate::Ended { status: TaskStatus::Completed, output: after.output };
        }
        let Some(node) = self.graph(place).get(first).cloned() else { return Ok(()) };
        self.schedule(Place { node, ..place.clone() })
    }

    fn fork(&mut self, place: &Place, attempt: i16, firsts: &[usize]) -> Result<(), DecideError> {
        let input = self.input(place, attempt)?;
        self.push(place, attempt, input);
        let graph = self.graph(place);
        let firsts: Vec<Arc<Node>> =
            firsts.iter().filter_map(|index| graph.get(*index).cloned()).collect();
        let Some(join) = place.node.next.and_then(|next| graph.get(next).cloned()) else {
            return Err(DecideError::UnknownReference(place.name()));
        };
        let join = Place { node: join, ..place.clone() };
        let Kind::Join { on, .. } = &join.node.kind else {
            return Err(DecideError::UnknownReference(join.name()));
        };
        let on = on.clone();
        // The branches stand in the JOIN, which is scheduled after them.
        let key = self.new_container(&join, firsts.len());
        for node in firsts {
            self.schedule(Place { node, scope: Scope::Opened(key), ..place.clone() })?;
        }
        self.open_join(key, &join, &on)
    }
}
