//! Schedules.

use axum::extract::State;
use oms_engine::Error;
use oms_engine::definition::WorkflowSchedule;

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
