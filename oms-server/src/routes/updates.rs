//! What workers report of tasks.

use std::time::Duration;

use axum::extract::State;
use oms_engine::schemars::JsonSchema;
use oms_engine::{TaskId, TaskUpdate};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::tasks::{NO_NAME, first};
use super::{Answer, Route, nothing, route, text};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::{Asked, Given, task_id};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/tasks" update),
        route!(POST "/api/tasks/update-v2" update_and_poll),
        route!(POST "/api/tasks/{id}/{reference}/{status}" update_named),
        route!(POST "/api/tasks/{id}/{reference}/{status}/sync" update_named_and_get),
    ]
}

/// Conductor's `TaskResult`. A null is as good as nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TaskResult {
    workflow_instance_id: Option<String>,
    task_id: Option<String>,
    status: Option<String>,
    reason_for_incompletion: Option<String>,
    callback_after_seconds: Option<i64>,
    worker_id: Option<String>,
    output_data: Option<Map<String, Value>>,
    logs: Option<Vec<LogLine>>,
    external_output_payload_storage_path: Option<String>,
    sub_workflow_id: Option<String>,
    extend_lease: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(default)]
struct LogLine {
    log: Option<String>,
}

fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A result that was read.
struct Read {
    task: TaskId,
    worker: Option<String>,
    /// None: the worker only says that it is still at it.
    update: Option<TaskUpdate>,
}

impl TaskResult {
    fn read(self) -> Result<Read, Refusal> {
        let missing = |path: &str| Refusal::argument(path, "is missing");
        let task = task_id(&some(self.task_id).ok_or_else(|| missing("taskId"))?)?;
        let run = some(self.workflow_instance_id).ok_or_else(|| missing("workflowInstanceId"))?;
        if task.workflow_id.to_string() != run.to_ascii_lowercase() {
            let why = format!("task {task} is not one of workflow {run}");
            return Err(Refusal::argument("workflowInstanceId", why));
        }
        for (path, text) in [
            ("externalOutputPayloadStoragePath", self.external_output_payload_storage_path),
            ("subWorkflowId", self.sub_workflow_id),
        ] {
            if some(text).is_some() {
                return Err(Refusal::argument(path, "is not supported by this server"));
            }
        }
        let worker = some(self.worker_id);
        if self.extend_lease.unwrap_or(false) {
            return Ok(Read { task, worker, update: None });
        }
        let status = some(self.status).unwrap_or_else(|| "IN_PROGRESS".to_owned());
        let after = self.callback_after_seconds.unwrap_or(0);
        let after = Duration::from_secs(u64::try_from(after).unwrap_or(0));
        let mut update = update_of(&status, after, some(self.reason_for_incompletion))?
            .output(Value::Object(self.output_data.unwrap_or_default()))
            .log(self.logs.into_iter().flatten().filter_map(|line| line.log));
        if let Some(worker) = &worker {
            update = update.worker(worker);
        }
        Ok(Read { task, worker, update: Some(update) })
    }
}

pub(super) fn update_of(
    status: &str,
    callback_after: Duration,
    reason: Option<String>,
) -> Result<TaskUpdate, Refusal> {
    let update = match status {
        "COMPLETED" => TaskUpdate::completed(Value::Null),
        "FAILED" => return Ok(TaskUpdate::failed(reason.unwrap_or_default())),
        "FAILED_WITH_TERMINAL_ERROR" => {
            return Ok(TaskUpdate::failed_terminally(reason.unwrap_or_default()));
        }
        "CANCELED" => return Ok(TaskUpdate::canceled(reason.unwrap_or_default())),
        "IN_PROGRESS" => TaskUpdate::in_progress(callback_after),
        other => {
            let why = format!(
                "{other:?} is none of COMPLETED, FAILED, FAILED_WITH_TERMINAL_ERROR, CANCELED, IN_PROGRESS"
            );
            return Err(Refusal::argument("status", why));
        }
    };
    Ok(match reason {
        Some(reason) => update.reason(reason),
        None => update,
    })
}

async fn update(State(app): State<App>, given: Given) -> Answer {
    let read = given.json::<TaskResult>()?.read()?;
    match read.update {
        Some(update) => app.engine.update_task(&read.task, update).await?,
        None => app.engine.extend_lease(&read.task).await?,
    };
    Ok(text(read.task.to_string()))
}

/// As [`update`]; the answer is the next task of the same queue.
async fn update_and_poll(State(app): State<App>, given: Given) -> Answer {
    let read = given.json::<TaskResult>()?.read()?;
    let Some(update) = read.update else {
        app.engine.extend_lease(&read.task).await?;
        return Ok(nothing());
    };
    let worker = read.worker.as_deref().unwrap_or(NO_NAME);
    first(app.engine.update_and_poll(&read.task, update, worker).await?)
}

/// Out: the task, where one of this name was open.
async fn named(app: &App, asked: &Asked, given: &Given) -> Result<Option<TaskId>, Refusal> {
    let output = Value::Object(given.object()?);
    let mut update = update_of(asked.name(2), Duration::ZERO, None)?.output(output);
    if let Some(worker) = asked.text("workerid") {
        update = update.worker(worker);
    }
    let id = asked.workflow()?;
    Ok(app.engine.update_named_task(id, asked.name(1), update).await?)
}

async fn update_named(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    let task = named(&app, &asked, &given).await?;
    Ok(text(task.map(|task| task.to_string()).unwrap_or_default()))
}

async fn update_named_and_get(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    if named(&app, &asked, &given).await?.is_none() {
        let (id, name) = (asked.name(0), asked.name(1));
        let text = format!("workflow {id} has no open task {name:?}");
        return Err(Refusal::not_found(text));
    }
    let run = app.engine.get(asked.workflow()?).await?;
    super::json(&crate::shown::workflow_json(run, true)?)
}
