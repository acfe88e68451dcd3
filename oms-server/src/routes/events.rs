//! Event handlers.

use axum::extract::State;
use axum::http::StatusCode;
use oms_engine::Error;
use oms_engine::definition::EventHandler;

use super::{Answer, Route, done, json as answer, route};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/event" add),
        route!(PUT "/api/event" replace),
        route!(GET "/api/event" list),
        route!(GET "/api/event/{name}" of_event),
        route!(DELETE "/api/event/{name}" remove),
    ]
}

fn handler(given: &Given) -> Result<EventHandler, Refusal> {
    let read = EventHandler::from_json(given.as_text()?);
    read.map_err(|faults| Error::InvalidDefinition { faults }.into())
}

async fn is_there(app: &App, name: &str) -> Result<bool, Refusal> {
    Ok(app.engine.event_handlers(None).await?.iter().any(|handler| handler.name == name))
}

fn missing(name: &str) -> Refusal {
    Refusal::not_found(format!("event handler {name:?} does not exist"))
}

async fn add(State(app): State<App>, given: Given) -> Answer {
    let handler = handler(&given)?;
    if is_there(&app, &handler.name).await? {
        let text = format!("event handler {:?} exists already", handler.name);
        return Err(Refusal::new(StatusCode::CONFLICT, text));
    }
    app.engine.register_event_handler(&handler).await?;
    Ok(done())
}

async fn replace(State(app): State<App>, given: Given) -> Answer {
    let handler = handler(&given)?;
    if !is_there(&app, &handler.name).await? {
        return Err(missing(&handler.name));
    }
    app.engine.register_event_handler(&handler).await?;
    Ok(done())
}

async fn list(State(app): State<App>) -> Answer {
    answer(&app.engine.event_handlers(None).await?)
}

async fn of_event(State(app): State<App>, asked: Asked) -> Answer {
    let only_active = asked.flag("activeOnly", true)?;
    let mut handlers = app.engine.event_handlers(Some(asked.name(0))).await?;
    handlers.retain(|handler| handler.active || !only_active);
    answer(&handlers)
}

async fn remove(State(app): State<App>, asked: Asked) -> Answer {
    if !app.engine.remove_event_handler(asked.name(0)).await? {
        return Err(missing(asked.name(0)));
    }
    Ok(done())
}
