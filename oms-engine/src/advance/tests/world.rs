//! Definitions, and what the engine does with one token: decide, write, start and end runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::rows::{Open, Tables};
use crate::advance::Said;
use crate::advance::family::Control;
use crate::advance::load::Run;
use crate::advance::one::{ended_row, time_up};
use crate::advance::operate::reason_of_children;
use crate::advance::rows::tell;
use crate::advance::told::{decide_event, ended, gathered_of, parked, wanted_of};
use crate::advance::undo::{Ending, says};
use crate::decide::{
    DecideError, Decision, End, Event, Fell, Kind, Plan, TaskStatus, WorkflowStatus, counts_as,
    decide,
};
use crate::definition::{
    Faults, NamesSchemas, SchemaDef, SchemaKey, TaskDef, WorkflowDef, as_object, validate,
};
use crate::ids::WorkflowId;
use crate::store::{DueToken, EndedRow, Token, TokenState};

pub(super) struct World {
    pub(super) tables: Tables,
    pub(super) plans: BTreeMap<(String, i32), Arc<Plan>>,
    pub(super) task_defs: BTreeMap<String, TaskDef>,
    pub(super) schemas: BTreeMap<SchemaKey, SchemaDef>,
    /// What expressions read of the engine.
    pub(super) env: Arc<Map<String, Value>>,
    /// What the holder of a token remembers of its run, as the pump does.
    memory: BTreeMap<i64, Run>,
    /// How runs will end that are undone, unless an operator stops that.
    pub(super) settled: BTreeMap<WorkflowId, WorkflowStatus>,
    /// Decisions that memory could make.
    pub(super) remembered: usize,
    pub(super) events: super::events::Events,
}

/// What happens to a token.
pub(super) enum What {
    Ended { status: TaskStatus, output: Option<Value>, reason: Option<String> },
    Said(Said),
    TimeUp,
    System,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            tables: Tables::new(),
            plans: BTreeMap::new(),
            task_defs: BTreeMap::new(),
            schemas: BTreeMap::new(),
            env: Arc::default(),
            memory: BTreeMap::new(),
            settled: BTreeMap::new(),
            remembered: 0,
            events: super::events::Events::default(),
        }
    }

    pub(super) fn compile(&self, text: &Value) -> Result<Arc<Plan>, String> {
        let mut def =
            WorkflowDef::from_json(&text.to_string()).map_err(|fault| fault.to_string())?;
        let missing = def.write_schemas(&self.schemas);
        Faults::check("workflow definition", missing).map_err(|faults| faults.to_string())?;
        validate(&def, &self.task_defs).map_err(|faults| faults.to_string())?;
        let plan = Plan::compile(0, def, &self.task_defs).map_err(|faults| faults.to_string())?;
        Ok(Arc::new(plan.with_env(self.env.clone())))
    }

    pub(super) fn register(&mut self, text: &Value) -> Result<(), String> {
        let plan = self.compile(text)?;
        self.plans.insert((plan.name.to_string(), plan.def.version), plan);
        Ok(())
    }

    pub(super) fn find(&self, name: &str, version: Option<i32>) -> Option<Arc<Plan>> {
        let mut named = self
            .plans
            .iter()
            .filter(|((of, at), _)| of == name && version.is_none_or(|version| *at == version));
        named.next_back().map(|(_, plan)| plan.clone())
    }

    /// One step of a token, the way the engine goes it.
    pub(super) fn step(&mut self, token_id: i64, what: What) {
        let open = self.tables.open[&token_id].clone();
        let token = &open.row.token;
        if matches!(what, What::System) && self.control(&open) {
            return;
        }
        let mut run = self.tables.load(token);
        self.tables.look_beside(&mut run, token);
        if !token.reference_name.is_empty() {
            run.state.open.insert(token.reference_name.clone(), token.attempt);
        }
        let event = match what {
            What::Ended { status, output, reason } => {
                Event::Ended(ended(token, status, output.map(as_object), reason))
            }
            What::Said(said) => Event::Ended(said.end(&run, &self.due(&open))),
            What::TimeUp => match time_up(&run, &self.due(&open)) {
                Some(end) => Event::Ended(end),
                None => {
                    self.disarm(token_id);
                    return;
                }
            },
            What::System => match self.told(&run, &open) {
                Some(event) => event,
                None => return,
            },
        };
        let event = event.held_to_schema(&run.plan, &run.state);
        if run.state.status == WorkflowStatus::Paused {
            self.park(&run, &open, &event);
            return;
        }
        let mut row = self.ended_row(&run, &open, &event);
        let (after, decision) = self.decide(run, &event);
        self.remembers(token_id, &event, &decision);
        self.events.publish(&decision.events);
        if let Some(output) = &decision.stays {
            self.stays(token_id, output);
            return;
        }
        if decision.waits {
            let open = self.tables.open.get_mut(&token_id).unwrap();
            open.row.token.state = TokenState::Container;
            return;
        }
        let around = after.state.beside.as_ref().and_then(|beside| beside.around);
        self.tables.grow(around, decision.lineages);
        tell(&mut row, &decision);
        let opened = self.tables.advance(row, &decision.scheduled, around);
        self.remember(&after, &decision, &opened);
        if after.state.beside.is_some() && decision.end.is_none() {
            self.tables.wake_joins(after.state.id, &decision.listed);
        }
        if let Some(end) = decision.end {
            self.end_or_undo(&after, Ending::of_step(end.within_limits(&after.plan)));
        }
    }

    /// What memory decides, where it can, is what a fresh look decides.
    fn remembers(&mut self, token_id: i64, event: &Event, fresh: &Decision) {
        let Some(mut run) = self.memory.remove(&token_id) else { return };
        if !matches!(event, Event::Ended(_)) {
            return;
        }
        match decide(&run.plan.clone(), &mut run.state, event) {
            Ok(decision) => {
                self.remembered += 1;
                assert_eq!(decision, *fresh, "memory decides otherwise on {event:?}");
            }
            Err(DecideError::NeedsFresh | DecideError::NeedsTaskDefs(_)) => {}
            Err(error) => panic!("{event:?} from memory: {error}"),
        }
    }

    fn remember(&mut self, after: &Run, decision: &Decision, opened: &BTreeMap<usize, i64>) {
        for (number, scheduled) in decision.scheduled.iter().enumerate() {
            let Some(token) = opened.get(&number) else { continue };
            if !scheduled.node.kind.is_worker() {
                continue;
            }
            let mut run = after.clone();
            run.state.fresh = false;
            run.state.branch.clone_from(&scheduled.branch);
            run.state.dynamic = scheduled.task_def.is_some().then(|| scheduled.node.clone());
            run.state.open.retain(|name, _| *name == scheduled.reference_name);
            self.memory.insert(*token, run);
        }
    }

    /// The rev of a run's tokens has changed: no memory of them counts.
    pub(super) fn forget(&mut self, id: WorkflowId) {
        self.memory.retain(|_, run| run.state.id != id);
    }

    fn disarm(&mut self, token_id: i64) {
        let open = self.tables.open.get_mut(&token_id).unwrap();
        (open.expires, open.timeout_ms) = (None, None);
        open.due = open.silence_ms().map(|ms| self.tables.now + chrono::Duration::milliseconds(ms));
    }

    pub(super) fn due(&self, open: &Open) -> DueToken {
        DueToken {
            token: Token { due_at: open.due, ..open.row.token.clone() },
            holder: 0,
            expired: open.expires.is_some_and(|at| at <= self.tables.now),
            worker: None,
            due: true,
            remaining: open.row.remaining,
            output: open.row.output.clone(),
        }
    }

    fn ended_row(&self, run: &Run, open: &Open, event: &Event) -> EndedRow {
        ended_row(run, &self.due(open), None, event)
    }

    fn decide(&self, mut run: Run, event: &Event) -> (Run, Decision) {
        loop {
            let mut tried = run.clone();
            match decide(&tried.plan.clone(), &mut tried.state, event) {
                Ok(decision) => return (tried, decision),
                Err(DecideError::NeedsTaskDefs(names)) => {
                    for name in names {
                        let def = self.task_defs.get(&name).cloned();
                        run.state.task_defs.insert(name, def);
                    }
                }
                Err(error) => panic!("{event:?}: {error}"),
            }
        }
    }

    fn told(&mut self, run: &Run, open: &Open) -> Option<Event> {
        let token = &open.row.token;
        if let Some(says) = says(token) {
            return self.told_to_undo(run, open, says);
        }
        if token.reference_name.is_empty() {
            return decide_event(token.input.as_ref());
        }
        let own = run.state.branch.as_ref().and_then(|b| b.graph.find(&token.reference_name));
        let (node, turns) = own.or_else(|| run.plan.graph.find(&token.reference_name)).unwrap();
        let node = node.clone();
        let input = Arc::new(token.input.clone().unwrap_or_default());
        Some(match &node.kind {
            kind if kind.is_container() || kind.is_by_list() => {
                let wanted = wanted_of(run, &node, &turns, &input);
                let rows = self.tables.visible(token.workflow_id).into_iter();
                let in_loop = matches!(node.kind, Kind::Loop { .. });
                let rows = rows.filter(|row| {
                    let name = &row.reference_name;
                    let base = name.split_once("__").map_or(&**name, |(base, _)| base);
                    wanted
                        .iter()
                        .any(|wanted| if in_loop { wanted == base } else { wanted == name })
                });
                Event::Fell(Fell {
                    reference_name: token.reference_name.clone(),
                    attempt: token.attempt,
                    gathered: gathered_of(run, &node, rows.collect()),
                    items: token
                        .detail
                        .as_ref()
                        .and_then(|d| d.get("items").cloned())
                        .map(Arc::new),
                    note: open.row.output.clone(),
                    input: input.into(),
                })
            }
            Kind::SubWorkflow { .. } => return self.sub_workflow(run, open),
            Kind::StartWorkflow => Event::Ended(self.start_workflow(run, open)),
            Kind::Wait | Kind::Human => {
                let output = open.row.output.clone().unwrap_or_else(|| json!({}));
                Event::Ended(ended(token, TaskStatus::Completed, Some(output), None))
            }
            _ => Event::Run {
                reference_name: token.reference_name.clone(),
                attempt: token.attempt,
                input: input.into(),
            },
        })
    }

    fn park(&mut self, run: &Run, open: &Open, event: &Event) {
        let id = open.row.token.workflow_id;
        let Some(then) = parked(event) else {
            let open = self.tables.open.get_mut(&open.row.token.id).unwrap();
            open.row.token.state = TokenState::Delayed;
            open.row.remaining = Some(0);
            return;
        };
        let mut row = self.ended_row(run, open, event);
        if let Event::Ended(end) = event {
            row.status = counts_as(&run.plan, &run.state, end);
        }
        self.tables.advance(row, &[], None);
        self.tables.open_decide(id, then);
        let parked = self.tables.open.values_mut().last().unwrap();
        parked.row.token.state = TokenState::Delayed;
        parked.row.token.scope = open.row.token.scope;
        parked.row.token.detail.clone_from(&open.row.token.detail);
        parked.expires = open.expires;
    }

    /// Ends a run: its tokens are canceled, its children terminated, its parent told.
    pub(super) fn end(&mut self, id: WorkflowId, mut end: End, compensate: bool) {
        self.cancel(id, &reason_of_children(&end), compensate, |_| true);
        let last = self.tables.last_output(id);
        let output = end.output.take().map_or(last, |output| Value::clone(&output));
        let now = self.tables.now;
        let record = self.tables.runs.get_mut(&id).unwrap();
        record.row.status = end.status;
        record.row.output = Some(output);
        record.row.reason.clone_from(&end.reason);
        record.row.ended_at = Some(now);
        record.deadline = None;
        // One that has fallen already reads how the run ended when it is taken.
        let parent = record.row.parent_token.filter(|parent| {
            let open = self.tables.open.get(parent);
            open.is_some_and(|open| open.row.token.state == TokenState::Container)
        });
        if let Some(parent) = parent {
            self.tables.count_down(parent, None);
        }
    }

    /// Takes tokens of a run.
    pub(super) fn cancel(
        &mut self,
        id: WorkflowId,
        reason: &str,
        compensate: bool,
        which: impl Fn(&Open) -> bool,
    ) {
        let own = |open: &&Open| {
            let token = &open.row.token;
            token.workflow_id == id && Control::read(token).is_none() && which(open)
        };
        let tokens: Vec<Open> = self.tables.open.values().filter(own).cloned().collect();
        for open in tokens {
            let token = &open.row.token;
            let run = self.tables.load(token);
            let event = Event::Ended(ended(token, TaskStatus::Canceled, None, None));
            let mut row = self.ended_row(&run, &open, &event);
            let going_on = token.detail.as_ref().and_then(|detail| detail.get("child").cloned());
            let going_on = going_on.map(|child| json!({ "subWorkflowId": child }));
            let gave = open.row.output.clone().or(going_on);
            row.output = gave.clone().map(Into::into);
            row.reason.clone_from(&open.row.reason);
            self.tables.advance(row, &[], None);
            let child = gave.as_ref().and_then(|gave| gave.get("subWorkflowId")?.as_str());
            let child = child.filter(|_| open.row.task_type.as_deref() == Some("SUB_WORKFLOW"));
            let child = child.map(|child| self.tables.runs[&child.parse().unwrap()].row.clone());
            if let Some(child) = child.filter(|child| !child.status.is_terminal()) {
                self.tables.tell_to_end(child.id, reason, compensate);
            }
        }
    }
}

/// Whether a token waits for the resume of its run.
pub(super) fn is_parked(open: &Open) -> bool {
    let token = &open.row.token;
    let of_no_task = token.reference_name.is_empty() || open.row.remaining == Some(0);
    token.state == TokenState::Delayed && of_no_task && open.due.is_none()
}

/// What an outcome of a case does to its task.
pub(super) fn what_of(outcome: &Value) -> What {
    let text = |key: &str| outcome[key].as_str().map(str::to_owned);
    let status = text("status").map_or(TaskStatus::Completed, |name| name.parse().unwrap());
    let output = outcome.get("output").cloned();
    let output =
        if status == TaskStatus::Completed { output.or_else(|| Some(json!({}))) } else { output };
    let reason = if status == TaskStatus::Completed { None } else { text("reason") };
    What::Ended { status, output, reason }
}
