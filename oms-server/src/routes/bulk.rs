//! What operators do to many runs.

use std::collections::BTreeMap;

use axum::extract::State;
use oms_engine::{Engine, Error, RestartOptions, RetryOptions, WorkflowId};
use serde_json::json;

use super::operate::without_archive;
use super::{Answer, Route, json as answer, route};
use crate::app::App;
use crate::asker::Asker;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};
use crate::shown::{Shown, workflow_json};

/// Conductor's bound.
const IDS_MAX: usize = 1_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(PUT "/api/workflow/bulk/pause" pause),
        route!(PUT "/api/workflow/bulk/resume" resume),
        route!(POST "/api/workflow/bulk/restart" restart),
        route!(POST "/api/workflow/bulk/retry" retry),
        route!(POST "/api/workflow/bulk/terminate" terminate),
        route!(POST "/api/workflow/bulk/search" search),
        route!(DELETE "/api/workflow/bulk/remove" remove),
        route!(DELETE "/api/workflow/bulk/terminate-remove" terminate_and_remove),
    ]
}

#[derive(Debug)]
enum Action {
    Pause,
    Resume,
    Restart(RestartOptions),
    Retry,
    Terminate(String),
    Remove,
    TerminateAndRemove(String),
}

/// `by` is the engine by which what is done is recorded; a record goes with the run that is removed.
async fn act(app: &App, by: &Engine, action: &Action, id: WorkflowId) -> Result<(), Error> {
    match action {
        Action::Pause => by.pause(id).await,
        Action::Resume => by.resume(id).await,
        Action::Restart(options) => by.restart(id, *options).await,
        Action::Retry => by.retry(id, RetryOptions::default()).await,
        Action::Terminate(reason) => by.terminate(id, reason).await,
        Action::Remove => app.engine.remove(id).await,
        Action::TerminateAndRemove(reason) => {
            by.terminate(id, reason).await?;
            app.engine.remove(id).await
        }
    }
}

/// Each by itself: what is refused is listed and keeps nobody else.
async fn all(app: &App, asker: &Asker, given: &Given, action: Action) -> Answer {
    let ids = ids(given)?;
    let by = asker.engine(match &action {
        Action::Terminate(reason) | Action::TerminateAndRemove(reason) => reason,
        _ => "",
    })?;
    let (mut errors, mut done) = (BTreeMap::new(), Vec::new());
    for id in ids {
        let acted = match id.parse() {
            Ok(workflow) => {
                act(app, &by, &action, workflow).await.map_err(|error| error.to_string())
            }
            Err(_) => Err(format!("workflow {id} does not exist")),
        };
        match acted {
            Ok(()) => done.push(id),
            Err(error) => {
                errors.insert(id, error);
            }
        }
    }
    answer(&json!({ "bulkErrorResults": errors, "bulkSuccessfulResults": done }))
}

/// Whole runs by their ids.
async fn search(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    let with_tasks = asked.flag("includeTasks", true)?;
    let (mut errors, mut found) = (BTreeMap::new(), Vec::new());
    for id in ids(&given)? {
        let run = match id.parse() {
            Ok(workflow) => app.engine.get(workflow).await.map_err(|error| error.to_string()),
            Err(_) => Err(format!("workflow {id} does not exist")),
        };
        match run {
            Ok(run) => found.push(workflow_json(run, with_tasks)?),
            Err(error) => {
                errors.insert(id, error);
            }
        }
    }
    answer(&Found { bulk_error_results: errors, bulk_successful_results: found })
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    bulk_error_results: BTreeMap<String, String>,
    bulk_successful_results: Vec<Shown>,
}

pub(super) fn ids(given: &Given) -> Result<Vec<String>, Refusal> {
    let ids: Vec<String> = given.json()?;
    if ids.len() > IDS_MAX {
        let text = format!("has {} ids, at most {IDS_MAX}", ids.len());
        return Err(Refusal::argument("$", text));
    }
    Ok(ids)
}

async fn pause(State(app): State<App>, asker: Asker, given: Given) -> Answer {
    all(&app, &asker, &given, Action::Pause).await
}

async fn resume(State(app): State<App>, asker: Asker, given: Given) -> Answer {
    all(&app, &asker, &given, Action::Resume).await
}

async fn restart(State(app): State<App>, asker: Asker, asked: Asked, given: Given) -> Answer {
    let options = if asked.flag("useLatestDefinitions", false)? {
        RestartOptions::on_latest_definition()
    } else {
        RestartOptions::default()
    };
    all(&app, &asker, &given, Action::Restart(options)).await
}

async fn retry(State(app): State<App>, asker: Asker, given: Given) -> Answer {
    all(&app, &asker, &given, Action::Retry).await
}

async fn terminate(State(app): State<App>, asker: Asker, asked: Asked, given: Given) -> Answer {
    let reason = asked.text("reason").unwrap_or_default().to_owned();
    all(&app, &asker, &given, Action::Terminate(reason)).await
}

async fn remove(State(app): State<App>, asker: Asker, asked: Asked, given: Given) -> Answer {
    without_archive(&asked)?;
    all(&app, &asker, &given, Action::Remove).await
}

async fn terminate_and_remove(
    State(app): State<App>,
    asker: Asker,
    asked: Asked,
    given: Given,
) -> Answer {
    without_archive(&asked)?;
    let reason = asked.text("reason").unwrap_or_default().to_owned();
    all(&app, &asker, &given, Action::TerminateAndRemove(reason)).await
}
