//! Reading runs.

use std::collections::BTreeMap;

use axum::extract::State;
use oms_engine::{ListRequest, WorkflowId, WorkflowStatus};
use serde_json::{Value, json};

use super::{Answer, Route, json as answer, route};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};
use crate::shown::{Shown, task_json, workflow_json};

/// Runs that one answer holds at most.
const RUNS_MAX: usize = 10_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/workflow/{id}" get),
        route!(GET "/api/workflow/{id}/status" status),
        route!(GET "/api/workflow/{id}/tasks" tasks),
        route!(GET "/api/workflow/{id}/explain" explain),
        route!(GET "/api/workflow/running/{name}" running),
        route!(GET "/api/workflow/{id}/correlated/{correlation_id}" correlated),
        route!(POST "/api/workflow/{id}/correlated" all_correlated),
    ]
}

async fn get(State(app): State<App>, asked: Asked) -> Answer {
    let run = app.engine.get(asked.workflow()?).await?;
    answer(&workflow_json(run, asked.flag("includeTasks", true)?)?)
}

async fn status(State(app): State<App>, asked: Asked) -> Answer {
    let run = app.engine.get(asked.workflow()?).await?;
    let (with_output, with_variables) =
        (asked.flag("includeOutput", false)?, asked.flag("includeVariables", false)?);
    let mut shown = BTreeMap::from([
        ("workflowId", json!(run.workflow_id)),
        ("correlationId", json!(run.correlation_id)),
        ("status", json!(run.status)),
    ]);
    shown.extend(with_output.then_some(("output", run.output)));
    shown.extend(with_variables.then_some(("variables", run.variables)));
    answer(&shown)
}

async fn tasks(State(app): State<App>, asked: Asked) -> Answer {
    let run = app.engine.get(asked.workflow()?).await?;
    let start = asked.number("start")?.unwrap_or(0);
    let count = asked.number("count")?.unwrap_or(15);
    let statuses: Vec<&str> = asked.texts("status").iter().flat_map(|s| s.split(',')).collect();
    let of_status = run
        .tasks
        .iter()
        .filter(|task| statuses.is_empty() || statuses.contains(&task.status.as_str()));
    let all: Vec<_> = of_status.collect();
    let page = all.iter().skip(start).take(count).map(|task| task_json(&run, task));
    answer(&json!({ "totalHits": all.len(), "results": page.collect::<Vec<Value>>() }))
}

async fn explain(State(app): State<App>, asked: Asked) -> Answer {
    answer(&app.engine.explain(asked.workflow()?).await?)
}

/// Ids of the runs that fit, newest first.
async fn find(
    app: &App,
    mut request: ListRequest,
    fits: impl Fn(&oms_engine::WorkflowSummary) -> bool,
) -> Result<Vec<WorkflowId>, Refusal> {
    let mut found = Vec::new();
    request.size = 1_000;
    loop {
        let page = app.engine.list(&request).await?;
        found.extend(page.results.iter().filter(|run| fits(run)).map(|run| run.workflow_id));
        if found.len() > RUNS_MAX {
            let text = format!("more than {RUNS_MAX} workflows: ask for fewer");
            return Err(Refusal::argument("query", text));
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(found),
        }
    }
}

async fn running(State(app): State<App>, asked: Asked) -> Answer {
    let version = asked.number::<i32>("version")?.unwrap_or(1);
    let time = |key: &str| -> Result<_, Refusal> {
        let Some(ms) = asked.number::<i64>(key)?.filter(|ms| *ms > 0) else { return Ok(None) };
        let time = oms_engine::chrono::DateTime::from_timestamp_millis(ms);
        time.map(Some).ok_or_else(|| Refusal::argument(key, "is no time"))
    };
    let mut request = ListRequest::default();
    request.name = Some(asked.name(0).to_owned());
    request.statuses = vec![WorkflowStatus::Running];
    request.created_from = time("startTime")?;
    request.created_before = time("endTime")?;
    answer(&find(&app, request, |run| run.version == version).await?)
}

/// The runs of one correlation id, as [`correlated`] and [`all_correlated`] show them.
async fn correlated_runs(
    app: &App,
    asked: &Asked,
    correlation_id: &str,
) -> Result<Vec<Shown>, Refusal> {
    let closed = asked.flag("includeClosed", false)?;
    let with_tasks = asked.flag("includeTasks", false)?;
    let mut request = ListRequest::default();
    request.name = Some(asked.name(0).to_owned());
    request.correlation_id = Some(correlation_id.to_owned());
    if !closed {
        request.statuses = vec![WorkflowStatus::Running];
    }
    let mut runs = Vec::new();
    for id in find(app, request, |_| true).await? {
        runs.push(workflow_json(app.engine.get(id).await?, with_tasks)?);
    }
    Ok(runs)
}

async fn correlated(State(app): State<App>, asked: Asked) -> Answer {
    answer(&correlated_runs(&app, &asked, asked.name(1)).await?)
}

async fn all_correlated(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    let ids: Vec<String> = given.json()?;
    let mut all = BTreeMap::new();
    for id in ids {
        let runs = correlated_runs(&app, &asked, &id).await?;
        all.insert(id, runs);
    }
    answer(&all)
}
