//! Schedules.

use std::collections::BTreeMap;

use axum::extract::State;
use oms_engine::Error;
use oms_engine::definition::WorkflowSchedule;
use serde_json::json;

use super::bulk::ids;
use super::{Answer, Route, done, json as answer, route};
use crate::app::App;
use crate::request::{Asked, Given};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/scheduler/schedules" put),
        route!(GET "/api/scheduler/schedules" list),
        route!(GET "/api/scheduler/schedules/{name}" get),
        route!(DELETE "/api/scheduler/schedules/{name}" remove),
        route!(PUT "/api/scheduler/schedules/{name}/pause" pause),
        route!(PUT "/api/scheduler/schedules/{name}/resume" resume),
        route!(PUT "/api/scheduler/bulk/pause" pause_all),
        route!(PUT "/api/scheduler/bulk/resume" resume_all),
    ]
}

async fn put(State(app): State<App>, given: Given) -> Answer {
    let schedule = WorkflowSchedule::from_json(given.as_text()?);
    let schedule = schedule.map_err(|faults| Error::InvalidDefinition { faults })?;
    answer(&app.engine.put_schedule(&schedule).await?)
}

async fn list(State(app): State<App>, asked: Asked) -> Answer {
    answer(&app.engine.schedules(asked.text("workflowName")).await?)
}

async fn get(State(app): State<App>, asked: Asked) -> Answer {
    answer(&app.engine.schedule(asked.name(0)).await?)
}

async fn remove(State(app): State<App>, asked: Asked) -> Answer {
    let name = asked.name(0);
    if !app.engine.remove_schedule(name).await? {
        return Err(Error::ScheduleNotFound { name: name.to_owned() }.into());
    }
    Ok(done())
}

async fn pause(State(app): State<App>, asked: Asked) -> Answer {
    app.engine.pause_schedule(asked.name(0), asked.text("reason")).await?;
    Ok(done())
}

async fn resume(State(app): State<App>, asked: Asked) -> Answer {
    app.engine.resume_schedule(asked.name(0)).await?;
    Ok(done())
}

/// Each by itself: what is refused is listed and keeps nobody else.
async fn all(app: &App, given: &Given, pauses: bool) -> Answer {
    let (mut errors, mut done) = (BTreeMap::new(), Vec::new());
    for name in ids(given)? {
        let acted = if pauses {
            app.engine.pause_schedule(&name, None).await
        } else {
            app.engine.resume_schedule(&name).await
        };
        match acted {
            Ok(()) => done.push(name),
            Err(error) => {
                errors.insert(name, error.to_string());
            }
        }
    }
    answer(&json!({ "bulkErrorResults": errors, "bulkSuccessfulResults": done }))
}

async fn pause_all(State(app): State<App>, given: Given) -> Answer {
    all(&app, &given, true).await
}

async fn resume_all(State(app): State<App>, given: Given) -> Answer {
    all(&app, &given, false).await
}
