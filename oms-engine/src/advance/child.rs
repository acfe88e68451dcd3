//! Runs that tasks start: `SUB_WORKFLOW` waits for its own, `START_WORKFLOW` does not.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::{Map, Value, json};

use super::load::Run;
use super::one::node_of;
use super::start::{Met, NewRun, Resolved, met, resolve};
use super::told::{Told, ended};
use super::{Acted, Core};
use crate::decide::{Event, Kind, SUB_WORKFLOW_DEFINITION, TaskStatus, WorkflowStatus};
use crate::definition::{Faults, IdempotencyStrategy, TaskToDomain, WorkflowDef, validate};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{ChildRow, DefinitionRow, DueToken, Parent, RunRow, Token};

/// What a task asks to be started.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) version: Option<i32>,
    pub(super) definition: Option<Arc<Value>>,
    pub(super) new: NewRun,
}

/// What became of a wish.
pub(super) enum Wished {
    Started {
        id: WorkflowId,
        queue: String,
        version: Option<i32>,
    },
    /// A run that has the idempotency key.
    Existing(WorkflowId),
}

/// How many runs may stand in each other, the topmost counted.
pub(super) const SUB_WORKFLOWS_DEEP_MAX: i32 = 200;

/// How often a start is tried whose key is taken by another at the same time.
const STARTS_MAX: usize = 5;

impl Core {
    /// A `SUB_WORKFLOW` that was claimed: it starts its run, or its run has ended.
    pub(super) async fn sub_workflow(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        locked: &DueToken,
    ) -> Result<Told, Error> {
        let token = &locked.token;
        if locked.remaining.is_some() {
            return self.child_ended(tx, locked).await;
        }
        if let Some(child) = child_named(token.detail.as_ref(), "child")
            && let Some(acted) = self.wait_again(tx, token, child, true).await?
        {
            return Ok(Told::Done(acted));
        }
        let id = token.workflow_id;
        let (above, root) = self.store.load_ancestry(tx, id, SUB_WORKFLOWS_DEEP_MAX).await?;
        if above + 1 >= SUB_WORKFLOWS_DEEP_MAX {
            let status = TaskStatus::FailedWithTerminalError;
            let end = ended(token, status, None, Some(too_deep()));
            return Ok(Told::Event(Event::Ended(end)));
        }
        let parent = Parent { id, token: token.id, root };
        let mut wish = match wish_of_sub_workflow(run, token, parent) {
            Ok(wish) => wish,
            Err(reason) => {
                let end = ended(token, TaskStatus::Failed, None, Some(reason));
                return Ok(Told::Event(Event::Ended(end)));
            }
        };
        // What data gives a dynamic fork was no part of the definition when the run was started.
        if wish.version.is_none() && wish.definition.is_none() && run.state.branch.is_none() {
            wish.version = self.store.pinned_version(tx, &wish.name, id).await?;
        }
        let reason = match self.start_wish(tx, wish).await? {
            Ok(Wished::Started { id: child, queue, version }) => {
                self.store.wait_for_child(tx, token.id, (child, version)).await?;
                let taken = vec![token.id];
                let done = Acted { ready: vec![queue], taken, timed: true, ..Acted::default() };
                return Ok(Told::Done(done));
            }
            Ok(Wished::Existing(child)) => match self.attach_existing(tx, token, child).await? {
                Ok(told) => return Ok(told),
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        let end = ended(token, TaskStatus::Failed, None, Some(reason));
        Ok(Told::Event(Event::Ended(end)))
    }

    /// Waits for a run that has the idempotency key of the task's.
    async fn attach_existing(
        &self,
        tx: &Transaction<'_>,
        token: &Token,
        id: WorkflowId,
    ) -> Result<Result<Told, String>, Error> {
        if let Some(child) = self.store.load_child(tx, id, token.workflow_id).await? {
            if !self.store.other_waits(tx, id, token.id).await?
                && let Some(acted) = self.wait_again(tx, token, child.id, false).await?
            {
                return Ok(Ok(Told::Done(acted)));
            }
        } else if let Some(row) = self.store.load_runs(tx, &[id]).await?.pop()
            && row.status.is_terminal()
        {
            return Ok(Ok(Told::Event(Event::Ended(end_of_child(token, Some(row.into()))))));
        }
        Ok(Err(format!("workflow {id} has the idempotency key, and another task waits for it")))
    }

    /// A `SUB_WORKFLOW` whose run has ended, if that was not brought back since.
    async fn child_ended(&self, tx: &Transaction<'_>, locked: &DueToken) -> Result<Told, Error> {
        let token = &locked.token;
        // The token names the run: its own id changes when it is rescued.
        let child = match child_named(locked.output.as_ref(), "subWorkflowId") {
            Some(id) => self.store.load_child(tx, id, token.workflow_id).await?,
            None => None,
        };
        if let Some(child) = child.as_ref().filter(|child| !child.status.is_terminal())
            && let Some(acted) = self.wait_again(tx, token, child.id, false).await?
        {
            return Ok(Told::Done(acted));
        }
        Ok(Told::Event(Event::Ended(end_of_child(token, child))))
    }

    /// A `START_WORKFLOW` that was claimed.
    pub(super) async fn start_workflow(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        token: &Token,
    ) -> Result<Told, Error> {
        let asked = token.input.as_ref().and_then(|input| input.get("startWorkflow"));
        let started = match wish_of_start(run, token, asked) {
            Ok(wish) => self.start_wish(tx, wish).await?,
            Err(reason) => Err(reason),
        };
        let (id, queue) = match started {
            Ok(Wished::Started { id, queue, .. }) => (id, Some(queue)),
            Ok(Wished::Existing(id)) => (id, None),
            Err(reason) => {
                let end = ended(token, TaskStatus::Failed, None, Some(reason));
                return Ok(Told::Event(Event::Ended(end)));
            }
        };
        let output = json!({ "workflowId": id.to_string() });
        let end = Event::Ended(ended(token, TaskStatus::Completed, Some(output), None));
        Ok(match queue {
            Some(queue) => Told::Began(end, queue),
            None => Told::Event(end),
        })
    }

    /// Starts a run; what the wish is wrong about is the inner error.
    pub(super) async fn start_wish(
        &self,
        tx: &Transaction<'_>,
        wish: Wish,
    ) -> Result<Result<Wished, String>, Error> {
        let version_of = wish.definition.is_none();
        let strategy = wish.new.idempotency_strategy.unwrap_or(IdempotencyStrategy::ReturnExisting);
        let resolved = match &wish.definition {
            Some(text) => match self.inline(tx, text).await? {
                Ok(resolved) => resolved,
                Err(reason) => return Ok(Err(reason)),
            },
            None => match resolve(self, tx, &wish.name, wish.version).await {
                Ok(resolved) => Resolved { latest: None, ..resolved },
                Err(error @ Error::DefinitionNotFound { .. }) => return Ok(Err(error.to_string())),
                Err(error) => return Err(error),
            },
        };
        let begun = match resolved.begin(wish.new) {
            Ok(begun) => begun,
            Err(error @ Error::InvalidInput { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        let version = version_of.then_some(resolved.plan.def.version);
        let row = begun.row;
        for _ in 0..STARTS_MAX {
            let done = self.store.start_workflows(tx, &[&row], None).await?;
            if !done.started.is_empty() {
                crate::telemetry::started(&row.name);
                let (id, queue) = (row.id, row.first.queue.to_string());
                return Ok(Ok(Wished::Started { id, queue, version }));
            }
            let found = self.store.find_started(tx, &[&row]).await?;
            let Some(found) = found.first() else { break };
            match met(Some(strategy), (&row.name, row.idempotency_key.as_deref()), found) {
                Met::Existing => return Ok(Ok(Wished::Existing(found.found))),
                Met::Refused(error) => return Ok(Err(error.to_string())),
                Met::Release => self.store.release_key(tx, found.found).await?,
            }
        }
        Ok(Err(format!("workflow {:?} could not be started", wish.name)))
    }

    /// The plan of a definition that is no registered one.
    pub(super) async fn inline(
        &self,
        tx: &Transaction<'_>,
        text: &Value,
    ) -> Result<Result<Resolved, String>, Error> {
        match WorkflowDef::from_value(text) {
            Ok(def) => {
                let resolved = self.inline_of(tx, Box::new(def)).await?;
                Ok(resolved.map_err(|faults| faults.to_string()))
            }
            Err(faults) => Ok(Err(format!("the workflow definition cannot be read: {faults}"))),
        }
    }

    /// As [`inline`](Self::inline), of what was read.
    pub(crate) async fn inline_of(
        &self,
        tx: &Transaction<'_>,
        mut def: Box<WorkflowDef>,
    ) -> Result<Result<Resolved, Faults>, Error> {
        let mut all = std::collections::BTreeMap::new();
        for (name, value) in self.store.list_task_definitions(tx).await? {
            if let Ok(def) = serde_json::from_value(value) {
                all.insert(name, def);
            }
        }
        let missing = self.write_schemas(tx, &mut *def).await?;
        let checked = Faults::check(def.subject(), missing);
        if let Err(faults) = checked.and_then(|()| validate(&def, &all).map(drop)) {
            return Ok(Err(faults));
        }
        let task_definitions = def.named_of(&all);
        let id = self.store.add_inline_definition(tx, &def, &task_definitions).await?;
        let plan = match self.plans.get(id) {
            Some(plan) => plan,
            None => {
                let row = DefinitionRow { id, definition: Arc::from(def), task_definitions };
                self.plans.compile(row)?
            }
        };
        Ok(Ok(Resolved { plan, latest: None, polls: self.plans.polls.clone() }))
    }
}

/// The domains that a task asks for its run: given ones, else those of its own run.
pub(super) fn domains_of(
    run: &Run,
    given: Option<&Value>,
) -> Result<Option<Arc<TaskToDomain>>, String> {
    let own = || run.domains.as_ref().map(|domains| domains.map.clone());
    match TaskToDomain::read(given.unwrap_or(&Value::Null)) {
        Ok(Some(given)) => Ok(Some(Arc::new(given))),
        Ok(None) if given.is_some_and(Value::is_object) => Ok(None),
        Ok(None) => Ok(own()),
        Err((key, reason)) => Err(format!("taskToDomain {key:?}: {reason}")),
    }
}

/// The definition that a `SUB_WORKFLOW` brings, as its step has it written out or as data gives it.
pub(super) fn definition_of(run: &Run, token: &Token) -> Option<Arc<Value>> {
    if let Some(node) = node_of(run, token)
        && let Kind::SubWorkflow { definition: Some(definition), .. } = &node.kind
    {
        return Some(definition.clone());
    }
    let given = token.input.as_ref()?.get(SUB_WORKFLOW_DEFINITION)?;
    Some(given).filter(|given| !given.is_null()).cloned().map(Arc::new)
}

fn wish_of_sub_workflow(run: &Run, token: &Token, parent: Parent) -> Result<Wish, String> {
    let input = token.input.as_ref();
    let get = |key: &str| input.and_then(|input| input.get(key)).filter(|value| !value.is_null());
    let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    let given = object(get("workflowInput")).filter(|input| !input.is_empty());
    let priority = get("priority").and_then(Value::as_i64).and_then(|n| i16::try_from(n).ok());
    Ok(Wish {
        name: get("subWorkflowName").and_then(Value::as_str).unwrap_or_default().to_owned(),
        version: get("subWorkflowVersion").and_then(number),
        definition: definition_of(run, token),
        new: NewRun {
            input: given.unwrap_or_else(|| object(input).unwrap_or_default()),
            correlation_id: run.state.correlation_id.as_deref().map(str::to_owned),
            idempotency_key: get("idempotencyKey").and_then(key_of),
            idempotency_strategy: get("idempotencyStrategy").and_then(strategy_of),
            priority: priority.filter(|n| (0..=99).contains(n)).unwrap_or(token.priority),
            parent: Some(parent),
            task_to_domain: domains_of(run, get("subWorkflowTaskToDomain"))?,
            trace: run.lineage.kept_for(run.state.id, true),
            ..NewRun::default()
        },
    })
}

fn wish_of_start(run: &Run, token: &Token, asked: Option<&Value>) -> Result<Wish, String> {
    let Some(asked) = asked.filter(|asked| asked.is_object()) else {
        return Err("Missing 'startWorkflow' in input data".to_owned());
    };
    let get = |key: &str| asked.get(key).filter(|value| !value.is_null());
    let text = |key: &str| get(key).and_then(Value::as_str).map(str::to_owned);
    let definition = get("workflowDef").cloned().map(Arc::new);
    let name = text("name").unwrap_or_default();
    if name.is_empty() && definition.is_none() {
        return Err("startWorkflow needs a name".to_owned());
    }
    let priority = get("priority").and_then(Value::as_i64).and_then(|n| i16::try_from(n).ok());
    // One that is empty is none, as in Conductor.
    let domains = get("taskToDomain").filter(|map| map.as_object().is_some_and(|m| !m.is_empty()));
    let own = || run.state.correlation_id.as_deref().map(str::to_owned);
    Ok(Wish {
        name,
        version: get("version").and_then(number),
        definition,
        new: NewRun {
            input: get("input").and_then(Value::as_object).cloned().unwrap_or_default(),
            correlation_id: text("correlationId").or_else(own),
            idempotency_key: get("idempotencyKey").and_then(key_of),
            idempotency_strategy: get("idempotencyStrategy").and_then(strategy_of),
            task_to_domain: domains_of(run, domains)?,
            trace: run.lineage.kept_for(run.state.id, false),
            priority: priority.filter(|n| (0..=99).contains(n)).unwrap_or(token.priority),
            ..NewRun::default()
        },
    })
}

/// A key as text; what is blank is none.
pub(super) fn key_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(text).filter(|text| !text.trim().is_empty())
}

pub(super) fn strategy_of(value: &Value) -> Option<IdempotencyStrategy> {
    serde_json::from_value(value.clone()).ok()
}

pub(super) fn too_deep() -> String {
    format!("sub-workflows would be nested more than {SUB_WORKFLOWS_DEEP_MAX} deep")
}

impl From<RunRow> for ChildRow {
    fn from(row: RunRow) -> Self {
        let RunRow { id, name, version, status, output, reason, .. } = row;
        Self { id, name, version, status, output, reason }
    }
}

fn child_named(of: Option<&Value>, key: &str) -> Option<WorkflowId> {
    of?.get(key)?.as_str()?.parse().ok()
}

fn number(value: &Value) -> Option<i32> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    i32::try_from(number).ok()
}

/// How the task of a run that has ended ends.
pub(super) fn end_of_child(token: &Token, child: Option<ChildRow>) -> crate::decide::TaskEnd {
    let Some(child) = child else {
        let reason = "its sub-workflow is gone".to_owned();
        return ended(token, TaskStatus::Failed, None, Some(reason));
    };
    let status = match child.status {
        WorkflowStatus::Completed => TaskStatus::Completed,
        WorkflowStatus::Terminated => TaskStatus::Canceled,
        WorkflowStatus::TimedOut => TaskStatus::TimedOut,
        _ => TaskStatus::Failed,
    };
    let mut output = match child.output {
        Some(Value::Object(output)) => output,
        _ => Map::new(),
    };
    output.insert("subWorkflowId".to_owned(), json!(child.id.to_string()));
    let failed = status != TaskStatus::Completed;
    let reason = failed.then(|| {
        format!(
            "Sub workflow {}.{}/{} failure reason: {}",
            child.name,
            child.version,
            child.id,
            child.reason.unwrap_or_default()
        )
    });
    ended(token, status, Some(Value::Object(output)), reason)
}
