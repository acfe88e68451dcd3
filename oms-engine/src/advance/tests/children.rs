//! Runs that tasks start.

use serde_json::{Map, Value, json};

use super::rows::Open;
use super::world::World;
use crate::advance::child::{
    SUB_WORKFLOWS_DEEP_MAX, definition_of, domains_of, key_of, strategy_of, too_deep,
};
use crate::advance::family::Control;
use crate::advance::load::Run;
use crate::advance::told::ended;
use crate::advance::{Met, met};
use crate::decide::{Event, TaskEnd, TaskStatus, WorkflowStatus};
use crate::definition::IdempotencyStrategy;
use crate::ids::WorkflowId;
use crate::store::{FoundRow, Token, TokenState};

enum Keyed {
    Free,
    Existing(WorkflowId),
    Refused(String),
}

impl World {
    pub(super) fn sub_workflow(&mut self, run: &Run, open: &Open) -> Option<Event> {
        let token = &open.row.token;
        if open.row.remaining.is_some() {
            let child = open.row.output.as_ref()?.get("subWorkflowId")?.as_str()?.parse().ok()?;
            let child = &self.tables.runs[&child].row;
            if !child.status.is_terminal() {
                self.wait_again(open, child.id, false);
                return None;
            }
            let child = child.clone().into();
            return Some(Event::Ended(crate::advance::child::end_of_child(token, Some(child))));
        }
        if let Some(child) = token.detail.as_ref().and_then(|detail| detail.get("child")?.as_str())
        {
            self.wait_again(open, child.parse().unwrap(), true);
            return None;
        }
        let get = |key: &str| token.input.as_ref()?.get(key).filter(|value| !value.is_null());
        let name = get("subWorkflowName").and_then(Value::as_str).unwrap_or_default();
        let version = get("subWorkflowVersion").and_then(Value::as_i64);
        let definition = definition_of(run, token);
        let inline = definition.is_some();
        let plan = match definition {
            Some(text) => self.compile(&text).ok(),
            None => self.find(name, version.and_then(|version| i32::try_from(version).ok())),
        };
        let Some(plan) = plan else {
            let reason = format!("workflow {name:?} is not registered");
            return Some(Event::Ended(ended(token, TaskStatus::Failed, None, Some(reason))));
        };
        let failed = |reason| ended(token, TaskStatus::Failed, None, Some(reason));
        let domains = match domains_of(run, get("subWorkflowTaskToDomain")) {
            Ok(domains) => domains,
            Err(reason) => return Some(Event::Ended(failed(reason))),
        };
        if self.above(token.workflow_id) + 1 >= SUB_WORKFLOWS_DEEP_MAX {
            let status = TaskStatus::FailedWithTerminalError;
            return Some(Event::Ended(ended(token, status, None, Some(too_deep()))));
        }
        let key = get("idempotencyKey").and_then(key_of);
        let strategy = get("idempotencyStrategy").and_then(strategy_of);
        match self.keyed(&plan.name, key.as_deref(), strategy) {
            Keyed::Free => {}
            Keyed::Existing(child) => {
                let own = self.tables.runs[&child].row.parent_id == Some(token.workflow_id);
                assert!(own, "a case with a key of another run's");
                self.wait_again(open, child, false);
                return None;
            }
            Keyed::Refused(reason) => {
                return Some(Event::Ended(failed(reason)));
            }
        }
        let given = get("workflowInput").and_then(Value::as_object).cloned().unwrap_or_default();
        let all = token.input.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let input = if given.is_empty() { all } else { given };
        let input = Value::Object(plan.def.with_input_template(input));
        if let Err(error) = crate::advance::start::hold_to_schema(&plan, &input) {
            return Some(refused(token, error.to_string()));
        }
        let correlation_id = run.state.correlation_id.as_deref().map(str::to_owned);
        let parent = Some((token.workflow_id, token.id));
        let child = self.tables.add_run(&plan, input, correlation_id, parent);
        self.tables.runs.get_mut(&child).unwrap().row.idempotency_key = key;
        self.tables.runs.get_mut(&child).unwrap().row.task_to_domain = domains;
        self.wait_for(token.id, child);
        let started = self.tables.open.get_mut(&token.id).unwrap();
        if let Some(input) = started.row.token.input.as_mut().filter(|_| !inline) {
            input["subWorkflowVersion"] = json!(plan.def.version);
        }
        None
    }

    fn above(&self, id: WorkflowId) -> i32 {
        self.tables.runs[&id].row.parent_id.map_or(0, |parent| 1 + self.above(parent))
    }

    /// Whether another run has a key.
    fn keyed(
        &mut self,
        name: &str,
        key: Option<&str>,
        strategy: Option<IdempotencyStrategy>,
    ) -> Keyed {
        let of_key = |run: &&mut super::rows::Record| {
            key.is_some() && run.row.name == name && run.row.idempotency_key.as_deref() == key
        };
        let Some(found) = self.tables.runs.values_mut().find(of_key) else { return Keyed::Free };
        let row = FoundRow {
            asked: WorkflowId::new(),
            found: found.row.id,
            same_input: true,
            running: !found.row.status.is_terminal(),
        };
        match met(strategy.or(Some(IdempotencyStrategy::ReturnExisting)), (name, key), &row) {
            Met::Existing => Keyed::Existing(row.found),
            Met::Refused(error) => Keyed::Refused(error.to_string()),
            Met::Release => {
                found.row.idempotency_key = None;
                Keyed::Free
            }
        }
    }

    fn wait_again(&mut self, open: &Open, child: WorkflowId, retry: bool) {
        let token = open.row.token.id;
        self.tables.open_decide(child, Control::Resume { token, retry }.told());
        self.wait_for(token, child);
    }

    fn wait_for(&mut self, token: i64, child: WorkflowId) {
        let open = self.tables.open.get_mut(&token).unwrap();
        open.row.token.state = TokenState::Container;
        open.row.remaining = Some(1);
        open.row.output = Some(json!({ "subWorkflowId": child.to_string() }));
    }

    pub(super) fn start_workflow(&mut self, run: &Run, open: &Open) -> TaskEnd {
        let token = &open.row.token;
        let asked = token.input.as_ref().and_then(|input| input.get("startWorkflow"));
        let name = asked.and_then(|asked| asked.get("name")?.as_str());
        let version = asked.and_then(|asked| asked.get("version")?.as_i64());
        let version = version.and_then(|version| i32::try_from(version).ok());
        let Some(plan) = name.and_then(|name| self.find(name, version)) else {
            let reason = "it cannot be started".to_owned();
            return ended(token, TaskStatus::Failed, None, Some(reason));
        };
        let input = asked.and_then(|asked| asked.get("input")?.as_object()).cloned();
        let input = Value::Object(plan.def.with_input_template(input.unwrap_or_else(Map::new)));
        let own = asked.and_then(|asked| asked.get("correlationId")?.as_str());
        let own = own.or(run.state.correlation_id.as_deref()).map(str::to_owned);
        let id = self.tables.add_run(&plan, input, own, None);
        let domains = asked.and_then(|asked| asked.get("taskToDomain"));
        let domains = domains.filter(|map| map.as_object().is_some_and(|map| !map.is_empty()));
        let domains = domains_of(run, domains).unwrap();
        self.tables.runs.get_mut(&id).unwrap().row.task_to_domain = domains;
        let output = json!({ "workflowId": id.to_string() });
        ended(token, TaskStatus::Completed, Some(output), None)
    }

    /// The failure workflow of a run that one of its steps has ended, without its history.
    pub(super) fn start_failure_workflow(&mut self, run: &Run, status: WorkflowStatus) {
        let name = run.plan.def.failure_workflow.as_deref().unwrap_or_default();
        if status == WorkflowStatus::Completed || name.is_empty() {
            return;
        }
        let Some(plan) = self.find(name, run.plan.def.failure_workflow_version) else { return };
        let mut input = Value::clone(&run.state.input);
        if let Some(input) = input.as_object_mut() {
            input.insert("workflowId".to_owned(), json!(run.state.id.to_string()));
            input.insert("failureStatus".to_owned(), json!(status.as_str()));
        }
        let correlation_id = run.state.correlation_id.as_deref().map(str::to_owned);
        self.tables.add_run(&plan, input, correlation_id, None);
    }
}

/// The end of a task whose run does not start.
fn refused(token: &Token, reason: String) -> Event {
    Event::Ended(ended(token, TaskStatus::Failed, None, Some(reason)))
}
