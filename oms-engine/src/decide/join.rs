//! Containers: what they wait for, and what JOIN and `EXCLUSIVE_JOIN` come to.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::flow::{After, Opened, Place, Walk};
use super::graph::instance;
use super::lists::join_input;
use super::node::Kind;
use super::state::OpenLoop;
use super::status::TaskStatus;
use super::{DecideError, Fate, Fell, Gathered, Scope};
use crate::definition::{Payload, TASK_PAYLOAD_MAX_BYTES, check_gathered};

impl After {
    pub(super) fn completed(attempt: i16, output: Value) -> Self {
        Self {
            attempt,
            status: TaskStatus::Completed,
            input: None,
            output: Some(output.into()),
            reason: None,
            retry_after: None,
            timeout: None,
            jitter: 0.0,
        }
    }

    pub(super) fn failed(attempt: i16, status: TaskStatus, reason: String) -> Self {
        Self { status, output: None, reason: Some(reason), ..Self::completed(attempt, Value::Null) }
    }
}

impl Walk<'_> {
    /// A container that so many branches must arrive at; what stands in it is scheduled next.
    pub(super) fn new_container(&mut self, place: &Place, expected: usize) -> usize {
        let key = self.opened.len();
        let opened = Opened { place: place.clone(), attempt: 0, entry: None, expected, arrived: 0 };
        self.opened.insert(key, opened);
        key
    }

    pub(super) fn push_container(
        &mut self,
        key: usize,
        place: &Place,
        attempt: i16,
        input: Payload,
    ) -> usize {
        let entry = self.push(place, attempt, input);
        if let Some(opened) = self.opened.get_mut(&key) {
            opened.entry = Some(entry);
            opened.attempt = attempt;
        }
        if let Some(scheduled) = self.out.scheduled.get_mut(entry) {
            scheduled.key = Some(key);
            scheduled.fate = Fate::Container { remaining: 0 };
        }
        entry
    }

    /// Schedules the JOIN of a fork, whose branches have been scheduled.
    pub(super) fn open_join(
        &mut self,
        key: usize,
        place: &Place,
        on: &[String],
    ) -> Result<(), DecideError> {
        let attempt = match self.ended_before(place) {
            Some(fact) => super::next_attempt(&place.name(), fact.attempt)?,
            None => 0,
        };
        let input = join_input(&place.node.kind, Some(on)).into();
        let entry = self.push_container(key, place, attempt, input);
        if self.opened.get(&key).is_some_and(|opened| opened.expected == opened.arrived) {
            self.work.push_back(super::flow::Work::Do(Some(entry), place.clone()));
        }
        Ok(())
    }

    /// A branch, or the body of a loop, is through.
    pub(super) fn arrive(&mut self, scope: Scope, note: Option<Value>) -> Result<(), DecideError> {
        // Whoever writes it asks then whether a JOIN that goes by its list waits in vain.
        if self.plan.graph.by_list {
            self.under_lock()?;
        }
        let key = match scope {
            Scope::Opened(key) => key,
            Scope::Source | Scope::Around => {
                self.out.arrives = true;
                self.out.note = note;
                return Ok(());
            }
        };
        let Some(opened) = self.opened.get_mut(&key) else {
            self.arrive_at_line(key);
            return Ok(());
        };
        opened.arrived += 1;
        if opened.arrived < opened.expected || opened.entry.is_none() {
            return Ok(());
        }
        self.close(key, note.as_ref())
    }

    /// Ends a container that this decision has opened.
    pub(super) fn close(&mut self, key: usize, note: Option<&Value>) -> Result<(), DecideError> {
        let Some(opened) = self.opened.get(&key) else { return Ok(()) };
        let (place, attempt, entry) = (opened.place.clone(), opened.attempt, opened.entry);
        let Some(scheduled) = entry.and_then(|entry| self.out.scheduled.get(entry)) else {
            return Ok(());
        };
        let input = scheduled.input.clone();
        let gathered = self.gathered_here();
        let after = self.container_end((&place, attempt), &input, note, &gathered);
        self.judge(entry, &place, &after)
    }

    /// A container that was open has nothing left to wait for.
    pub(super) fn fell(&mut self, fell: &Fell) -> Result<(), DecideError> {
        let place = self.source(&fell.reference_name)?;
        if place.node.kind.is_by_list() && !self.is_settled(&place, &fell.gathered) {
            self.out.waits = true;
            return Ok(());
        }
        self.state.open.insert(fell.reference_name.clone(), fell.attempt);
        if matches!(place.node.kind, Kind::Loop { .. }) {
            let open = OpenLoop {
                turns: place.turns.clone(),
                turn: 0,
                input: fell.input.clone(),
                items: fell.items.clone(),
            };
            self.state.loops.insert(place.node.reference_name.to_string(), open);
        }
        let after = self.container_end(
            (&place, fell.attempt),
            &fell.input,
            fell.note.as_ref(),
            &fell.gathered,
        );
        self.out.output.clone_from(&after.output);
        self.out.reason.clone_from(&after.reason);
        self.judge(None, &place, &after)
    }

    fn container_end(
        &mut self,
        (place, attempt): (&Place, i16),
        input: &Payload,
        note: Option<&Value>,
        gathered: &[Gathered],
    ) -> After {
        let mut after = match place.node.kind {
            Kind::Loop { .. } => self.loop_end(place, attempt, note, gathered),
            _ if place.node.kind.is_by_list() => self.end_by_list(place, attempt, gathered),
            _ => join_end(place, attempt, input, gathered),
        };
        after.input = Some(input.clone());
        within_limits(place, after)
    }

    /// What has ended in this decision, and before it where that is known.
    fn gathered_here(&self) -> Vec<Gathered> {
        let state = &self.state;
        let done = state.done.iter().flat_map(|done| done.iter()).map(|(name, fact)| Gathered {
            reference_name: name.clone(),
            task_id: state.task_id(name, fact.attempt).to_string(),
            task_name: name.clone(),
            status: fact.status,
            output: fact.output.clone(),
            reason: fact.reason.clone(),
        });
        let here = self.out.scheduled.iter().filter_map(|scheduled| {
            let Fate::Ended { status, output } = &scheduled.fate else { return None };
            let name = &scheduled.reference_name;
            Some(Gathered {
                reference_name: name.to_string(),
                task_id: state.task_id(name, scheduled.attempt).to_string(),
                task_name: scheduled.node.task_name.to_string(),
                status: *status,
                output: output.clone(),
                reason: scheduled.reason.clone(),
            })
        });
        done.chain(here).collect()
    }

    /// A JOIN that follows no fork: what it names has ended before it is reached.
    pub(super) fn join_alone(&self, place: &Place, attempt: i16, on: &[String]) -> After {
        let gathered: Vec<Gathered> =
            on.iter().filter_map(|name| self.known(place, name)).collect();
        let input = Arc::new(json!({ "joinOn": on }));
        join_end(place, attempt, &input, &gathered)
    }

    pub(super) fn exclusive_join(
        &self,
        attempt: i16,
        (on, default): (&[String], &[String]),
        find: impl Fn(&String) -> Option<Gathered>,
    ) -> After {
        let ran = |task: &Gathered| task.status != TaskStatus::Skipped;
        let found = on.iter().filter_map(&find).find(ran);
        let listed = found.is_some();
        let found = found.or_else(|| default.iter().filter_map(&find).find(ran));
        let Some(task) = found else {
            let reason = format!("none of {on:?} and {default:?} has run");
            return After::failed(attempt, TaskStatus::Failed, reason);
        };
        let base = task.reference_name.split("__").next().unwrap_or_default();
        let permissive = self.plan.node(base).is_some_and(|node| node.permissive);
        let open = || on.iter().any(|name| find(name).is_none());
        if task.status.is_successful() || (listed && permissive && open()) {
            let output = task.output.as_deref().cloned().unwrap_or_else(|| json!({}));
            return After::completed(attempt, output);
        }
        let reason = task.reason.unwrap_or_default();
        After::failed(attempt, TaskStatus::Failed, reason)
    }

    /// A task of the same turns that has ended.
    pub(super) fn known(&self, place: &Place, name: &str) -> Option<Gathered> {
        let fact = self.state.facts.get(name).filter(|fact| fact.turns == place.turns)?;
        let reference_name = instance(name, &fact.turns);
        Some(Gathered {
            task_id: self.state.task_id(&reference_name, fact.attempt).to_string(),
            reference_name,
            task_name: self.plan.node(name).map_or(name, |node| &node.task_name).to_owned(),
            status: fact.status,
            output: fact.output.clone(),
            reason: fact.reason.clone(),
        })
    }
}

/// What a container gives is put together from what was small enough: all of it may not be.
fn within_limits(place: &Place, after: After) -> After {
    let Some(output) = after.output.as_deref() else { return after };
    let what = format!("output of {} {:?}", place.node.task_type, place.name());
    let Err(fault) = check_gathered(&what, output, TASK_PAYLOAD_MAX_BYTES) else { return after };
    let (kept, hint) = match place.node.kind {
        Kind::Loop { .. } => {
            (json!({ "iteration": output.get("iteration") }), "keep fewer turns with keepLastN")
        }
        _ => (json!({}), "list fewer tasks, or give less"),
    };
    let status = TaskStatus::FailedWithTerminalError;
    After {
        output: Some(kept.into()),
        input: after.input,
        ..After::failed(after.attempt, status, format!("{fault}: {hint}"))
    }
}

/// What a JOIN comes to when all that it waits for has ended.
pub(super) fn join_end(place: &Place, attempt: i16, input: &Value, gathered: &[Gathered]) -> After {
    let by_name: std::collections::BTreeMap<&str, &Gathered> =
        gathered.iter().map(|task| (task.reference_name.as_str(), task)).collect();
    let listed = input.get("joinOn").and_then(Value::as_array);
    let names = listed.into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = names.map(|name| instance(name, &place.turns)).collect();
    let tasks: Vec<&Gathered> =
        names.iter().filter_map(|name| by_name.get(name.as_str()).copied()).collect();
    let mut output = Map::new();
    for task in &tasks {
        let empty = |output: &Value| output.as_object().is_some_and(Map::is_empty);
        if let Some(given) = task.output.as_deref().filter(|output| !empty(output)) {
            output.insert(task.reference_name.clone(), given.clone());
        }
    }
    let failed: Vec<&&Gathered> =
        tasks.iter().filter(|task| !task.status.is_successful()).collect();
    let missing: Vec<&String> =
        names.iter().filter(|name| !by_name.contains_key(name.as_str())).collect();
    let mut after = After::completed(attempt, Value::Object(output));
    if !failed.is_empty() {
        let canceled = failed.iter().all(|task| task.status == TaskStatus::Canceled);
        after.status = if canceled { TaskStatus::Canceled } else { TaskStatus::Failed };
        let reasons: Vec<&str> = failed.iter().filter_map(|task| task.reason.as_deref()).collect();
        after.reason = Some(reasons.join(" "));
    } else if !missing.is_empty() {
        after.status = TaskStatus::Failed;
        after.reason = Some(format!("waits for tasks that were never scheduled: {missing:?}"));
    } else {
        let errors = tasks.iter().filter(|task| task.status == TaskStatus::CompletedWithErrors);
        let errors: Vec<String> =
            errors.map(|task| format!("{}/{} ", task.task_name, task.task_id)).collect();
        if !errors.is_empty() {
            after.status = TaskStatus::CompletedWithErrors;
            after.reason = Some(format!("{}completed with errors", errors.concat()));
        }
    }
    after
}

impl Walk<'_> {
    /// Says of the containers that stay open how many they wait for.
    pub(super) fn count_opened(&mut self) {
        for opened in self.opened.values() {
            let remaining = opened.expected.saturating_sub(opened.arrived);
            let scheduled = opened.entry.and_then(|entry| self.out.scheduled.get_mut(entry));
            if let Some(scheduled) = scheduled
                && matches!(scheduled.fate, Fate::Container { .. })
            {
                scheduled.fate = Fate::Container { remaining };
            }
        }
    }
}
