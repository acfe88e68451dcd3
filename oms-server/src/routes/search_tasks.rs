//! Searching tasks.

use std::collections::BTreeMap;

use axum::extract::State;
use oms_engine::definition::java_text;
use oms_engine::{
    Error, Execution, Found, TaskExecution, TaskId, TaskSearch, TaskSort, TaskStatus, WorkflowId,
};
use serde_json::{Value, json};

use super::search::{SUMMARIES_MAX, WHOLE_MAX, page, time_text, took};
use super::{Answer, Route, route};
use crate::app::App;
use crate::query::{Paging, clauses, unknown, unsorted};
use crate::refusal::Refusal;
use crate::request::Asked;
use crate::shown::task_json;

const FIELDS: [&str; 12] = [
    "taskId",
    "taskType",
    "taskDefName",
    "status",
    "workflowId",
    "workflowType",
    "correlationId",
    "parentWorkflowId",
    "scheduledTime",
    "startTime",
    "endTime",
    "updateTime",
];
const SORTS: [&str; 5] = ["scheduledTime", "startTime", "endTime", "updateTime", "taskType"];
/// A longer input or output is left out of summaries.
const TEXT_MAX_BYTES: usize = 32 * 1024;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/api/tasks/search" summaries), route!(GET "/api/tasks/search-v2" whole)]
}

fn search(app: &App, asked: &Asked, size_max: usize) -> Result<TaskSearch, Refusal> {
    let paging = Paging::read(asked, size_max)?;
    let mut search = TaskSearch::default();
    for clause in clauses(asked.text("query").unwrap_or_default())? {
        match clause.field.as_str() {
            "taskId" => {
                // What is no id is that of none.
                let ids = clause.texts()?.iter().filter_map(|id| id.parse().ok()).collect();
                clause.once(&mut search.task_ids, ids)?;
            }
            // A worker's task is of the type of its definition's name.
            "taskType" | "taskDefName" => clause.once(&mut search.task_type, clause.text()?)?,
            "status" => {
                let there: Vec<&str> = TaskStatus::ALL.iter().map(|s| s.as_str()).collect();
                clause.once(&mut search.statuses, clause.known(&there)?)?;
            }
            "workflowId" => clause.once(&mut search.workflow_ids, clause.ids()?)?,
            "workflowType" => clause.once(&mut search.workflow_names, clause.texts()?)?,
            "correlationId" => clause.once(&mut search.correlation_ids, clause.texts()?)?,
            "parentWorkflowId" => clause.once(&mut search.parent_ids, clause.ids()?)?,
            "scheduledTime" => clause.narrow(&mut search.scheduled)?,
            "startTime" => clause.narrow(&mut search.started)?,
            "endTime" => clause.narrow(&mut search.ended)?,
            "updateTime" => clause.narrow(&mut search.updated)?,
            other => return Err(unknown(other, &FIELDS)),
        }
    }
    if let Some((field, order)) = paging.sort {
        search.order = order;
        search.sort = match field.as_str() {
            "scheduledTime" => TaskSort::ScheduledTime,
            "startTime" => TaskSort::StartTime,
            "endTime" => TaskSort::EndTime,
            "updateTime" => TaskSort::UpdateTime,
            "taskType" => TaskSort::TaskType,
            other => return Err(unsorted(other, &SORTS)),
        };
    }
    search.words = paging.words;
    search.unsearched_fields = app.masked.iter().cloned().collect();
    (search.start, search.size) = (paging.start, paging.size);
    Ok(search)
}

/// The tasks that a request searches for.
pub(super) async fn found_tasks(
    app: &App,
    asked: &Asked,
    size_max: usize,
) -> Result<Found<TaskId>, Refusal> {
    Ok(app.engine.search_tasks(&search(app, asked, size_max)?).await?)
}

/// Tasks in this order, each as `show` has it; what was removed since is left out. Each run is
/// read once, and let go before the next.
pub(super) async fn shown(
    app: &App,
    tasks: &[TaskId],
    show: impl Fn(&Execution, &TaskExecution) -> Value,
) -> Result<Vec<Value>, Refusal> {
    let mut of_run: BTreeMap<WorkflowId, Vec<(usize, String)>> = BTreeMap::new();
    for (place, task) in tasks.iter().enumerate() {
        of_run.entry(task.workflow_id).or_default().push((place, task.to_string()));
    }
    let mut shown: BTreeMap<usize, Value> = BTreeMap::new();
    for (id, wanted) in of_run {
        let run = match app.engine.get(id).await {
            Ok(run) => run,
            Err(Error::WorkflowNotFound(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for (place, id) in wanted {
            if let Some(task) = run.tasks.iter().find(|task| task.task_id == id) {
                shown.insert(place, show(&run, task));
            }
        }
    }
    Ok(shown.into_values().collect())
}

async fn summaries(State(app): State<App>, asked: Asked) -> Answer {
    let found = found_tasks(&app, &asked, SUMMARIES_MAX).await?;
    page(found.total_hits, &shown(&app, &found.results, summary_json).await?)
}

async fn whole(State(app): State<App>, asked: Asked) -> Answer {
    let found = found_tasks(&app, &asked, WHOLE_MAX).await?;
    page(found.total_hits, &shown(&app, &found.results, task_json).await?)
}

/// Conductor's `TaskSummary`.
fn summary_json(run: &Execution, task: &TaskExecution) -> Value {
    let text = |value: &Value| {
        let text = java_text(value);
        (text.len() <= TEXT_MAX_BYTES).then_some(text)
    };
    let changed = task.end_time.or(task.start_time).unwrap_or(task.scheduled_time);
    json!({
        "workflowId": run.workflow_id,
        "workflowType": run.workflow_name,
        "correlationId": run.correlation_id,
        "scheduledTime": time_text(task.scheduled_time),
        "startTime": task.start_time.map(time_text),
        "updateTime": time_text(changed),
        "endTime": task.end_time.map(time_text),
        "status": task.status,
        "reasonForIncompletion": task.reason_for_incompletion,
        "executionTime": task.start_time.map_or(0, |start| took(start, task.end_time)),
        "queueWaitTime": took(task.scheduled_time, task.start_time),
        "taskDefName": task.task_def_name,
        "taskType": task.task_type,
        "input": text(&task.input_data),
        "output": text(&task.output_data),
        "taskId": task.task_id,
        "workflowPriority": run.priority,
        "domain": task.domain,
    })
}
