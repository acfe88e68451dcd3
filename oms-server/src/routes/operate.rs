//! What operators do to runs.

use axum::extract::State;
use oms_engine::schemars::JsonSchema;
use oms_engine::{RerunRequest, RestartOptions, RetryOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Route, done, nothing, route, text};
use crate::app::App;
use crate::asker::Asker;
use crate::refusal::Refusal;
use crate::request::{Asked, Given, task_id};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(DELETE "/api/workflow/{id}" terminate),
        route!(DELETE "/api/workflow/{id}/remove" remove),
        route!(DELETE "/api/workflow/{id}/terminate-remove" terminate_and_remove),
        route!(PUT "/api/workflow/{id}/pause" pause),
        route!(PUT "/api/workflow/{id}/resume" resume),
        route!(PUT "/api/workflow/{id}/skiptask/{reference}" skip),
        route!(POST "/api/workflow/{id}/restart" restart),
        route!(POST "/api/workflow/{id}/retry" retry),
        route!(POST "/api/workflow/{id}/rerun" rerun),
        route!(POST "/api/workflow/{id}/resetcallbacks" reset_callbacks),
        route!(PUT "/api/workflow/decide/{id}" decide),
    ]
}

async fn terminate(asker: Asker, asked: Asked) -> Answer {
    let reason = asked.text("reason").unwrap_or_default();
    asker.engine(reason)?.terminate(asked.workflow()?, reason).await?;
    Ok(done())
}

/// Conductor moves what is removed into its archive unless it is told otherwise. There is none here,
/// so that nobody loses by default what he believes to be kept.
pub(super) fn without_archive(asked: &Asked) -> Result<(), Refusal> {
    if asked.flag("archiveWorkflow", true)? {
        let why = "this server has no archive: a workflow stays readable until it is removed with \
            archiveWorkflow=false";
        return Err(Refusal::argument("archiveWorkflow", why));
    }
    Ok(())
}

async fn remove(State(app): State<App>, asked: Asked) -> Answer {
    without_archive(&asked)?;
    app.engine.remove(asked.workflow()?).await?;
    Ok(done())
}

async fn terminate_and_remove(State(app): State<App>, asker: Asker, asked: Asked) -> Answer {
    without_archive(&asked)?;
    let id = asked.workflow()?;
    let reason = asked.text("reason").unwrap_or_default();
    asker.engine(reason)?.terminate(id, reason).await?;
    app.engine.remove(id).await?;
    Ok(done())
}

async fn pause(asker: Asker, asked: Asked) -> Answer {
    asker.engine("")?.pause(asked.workflow()?).await?;
    Ok(done())
}

async fn resume(asker: Asker, asked: Asked) -> Answer {
    asker.engine("")?.resume(asked.workflow()?).await?;
    Ok(done())
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SkipBody {
    task_input: Option<Map<String, Value>>,
    task_output: Option<Map<String, Value>>,
}

async fn skip(asker: Asker, asked: Asked, given: Given) -> Answer {
    let body: SkipBody = serde_json::from_value(Value::Object(given.object()?))
        .map_err(|error| Refusal::argument("$", error.to_string()))?;
    let object = |map: Option<Map<String, Value>>| Value::Object(map.unwrap_or_default());
    let (input, output) = (object(body.task_input), object(body.task_output));
    asker.engine("")?.skip(asked.workflow()?, asked.name(1), input, output).await?;
    Ok(done())
}

async fn restart(asker: Asker, asked: Asked) -> Answer {
    let options = if asked.flag("useLatestDefinitions", false)? {
        RestartOptions::on_latest_definition()
    } else {
        RestartOptions::default()
    };
    asker.engine("")?.restart(asked.workflow()?, options).await?;
    Ok(nothing())
}

async fn retry(asker: Asker, asked: Asked) -> Answer {
    let options = if asked.flag("resumeSubworkflowTasks", false)? {
        RetryOptions::resuming_sub_workflows()
    } else {
        RetryOptions::default()
    };
    asker.engine("")?.retry(asked.workflow()?, options).await?;
    Ok(nothing())
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "oms_engine::schemars")]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RerunBody {
    re_run_from_task_id: Option<String>,
    task_input: Option<Map<String, Value>>,
    workflow_input: Option<Map<String, Value>>,
    correlation_id: Option<String>,
}

async fn rerun(asker: Asker, asked: Asked, given: Given) -> Answer {
    let body: RerunBody = given.json()?;
    let mut request = match body.re_run_from_task_id.as_deref() {
        None | Some("") => RerunRequest::new(),
        Some(task) => RerunRequest::from_task(task_id(task)?),
    };
    if let Some(input) = body.task_input {
        request = request.task_input(json!(input));
    }
    if let Some(input) = body.workflow_input {
        request = request.workflow_input(json!(input));
    }
    if let Some(id) = body.correlation_id.filter(|id| !id.is_empty()) {
        request = request.correlation_id(id);
    }
    let id = asked.workflow()?;
    asker.engine("")?.rerun(id, request).await?;
    Ok(text(id.to_string()))
}

async fn reset_callbacks(asker: Asker, asked: Asked) -> Answer {
    asker.engine("")?.reset_callbacks(asked.workflow()?).await?;
    Ok(nothing())
}

/// A run is always decided already: this says whether there is one.
async fn decide(State(app): State<App>, asked: Asked) -> Answer {
    app.engine.get(asked.workflow()?).await?;
    Ok(done())
}
