//! Events and signals: what comes to runs from outside, and what handlers do.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use super::case::Execution;
use super::rows::Open;
use super::world::{What, World};
use crate::advance::Said;
use crate::advance::events::{laid_out, with_variables};
use crate::decide::{Published, TaskStatus};
use crate::definition::{Asked, EventAction, EventHandler, TaskTarget, validate_event_handler};
use crate::ids::WorkflowId;
use crate::store::{ActionStatus, EventRow, TokenState};

/// What was published, who handles it, and what was done about it.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: VecDeque<EventRow>,
    keys: Vec<(String, String)>,
    handlers: BTreeMap<String, EventHandler>,
    pub(super) executions: Vec<Execution>,
    published: i64,
}

impl Events {
    pub(super) fn publish(&mut self, events: &[Published]) {
        for published in events {
            let payload = Value::clone(&published.payload);
            self.add(&published.event, &published.message_id, payload);
        }
    }

    fn add(&mut self, event: &str, message_id: &str, payload: Value) {
        self.published += 1;
        let (event, message_id) = (event.to_owned(), message_id.to_owned());
        self.waiting.push_back(EventRow { id: self.published, event, message_id, payload });
    }
}

impl World {
    pub(super) fn add_handler(&mut self, text: &Value) -> Result<(), String> {
        let handler = EventHandler::from_json(&text.to_string()).map_err(|f| f.to_string())?;
        validate_event_handler(&handler).map_err(|faults| faults.to_string())?;
        self.events.handlers.insert(handler.name.clone(), handler);
        Ok(())
    }

    /// Does what handlers do about the next event. False: there is none.
    pub(super) fn next_event(&mut self) -> bool {
        let Some(event) = self.events.waiting.pop_front() else { return false };
        let of = |handler: &&EventHandler| handler.event == event.event && handler.active;
        let handlers: Vec<EventHandler> =
            self.events.handlers.values().filter(of).cloned().collect();
        for row in laid_out(&event, &handlers) {
            let action: Option<EventAction> =
                row.action.map(|action| serde_json::from_value(action).unwrap());
            let status = match (row.status, &action) {
                (ActionStatus::Open, Some(action)) => {
                    let asked = action.asks(&event.event, &event.message_id, &event.payload);
                    match asked.and_then(|asked| self.do_asked(asked)) {
                        Ok(()) => "COMPLETED",
                        Err(_) => "FAILED",
                    }
                }
                (ActionStatus::Skipped, _) => "SKIPPED",
                _ => "FAILED",
            };
            self.events.executions.push(Execution {
                handler: row.handler,
                action: action.and_then(|action| Some(action.action?.as_str().to_owned())),
                status: status.to_owned(),
            });
        }
        true
    }

    fn do_asked(&mut self, asked: Asked) -> Result<(), String> {
        match asked {
            Asked::Start { name, version, input, correlation_id, .. } => {
                let plan = self.find(&name, version).ok_or("no such definition")?;
                let input = Value::Object(plan.def.with_input_template(input));
                self.tables.add_run(&plan, input, correlation_id, None);
                Ok(())
            }
            Asked::EndTask { task, failed, output, reason } => {
                let status = if failed { TaskStatus::Failed } else { TaskStatus::Completed };
                let said = Said { status, output: Value::Object(output), reason, adds: false };
                match task {
                    TaskTarget::Id(task) => self.say(task.workflow_id, &task.reference_name, said),
                    TaskTarget::Named { workflow_id, reference_name } => {
                        self.say(workflow_id, &reference_name, said)
                    }
                }
            }
            Asked::Terminate { workflow_id, reason } => {
                self.alive(workflow_id)?;
                self.terminate(workflow_id, reason, false)
            }
            Asked::SetVariables { workflow_id, variables, append } => {
                self.alive(workflow_id)?;
                self.forget(workflow_id);
                let row = &mut self.tables.runs.get_mut(&workflow_id).unwrap().row;
                row.variables =
                    Value::Object(with_variables(&row.variables, &variables, append)).into();
                Ok(())
            }
        }
    }

    fn alive(&self, id: WorkflowId) -> Result<(), String> {
        let run = self.tables.runs.get(&id).ok_or("no such run")?;
        if run.row.status.is_terminal() { Err("it has ended".to_owned()) } else { Ok(()) }
    }

    /// Says how the open task of this name stands.
    pub(super) fn say(&mut self, id: WorkflowId, name: &str, said: Said) -> Result<(), String> {
        let found = self.tables.open.values().filter(|open| {
            let own = &open.row.token.reference_name;
            let base = own.split_once("__").map_or(&**own, |(base, _)| base);
            open.row.token.workflow_id == id
                && (**own == *name || base == name)
                && can_be_told(open)
        });
        let token = found.max_by_key(|open| open.row.seq).map(|open| open.row.token.id);
        let token = token.ok_or_else(|| format!("no task {name:?} waits"))?;
        let open = self.tables.open.get_mut(&token).unwrap();
        if said.status == TaskStatus::InProgress {
            open.row.output = Some(said.output_over(open.row.output.as_ref()));
            open.row.reason = said.reason;
            let at = |ms| chrono::Duration::milliseconds(ms);
            if let (Some(silence), Some(started)) = (open.silence_ms(), open.row.token.started_at) {
                let due = open.timeout_ms.map(|ms| started + at(ms));
                let silent = Some(self.tables.now + at(silence));
                open.due = [due, silent, open.expires].into_iter().flatten().min();
            }
            return Ok(());
        }
        self.step(token, What::Said(said));
        Ok(())
    }

    /// A task that was done stays open.
    pub(super) fn stays(&mut self, token: i64, output: &Value) {
        let open = self.tables.open.get_mut(&token).unwrap();
        open.row.token.state = TokenState::Delayed;
        open.row.remaining = None;
        open.row.output = Some(Value::clone(output));
        open.row.token.queue = open.row.task_type.clone().unwrap().into();
        let started = *open.row.token.started_at.get_or_insert(self.tables.now);
        let due = open.timeout_ms.map(|ms| started + chrono::Duration::milliseconds(ms));
        open.due = [due, open.expires].into_iter().flatten().min();
    }

    /// Steps that tell something: of an event, or of how a task stands.
    pub(super) fn told_by(
        &mut self,
        id: WorkflowId,
        step: &Map<String, Value>,
    ) -> Option<Result<(), String>> {
        let object = |key: &str| step.get(key).cloned().unwrap_or_else(|| json!({}));
        if let Some(event) = step.get("event").and_then(Value::as_str) {
            let text = object("payload").to_string().replace("<workflowId>", &id.to_string());
            let payload = serde_json::from_str(&text).unwrap();
            let key = step.get("key").and_then(Value::as_str);
            let said = key.map(|key| (event.to_owned(), key.to_owned()));
            if said.as_ref().is_none_or(|said| !self.events.keys.contains(said)) {
                self.events.add(event, key.unwrap_or("m"), payload);
                self.events.keys.extend(said);
            }
            return Some(Ok(()));
        }
        let said = |status| Said { status, output: object("output"), reason: None, adds: true };
        if let Some(name) = step.get("update").and_then(Value::as_str) {
            return Some(self.say(id, name, said(TaskStatus::InProgress)));
        }
        if step.contains_key("signal") {
            let Some((run, name)) = self.first_wait(id) else {
                return Some(Err("nobody waits".to_owned()));
            };
            return Some(self.say(run, &name, said(TaskStatus::Completed)));
        }
        None
    }

    fn first_wait(&self, id: WorkflowId) -> Option<(WorkflowId, String)> {
        let mut open: Vec<&Open> =
            self.tables.open.values().filter(|o| o.row.token.workflow_id == id).collect();
        open.sort_by_key(|open| open.row.seq);
        let wait = open.iter().find(|open| open.row.task_type.as_deref() == Some("WAIT"));
        if let Some(wait) = wait {
            return Some((id, wait.row.token.reference_name.to_string()));
        }
        open.iter().find_map(|open| {
            let token = Some(open.row.token.id);
            let child = self.tables.runs.values().find(|run| run.row.parent_token == token)?;
            self.first_wait(child.row.id)
        })
    }
}

fn can_be_told(open: &Open) -> bool {
    let waits = matches!(open.row.task_type.as_deref(), Some("WAIT" | "HUMAN"));
    let told = waits || open.row.output.is_some();
    match open.row.task_type {
        None => open.row.token.state != TokenState::Container,
        Some(_) => open.row.token.state == TokenState::Delayed && told,
    }
}
