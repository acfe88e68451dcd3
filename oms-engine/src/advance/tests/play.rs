//! Plays a case: one worker task ends at a time, the lowest number first; time is moved.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};

use super::case::Case;
use super::compare::{Seen, SeenTask, differences};
use super::http::Asked;
use super::rows::Open;
use super::world::{What, World, what_of};
use crate::advance::start::hold_to_schema;
use crate::advance::{Execution, Rerun, RerunFrom, Said};
use crate::decide::{SYSTEM_QUEUE, TaskStatus, WorkflowStatus};
use crate::definition::{NamesSchemas, SchemaDef, TaskToDomain};
use crate::ids::WorkflowId;
use crate::store::TokenState;

const MOVES_MAX: usize = 1_000;

/// Where HTTP tasks of cases call to.
pub(super) const STAND_IN: &str = "http://stand-in.test";

pub(super) struct Player<'a> {
    pub(super) case: &'a Case,
    pub(super) world: World,
    pub(super) asked: Asked,
    id: WorkflowId,
}

pub(super) fn play(case: &Case) -> Result<(), String> {
    let case = &case.clone().calling(STAND_IN);
    let mut world = World::new();
    world.env = Arc::new(case.env.clone());
    for schema in &case.schemas {
        let schema: SchemaDef = serde_json::from_value(schema.clone()).unwrap();
        world.schemas.insert((schema.name.clone(), schema.version), schema);
    }
    for def in &case.task_definitions {
        let mut def: crate::TaskDef = serde_json::from_value(def.clone()).unwrap();
        assert_eq!(def.write_schemas(&world.schemas), []);
        world.tables.limits.insert(def.name.clone(), def.limits());
        world.task_defs.insert(def.name.clone(), def);
    }
    let texts = case.workflows.iter().chain([&case.definition]);
    let registered: Result<Vec<()>, String> = texts.map(|text| world.register(text)).collect();
    match (registered, &case.refused) {
        (Err(error), Some(part)) if error.contains(part) => return Ok(()),
        (Err(error), _) => return Err(format!("refused: {error}")),
        (Ok(_), _) => {}
    }
    for text in &case.event_handlers {
        match (world.add_handler(text), &case.refused) {
            (Err(error), Some(part)) if error.contains(part) => return Ok(()),
            (done, _) => done?,
        }
    }
    let plan = world.compile(&case.definition)?;
    // No worker is handed anything here.
    let known = |name: &String| case.secrets.as_ref().is_some_and(|all| all.contains_key(name));
    let named = plan.graph.steps().flat_map(|node| node.input.secrets());
    if let Some(name) = named.into_iter().find(|name| !known(name)) {
        return Err(format!("names secret {name:?} and does not give it"));
    }
    let input = Value::Object(plan.def.with_input_template(case.start.input.clone()));
    match (hold_to_schema(&plan, &input), &case.refused) {
        (Err(error), Some(part)) if error.to_string().contains(part) => return Ok(()),
        (Err(error), _) => return Err(format!("refused: {error}")),
        (Ok(()), Some(part)) => return Err(format!("is not refused with {part:?}")),
        (Ok(()), None) => {}
    }
    world.tables.serve(&case.serves);
    let id = world.tables.add_run(&plan, input, case.start.correlation_id.clone(), None);
    let domains = TaskToDomain::read(&json!(case.start.task_to_domain));
    let domains = domains.map_err(|(key, reason)| format!("{key}: {reason}"))?;
    world.tables.runs.get_mut(&id).unwrap().row.task_to_domain = domains.map(Arc::new);
    Player { case, world, asked: Asked::new(), id }.run()
}

impl Player<'_> {
    fn run(mut self) -> Result<(), String> {
        let mut steps = self.case.steps.iter();
        for _ in 0..MOVES_MAX {
            self.world.tables.hand_out();
            if let Some(token) = self.system() {
                self.world.step(token, What::System);
            } else if self.http() || self.give_back() {
                continue;
            } else if self.world.next_event() {
                // Its handlers have acted.
            } else if let Some((token, what)) = self.next() {
                self.world.step(token, what);
            } else if let Some(step) = steps.next() {
                self.step(step)?;
            } else if !self.pass_to_next() {
                return self.compare();
            }
        }
        Err("does not come to rest".to_owned())
    }

    fn open(&self, of: impl Fn(&Open) -> bool) -> Vec<&Open> {
        let mut open: Vec<&Open> = self.world.tables.open.values().filter(|o| of(o)).collect();
        open.sort_by_key(|open| open.row.seq);
        open
    }

    fn system(&self) -> Option<i64> {
        let ready = |open: &Open| {
            open.row.token.state == TokenState::Ready && &*open.row.token.queue == SYSTEM_QUEUE
        };
        self.open(ready).first().map(|open| open.row.token.id)
    }

    pub(super) fn workers(&self) -> Vec<&Open> {
        self.open(|open| {
            open.row.token.state == TokenState::Leased && &*open.row.token.queue != SYSTEM_QUEUE
        })
    }

    /// What the case says that the worker of a task does.
    fn outcome(&self, open: &Open) -> Value {
        let token = &open.row.token;
        let listed = self.case.workers.get(&*token.reference_name);
        let number = usize::try_from(token.attempt).unwrap();
        let outcome = listed.and_then(|list| list.get(number)).cloned();
        outcome.unwrap_or_else(|| json!({}))
    }

    /// A task that is in progress goes back until its callback. False: there is none.
    fn give_back(&mut self) -> bool {
        let found = self.workers().into_iter().find_map(|open| {
            let outcome = self.outcome(open);
            let after = outcome["callbackAfterSeconds"].as_i64().unwrap_or(0);
            (outcome["status"] == "IN_PROGRESS").then_some((open.row.token.id, after))
        });
        let Some((id, after)) = found else { return false };
        let now = self.world.tables.now;
        let open = self.world.tables.open.get_mut(&id).unwrap();
        open.row.token.state = TokenState::Delayed;
        open.due = Some(now + Duration::seconds(after));
        true
    }

    fn next(&self) -> Option<(i64, What)> {
        self.workers().into_iter().find_map(|open| {
            let token = &open.row.token;
            match self.outcome(open) {
                Value::String(hold) if hold == "HOLD" => None,
                outcome => Some((token.id, what_of(&outcome))),
            }
        })
    }

    fn step(&mut self, step: &Map<String, Value>) -> Result<(), String> {
        let id = match step.get("in").and_then(Value::as_str) {
            Some(path) => self.child(path)?,
            None => self.id,
        };
        match (self.act(id, step), step.get("refused").and_then(Value::as_str)) {
            (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
            (Ok(()), Some(part)) => Err(format!("{step:?} is not refused with {part:?}")),
            (Err(error), None) => Err(format!("{step:?}: {error}")),
        }
    }

    fn act(&mut self, id: WorkflowId, step: &Map<String, Value>) -> Result<(), String> {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        if let Some(seconds) = step.get("advance").and_then(Value::as_i64) {
            self.pass_to(self.world.tables.now + Duration::seconds(seconds));
            return Ok(());
        }
        if let Some(name) = text("complete").or_else(|| text("fail")) {
            return self.signal(id, name, step);
        }
        if let Some(done) = self.world.told_by(id, step) {
            return done;
        }
        if let Some(reason) = text("terminate") {
            let compensate = step.get("compensate") == Some(&json!(true));
            return self.world.terminate(id, reason.to_owned(), compensate);
        }
        if let Some(from) = step.get("rerun") {
            return self.rerun(id, from.as_str(), step);
        }
        if let Some(name) = text("skip") {
            return self.world.skip(id, name, step);
        }
        let key = step.keys().find(|key| !["in", "refused"].contains(&key.as_str()));
        match key.map(String::as_str) {
            Some("pause") => self.world.pause(id),
            Some("resume") => self.world.resume(id),
            Some("setVariables") => self.world.set_variables(id, &step["setVariables"]),
            Some("resetCallbacks") => self.world.reset_callbacks(id),
            Some("retry") => {
                let resumes = step["retry"]["resumeSubworkflowTasks"] == true;
                self.world.retry(id, resumes)
            }
            Some("restart") => self.world.restart(id),
            other => panic!("{other:?} is no step"),
        }
    }

    fn rerun(
        &mut self,
        id: WorkflowId,
        from: Option<&str>,
        step: &Map<String, Value>,
    ) -> Result<(), String> {
        let own = match step.get("of").and_then(Value::as_str) {
            Some(path) => self.below(id, path)?,
            None => id,
        };
        let text = |key: &str| step.get(key).and_then(Value::as_str).map(str::to_owned);
        let rerun = Rerun {
            from: from.map(|name| RerunFrom::Step(name.to_owned())),
            task_input: step.get("input").cloned(),
            input: step.get("workflowInput").cloned(),
            correlation_id: text("correlationId"),
            top: (own != id).then_some(id),
        };
        self.world.rerun(own, &rerun)
    }

    fn signal(
        &mut self,
        id: WorkflowId,
        name: &str,
        step: &Map<String, Value>,
    ) -> Result<(), String> {
        let terminal = step.get("terminal") == Some(&json!(true));
        let status = match (step.contains_key("complete"), terminal) {
            (true, _) => TaskStatus::Completed,
            (false, true) => TaskStatus::FailedWithTerminalError,
            (false, false) => TaskStatus::Failed,
        };
        let output = step.get("output").cloned().unwrap_or_else(|| json!({}));
        let reason = step.get("reason").and_then(Value::as_str).map(str::to_owned);
        self.world.say(id, name, Said { status, output, reason, adds: true })
    }

    /// Moves to the next moment at which something is due. False: nothing is.
    fn pass_to_next(&mut self) -> bool {
        let of_tokens = self.world.tables.open.values().filter_map(|open| open.due);
        let runs = self.world.tables.runs.values();
        let of_runs = runs
            .filter(|run| run.row.status == WorkflowStatus::Running)
            .filter_map(|run| run.deadline);
        let waits = |open: &&Open| open.row.token.state == TokenState::Ready;
        let ready = self.world.tables.open.values().filter(waits);
        let of_rates = ready.filter_map(|open| self.world.tables.opens(&open.row.token.queue));
        let all = of_tokens.chain(of_runs).chain(of_rates);
        let Some(at) = all.min() else { return false };
        self.pass_to(at);
        true
    }

    fn pass_to(&mut self, at: DateTime<Utc>) {
        let tables = &mut self.world.tables;
        tables.now = tables.now.max(at);
        let now = tables.now;
        let overdue: Vec<WorkflowId> = tables
            .runs
            .values()
            .filter(|run| run.row.status == WorkflowStatus::Running)
            .filter(|run| run.deadline.is_some_and(|deadline| deadline <= now))
            .map(|run| run.row.id)
            .collect();
        for id in overdue {
            self.world.workflow_time_up(id);
        }
        let due = |open: &Open| open.due.is_some_and(|due| due <= now);
        let ids: Vec<i64> = self.open(due).iter().map(|open| open.row.token.id).collect();
        for id in ids {
            let Some(open) = self.world.tables.open.get_mut(&id) else { continue };
            let expired = open.expires.is_some_and(|at| at <= now);
            let told = open.row.task_type.as_deref() == Some(&*open.row.token.queue);
            if open.row.token.state == TokenState::Delayed && !expired && !told {
                let system = &*open.row.token.queue == SYSTEM_QUEUE;
                // A worker of the case takes its task at once.
                let queue = open.row.token.queue.clone();
                let begins = !system && self.world.tables.takes(&queue);
                let Some(open) = self.world.tables.open.get_mut(&id) else { continue };
                open.begins(if begins { TokenState::Leased } else { TokenState::Ready }, now);
            } else {
                self.world.step(id, What::TimeUp);
            }
        }
    }

    fn child(&self, path: &str) -> Result<WorkflowId, String> {
        self.below(self.id, path)
    }

    fn below(&self, mut id: WorkflowId, path: &str) -> Result<WorkflowId, String> {
        for name in path.split('/') {
            let of_token = |run: &super::rows::Record| {
                let token =
                    run.row.parent_token.and_then(|token| self.world.tables.open.get(&token));
                let ended = self.world.tables.history.iter().find(|row| {
                    let child = row.output.as_ref().and_then(|o| o.get("subWorkflowId")?.as_str());
                    row.workflow_id == id && child == Some(&run.row.id.to_string())
                });
                let of_history = ended.map(|row| row.reference_name.as_str());
                let found = token.map(|open| &*open.row.token.reference_name);
                run.row.parent_id == Some(id) && found.or(of_history) == Some(name)
            };
            let found = self.world.tables.runs.values().rfind(|run| of_token(run));
            id = found.map(|run| run.row.id).ok_or_else(|| format!("no child {name:?}"))?;
        }
        Ok(id)
    }

    fn compare(&self) -> Result<(), String> {
        let mut wrong = differences(self.case.expect.as_ref().unwrap(), &self.seen(self.id));
        for (path, expect) in &self.case.children {
            let found = differences(expect, &self.seen(self.child(path)?));
            wrong.extend(found.into_iter().map(|line| format!("  in {path}:{line}")));
        }
        let others = self
            .world
            .tables
            .runs
            .values()
            .filter(|run| run.row.id != self.id && run.row.parent_id.is_none());
        let others: Vec<_> = others.collect();
        let names: Vec<&str> = others.iter().map(|run| run.row.name.as_str()).collect();
        let expected: Vec<&str> = self.case.started.iter().map(|s| s.name.as_str()).collect();
        if names != expected {
            wrong.push(format!("  started: expected {expected:?}, found {names:?}"));
        }
        for (run, started) in others.into_iter().zip(&self.case.started) {
            wrong.extend(differences(&started.expect, &self.seen(run.row.id)));
        }
        if let Some(expected) = &self.case.executions
            && *expected != self.world.events.executions
        {
            let found = &self.world.events.executions;
            wrong.push(format!("  executions: expected {expected:#?}, found {found:#?}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("\n{}", wrong.join("\n"))) }
    }

    fn seen(&self, id: WorkflowId) -> Seen {
        let record = &self.world.tables.runs[&id];
        let history = self.world.tables.visible(id);
        let run = self.world.tables.run(record);
        let open = self.open(|open| open.row.token.workflow_id == id);
        let open = open.into_iter().map(|open| open.row.clone()).collect();
        let seen = Execution::assemble(record.row.clone(), &record.plan, &run.state, history, open);
        let tasks = seen.tasks.into_iter().map(|task| SeenTask {
            task_id: task.task_id,
            reference_name: task.reference_task_name,
            task_type: task.task_type,
            status: task.status.as_str().to_owned(),
            domain: task.domain,
            attempt: task.retry_count,
            input: task.input_data,
            output: task.output_data,
            reason: task.reason_for_incompletion,
        });
        Seen {
            workflow_id: seen.workflow_id.to_string(),
            status: seen.status.as_str().to_owned(),
            output: seen.output,
            variables: seen.variables,
            reason: seen.reason_for_incompletion,
            compensating: seen.compensating.map(|status| status.as_str().to_owned()),
            left: super::undo::shown(&seen.not_compensated),
            tasks: tasks.collect(),
        }
    }
}
