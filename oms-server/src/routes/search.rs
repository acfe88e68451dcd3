//! Searching runs.

use axum::extract::State;
use oms_engine::chrono::{DateTime, SecondsFormat, Utc};
use oms_engine::definition::java_text;
use oms_engine::{Error, FoundWorkflow, WorkflowId, WorkflowSearch, WorkflowSort, WorkflowStatus};
use serde_json::{Value, json};

use super::search_tasks::found_tasks;
use super::{Answer, Route, json as answer, route};
use crate::app::App;
use crate::query::{Paging, clauses, unknown, unsorted};
use crate::refusal::Refusal;
use crate::request::Asked;
use crate::shown::{Shown, workflow_json};

/// The largest page of summaries.
pub(super) const SUMMARIES_MAX: usize = 1_000;
/// The largest page of whole runs or tasks.
pub(super) const WHOLE_MAX: usize = 100;

const FIELDS: [&str; 8] = [
    "workflowId",
    "workflowType",
    "version",
    "status",
    "correlationId",
    "parentWorkflowId",
    "startTime",
    "endTime",
];
const SORTS: [&str; 5] = ["startTime", "endTime", "workflowType", "correlationId", "status"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/workflow/search" summaries),
        route!(GET "/api/workflow/search-v2" whole),
        route!(GET "/api/workflow/search-by-tasks" summaries_by_tasks),
        route!(GET "/api/workflow/search-by-tasks-v2" whole_by_tasks),
    ]
}

fn search(app: &App, asked: &Asked, size_max: usize) -> Result<WorkflowSearch, Refusal> {
    if asked.text("classifier").is_some() {
        return Err(Refusal::argument("classifier", "is not supported by this server"));
    }
    let paging = Paging::read(asked, size_max)?;
    let mut search = WorkflowSearch::default();
    for clause in clauses(asked.text("query").unwrap_or_default())? {
        match clause.field.as_str() {
            "workflowId" => clause.once(&mut search.workflow_ids, clause.ids()?)?,
            "workflowType" => clause.once(&mut search.name, clause.text()?)?,
            "version" => clause.once(&mut search.versions, clause.numbers()?)?,
            "status" => {
                let there: Vec<&str> = WorkflowStatus::ALL.iter().map(|s| s.as_str()).collect();
                clause.once(&mut search.statuses, clause.known(&there)?)?;
            }
            "correlationId" => clause.once(&mut search.correlation_id, clause.text()?)?,
            "parentWorkflowId" => clause.once(&mut search.parent_ids, clause.ids()?)?,
            "startTime" => clause.narrow(&mut search.created)?,
            "endTime" => clause.narrow(&mut search.ended)?,
            other => return Err(unknown(other, &FIELDS)),
        }
    }
    if let Some((field, order)) = paging.sort {
        search.order = order;
        search.sort = match field.as_str() {
            "startTime" => WorkflowSort::StartTime,
            "endTime" => WorkflowSort::EndTime,
            "workflowType" => WorkflowSort::WorkflowType,
            "correlationId" => WorkflowSort::CorrelationId,
            "status" => WorkflowSort::Status,
            other => return Err(unsorted(other, &SORTS)),
        };
    }
    search.top_level_only = asked.flag("topLevelOnly", false)?;
    search.words = paging.words;
    search.unsearched_fields = app.masked.iter().cloned().collect();
    (search.start, search.size) = (paging.start, paging.size);
    Ok(search)
}

/// Of Conductor's `SearchResult`.
pub(super) fn page<T: serde::Serialize>(total_hits: usize, results: &[T]) -> Answer {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct SearchResult<'a, T> {
        total_hits: usize,
        results: &'a [T],
    }
    answer(&SearchResult { total_hits, results })
}

async fn summaries(State(app): State<App>, asked: Asked) -> Answer {
    let found = app.engine.search(&search(&app, &asked, SUMMARIES_MAX)?).await?;
    let results: Vec<Value> = found.results.iter().map(summary_json).collect();
    page(found.total_hits, &results)
}

async fn whole(State(app): State<App>, asked: Asked) -> Answer {
    let found = app.engine.search(&search(&app, &asked, WHOLE_MAX)?).await?;
    let ids = found.results.iter().map(|run| run.summary.workflow_id).collect();
    let runs = runs(&app, ids).await?;
    page(found.total_hits, &runs)
}

/// Runs without their tasks. One that was removed since is left out.
async fn runs(app: &App, ids: Vec<WorkflowId>) -> Result<Vec<Shown>, Refusal> {
    let mut runs = Vec::new();
    for id in ids {
        match app.engine.get(id).await {
            Ok(run) => runs.push(workflow_json(run, false)?),
            Err(Error::WorkflowNotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(runs)
}

/// The runs of a page of tasks, each once, in the order of its first task; and how many tasks fit,
/// less those of the page whose run stands already.
async fn by_tasks(
    app: &App,
    asked: &Asked,
    size_max: usize,
) -> Result<(usize, Vec<WorkflowId>), Refusal> {
    let found = found_tasks(app, asked, size_max).await?;
    let mut ids = Vec::new();
    for task in &found.results {
        if !ids.contains(&task.workflow_id) {
            ids.push(task.workflow_id);
        }
    }
    let again = found.results.len() - ids.len();
    Ok((found.total_hits.saturating_sub(again), ids))
}

async fn summaries_by_tasks(State(app): State<App>, asked: Asked) -> Answer {
    let (hits, ids) = by_tasks(&app, &asked, SUMMARIES_MAX).await?;
    let mut search = WorkflowSearch::default();
    search.size = SUMMARIES_MAX;
    search.workflow_ids = Some(ids.clone());
    let mut found = app.engine.search(&search).await?.results;
    found.sort_by_key(|run| ids.iter().position(|id| *id == run.summary.workflow_id));
    let results: Vec<Value> = found.iter().map(summary_json).collect();
    page(hits, &results)
}

async fn whole_by_tasks(State(app): State<App>, asked: Asked) -> Answer {
    let (hits, ids) = by_tasks(&app, &asked, WHOLE_MAX).await?;
    let runs = runs(&app, ids).await?;
    page(hits, &runs)
}

/// A time as Conductor's summaries have it.
pub(super) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Between two times as they are shown, in ms; 0 without an end.
pub(super) fn took(from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> i64 {
    to.map_or(0, |to| (to.timestamp_millis() - from.timestamp_millis()).max(0))
}

/// Conductor's `WorkflowSummary`.
fn summary_json(found: &FoundWorkflow) -> Value {
    let run = &found.summary;
    let input = found.input.as_ref().map(java_text);
    let output = found.output.as_ref().map(java_text);
    let length = |text: Option<&String>| text.map_or(0, String::len);
    json!({
        "workflowType": run.workflow_type,
        "version": run.version,
        "workflowId": run.workflow_id,
        "correlationId": run.correlation_id,
        "startTime": time_text(run.start_time),
        "updateTime": time_text(run.end_time.unwrap_or(run.start_time)),
        "endTime": run.end_time.map(time_text),
        "status": run.status,
        "inputSize": length(input.as_ref()),
        "outputSize": length(output.as_ref()),
        "input": input,
        "output": output,
        "reasonForIncompletion": run.reason_for_incompletion,
        "executionTime": took(run.start_time, run.end_time),
        "failedReferenceTaskNames": found.failed_reference_task_names.join(","),
        "priority": run.priority,
        "taskToDomain": found.task_to_domain.clone().unwrap_or_else(|| json!({})),
        "idempotencyKey": run.idempotency_key,
        "parentWorkflowId": found.parent_workflow_id.map(|id| id.to_string()).unwrap_or_default(),
    })
}
