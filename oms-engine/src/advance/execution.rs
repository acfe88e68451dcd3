//! A run with its tasks, for users: the names are those of Conductor's `Workflow` and `Task` JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::route::domain_in;
use super::shown::shown;
use crate::decide::{Plan, RunState, TaskStatus, WorkflowStatus, input_of};
use crate::definition::{TaskToDomain, WorkflowDef};
use crate::ids::{TaskId, WorkflowId};
use crate::store::{HistoryRow, NotCompensated, OpenTaskRow, RunRow, TokenState};
use crate::telemetry::TraceContext;

/// A run. Times are in epoch milliseconds in JSON, 0 or absent for not set.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Execution {
    /// Its id.
    pub workflow_id: WorkflowId,
    /// The definition's name.
    pub workflow_name: String,
    /// The definition's version.
    pub workflow_version: i32,
    /// Where it stands.
    pub status: WorkflowStatus,
    /// What it was started with, after the definition's input template.
    pub input: Value,
    /// What it ended with.
    pub output: Value,
    /// The run's variables.
    pub variables: Value,
    /// Why it did not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_for_incompletion: Option<String>,
    /// The user's name for what it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The key that it was started under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Domains for its tasks, by task type or `*`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub task_to_domain: BTreeMap<String, String>,
    /// 0 to 99; more urgent first.
    pub priority: i16,
    /// How often it was restarted.
    pub epoch: i16,
    /// The run that started it as a sub-workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_workflow_id: Option<WorkflowId>,
    /// The workflow that was started because this one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_workflow_id: Option<WorkflowId>,
    /// The task it failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_task_id: Option<String>,
    /// How the run ends once what it did is undone; set while that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensating: Option<WorkflowStatus>,
    /// What may still stand of a run that was undone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compensated: Vec<NotCompensated>,
    /// Reference names of tasks of which an attempt failed.
    pub failed_reference_task_names: Vec<String>,
    /// When it was started, or restarted.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub create_time: DateTime<Utc>,
    /// When it ended.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub end_time: Option<DateTime<Utc>>,
    /// When it was last retried or resumed.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_retried_time: Option<DateTime<Utc>>,
    /// The definition that it goes by. It is not in its JSON.
    #[serde(skip)]
    pub definition: Arc<WorkflowDef>,
    /// Where its tasks stand in their trace: its id, and the run's own span. It is not in its JSON.
    #[serde(skip)]
    pub trace: TraceContext,
    /// Every attempt, ended and open, in the order in which they were scheduled.
    pub tasks: Vec<TaskExecution>,
}

/// One attempt of one step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TaskExecution {
    /// Its id; see [`TaskId`].
    pub task_id: String,
    /// The step's reference name.
    pub reference_task_name: String,
    /// The queue that it was handed out from.
    pub task_type: String,
    /// The task definition's name.
    pub task_def_name: String,
    /// The domain whose workers it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Where it stands.
    pub status: TaskStatus,
    /// From 0.
    pub retry_count: i16,
    /// Rank within the run, from 1.
    pub seq: usize,
    /// How often it was handed out.
    pub poll_count: i32,
    /// What the worker got.
    pub input_data: Value,
    /// What the worker gave.
    pub output_data: Value,
    /// Why it did not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_for_incompletion: Option<String>,
    /// Who ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// The run.
    pub workflow_instance_id: WorkflowId,
    /// When it was put into its queue.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub scheduled_time: DateTime<Utc>,
    /// When it was first handed out.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub start_time: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub end_time: Option<DateTime<Utc>>,
    /// Whether another attempt followed.
    pub retried: bool,
}

impl Execution {
    /// The last attempt of a step.
    #[must_use]
    pub fn task(&self, reference_name: &str) -> Option<&TaskExecution> {
        self.tasks.iter().rev().find(|task| task.reference_task_name == reference_name)
    }

    /// Puts a run together from its rows. `state` gives the inputs of open tasks whose token has
    /// none.
    pub(crate) fn assemble(
        run: RunRow,
        plan: &Plan,
        state: &RunState,
        history: Vec<HistoryRow>,
        open: Vec<OpenTaskRow>,
    ) -> Self {
        let map = run.task_to_domain.as_deref();
        let ended = history.into_iter().map(|row| (row.seq, ended_task(row, plan, map)));
        let open = open.into_iter().filter(|row| !row.token.reference_name.is_empty());
        let mut tasks: Vec<(i64, TaskExecution)> =
            ended.chain(open.map(|row| (row.seq, open_task(row, (plan, state), map)))).collect();
        tasks.sort_by_key(|(seq, _)| *seq);
        let tasks = shown(tasks, plan, run.has_cuts);
        let mut tasks: Vec<TaskExecution> = tasks.into_iter().map(|(_, task)| task).collect();
        let mut last = std::collections::HashMap::new();
        for (rank, task) in tasks.iter_mut().enumerate() {
            task.seq = rank + 1;
            last.insert(task.reference_task_name.clone(), task.seq);
        }
        let mut failed: Vec<String> = Vec::new();
        for task in &mut tasks {
            task.retried = last.get(&task.reference_task_name) != Some(&task.seq);
            let counts =
                matches!(task.status, TaskStatus::Failed | TaskStatus::FailedWithTerminalError);
            if counts && !failed.contains(&task.reference_task_name) {
                failed.push(task.reference_task_name.clone());
            }
        }
        Self {
            workflow_id: run.id,
            workflow_name: run.name,
            workflow_version: run.version,
            status: run.status,
            input: Arc::unwrap_or_clone(run.input),
            output: run.output.unwrap_or_else(empty),
            variables: Arc::unwrap_or_clone(run.variables),
            reason_for_incompletion: run.reason,
            correlation_id: run.correlation_id,
            idempotency_key: run.idempotency_key,
            task_to_domain: map.map(|map| map.as_map().clone()).unwrap_or_default(),
            priority: run.priority,
            epoch: run.epoch,
            parent_workflow_id: run.parent_id,
            failure_workflow_id: run.failure_workflow_id,
            failed_task_id: run.failed_task,
            compensating: run.undo.as_ref().and_then(|undo| undo.end),
            not_compensated: run.undo.map(|undo| undo.left).unwrap_or_default(),
            failed_reference_task_names: failed,
            create_time: run.created_at,
            end_time: run.ended_at,
            last_retried_time: run.last_retried_at,
            definition: plan.def.clone(),
            trace: run.lineage.context_of(run.id),
            tasks,
        }
    }
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The domain, the type and the task definition of what is shown as a task's type.
fn names_of(
    plan: &Plan,
    reference_name: &str,
    shown: &str,
    map: Option<&TaskToDomain>,
) -> (Option<String>, String, String) {
    let node = plan.node(reference_name);
    let (domain, kind) = domain_in(shown, node.map(|node| &**node), map);
    let def = node.map_or(kind, |node| &*node.task_name);
    (domain.map(str::to_owned), kind.to_owned(), def.to_owned())
}

fn shown_input(plan: &Plan, name: &str, input: Value) -> Value {
    match plan.node(name) {
        Some(node) => node.shown(input),
        None => input,
    }
}

fn ended_task(row: HistoryRow, plan: &Plan, map: Option<&TaskToDomain>) -> TaskExecution {
    let task_id = TaskId {
        workflow_id: row.workflow_id,
        epoch: row.epoch,
        attempt: row.attempt,
        reference_name: row.reference_name,
    };
    let (domain, task_type, task_def_name) =
        names_of(plan, &task_id.reference_name, &row.queue, map);
    let name = task_id.reference_name.clone();
    TaskExecution {
        task_def_name,
        domain,
        task_id: task_id.to_string(),
        reference_task_name: name,
        task_type,
        status: row.status,
        retry_count: row.attempt,
        seq: 0,
        poll_count: row.poll_count,
        input_data: row
            .input
            .map_or_else(empty, |input| shown_input(plan, &task_id.reference_name, input)),
        output_data: row.output.unwrap_or_else(empty),
        reason_for_incompletion: row.reason,
        worker_id: row.worker,
        workflow_instance_id: row.workflow_id,
        scheduled_time: row.scheduled_at,
        start_time: row.started_at,
        end_time: Some(row.ended_at),
        retried: false,
    }
}

fn open_task(
    row: OpenTaskRow,
    (plan, state): (&Plan, &RunState),
    map: Option<&TaskToDomain>,
) -> TaskExecution {
    let token = row.token;
    let input = token.input.or_else(|| {
        let name = &token.reference_name;
        plan.node(name).map(|node| input_of(plan, state, node, name, token.attempt).into_value())
    });
    let task_id = TaskId {
        workflow_id: token.workflow_id,
        epoch: token.epoch,
        attempt: token.attempt,
        reference_name: token.reference_name.to_string(),
    };
    let going_on = token.detail.as_ref().and_then(|detail| detail.get("child"));
    let going_on = going_on.map(|child| serde_json::json!({ "subWorkflowId": child }));
    let leased = token.state == TokenState::Leased;
    // What waits for other tasks, a time or a person is at it already.
    let in_progress = match row.task_type.as_deref() {
        Some("WAIT" | "HUMAN" | "JOIN" | "DO_WHILE") => true,
        // A worker's task that waits to be ended from outside.
        Some(kind) if kind == &*token.queue => true,
        Some("EVENT") => row.output.is_some(),
        Some(_) => row.remaining.is_some(),
        None => false,
    };
    let shown = row.task_type.as_deref().unwrap_or(&token.queue);
    let (domain, task_type, task_def_name) = names_of(plan, &task_id.reference_name, shown, map);
    let name = task_id.reference_name.clone();
    TaskExecution {
        task_def_name,
        domain,
        task_id: task_id.to_string(),
        reference_task_name: name,
        status: if leased || in_progress { TaskStatus::InProgress } else { TaskStatus::Scheduled },
        task_type,
        retry_count: token.attempt,
        seq: 0,
        poll_count: token.poll_count,
        input_data: input
            .map_or_else(empty, |input| shown_input(plan, &task_id.reference_name, input)),
        output_data: row.output.or(going_on).unwrap_or_else(empty),
        reason_for_incompletion: row.reason,
        worker_id: row.worker,
        workflow_instance_id: token.workflow_id,
        scheduled_time: row.scheduled_at,
        start_time: token.started_at,
        end_time: None,
        retried: false,
    }
}
