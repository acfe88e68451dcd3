//! What operators ask of queues, workers and the server.

use axum::extract::State;
use oms_engine::{TaskSearch, TaskStatus, TextQuery};
use serde_json::{Map, Value, json};

use super::search::WHOLE_MAX;
use super::search_tasks::shown;
use super::{Answer, Route, json as answer, route, text};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::Asked;
use crate::shown::task_json;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/tasks/queue/all/verbose" verbose_sizes),
        route!(GET "/api/tasks/queue/polldata" poll_data),
        route!(GET "/api/tasks/queue/polldata/all" all_poll_data),
        route!(POST "/api/tasks/queue/requeue/{type}" requeue),
        route!(GET "/api/admin/config" config),
        route!(GET "/api/admin/task/{type}" pending),
        route!(POST "/api/admin/sweep/requeue/{id}" sweep),
        route!(POST "/api/admin/consistency/verifyAndRepair/{id}" repair),
        route!(GET "/api/admin/queues" event_queues),
        route!(GET "/api/environment" environment),
        route!(GET "/api/environment/{key}" variable),
    ]
}

/// By queue, and by shard, of which there is one. A task that a worker has is no more in a queue.
async fn verbose_sizes(State(app): State<App>) -> Answer {
    let sizes = app.engine.queue_sizes().await?;
    let detail = |size: i64| json!({ "a": { "size": size, "uacked": 0 } });
    let all: Map<String, Value> =
        sizes.into_iter().map(|(queue, size)| (queue, detail(size))).collect();
    answer(&all)
}

async fn poll_data(State(app): State<App>, asked: Asked) -> Answer {
    let Some(task_type) = asked.text("taskType") else {
        return Err(Refusal::argument("taskType", "is missing"));
    };
    answer(&app.polls.of(Some(task_type)))
}

async fn all_poll_data(State(app): State<App>) -> Answer {
    answer(&app.polls.of(None))
}

/// A task that waits is in its queue: there is none to put back.
async fn requeue(State(_): State<App>) -> Answer {
    Ok(text("0"))
}

async fn config(State(app): State<App>) -> Answer {
    let refused = app.access.refusals();
    answer(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "bodyBytesMax": app.limits.body_bytes,
        "requestSecondsMax": app.limits.request.as_secs(),
        "refused": {
            "unknown": refused.unknown, "forbidden": refused.forbidden, "foreign": refused.foreign,
        },
        "connectionsMax": app.limits.connections,
    }))
}

/// Open tasks of a type, whole.
async fn pending(State(app): State<App>, asked: Asked) -> Answer {
    let mut search = TaskSearch::default();
    search.task_type = Some(TextQuery::OneOf(vec![asked.name(0).to_owned()]));
    search.statuses = Some(vec![TaskStatus::Scheduled, TaskStatus::InProgress]);
    search.start = asked.number("start")?.unwrap_or(0);
    search.size = asked.number("count")?.unwrap_or(WHOLE_MAX);
    if search.size == 0 || search.size > WHOLE_MAX {
        let why = format!("{} is not within 1 to {WHOLE_MAX}", search.size);
        return Err(Refusal::argument("count", why));
    }
    let found = app.engine.search_tasks(&search).await?;
    answer(&shown(&app, &found.results, task_json).await?)
}

/// A run is always decided: it need not be put into a queue for that.
async fn sweep(State(app): State<App>, asked: Asked) -> Answer {
    let id = app.engine.get(asked.workflow()?).await?.workflow_id;
    Ok(text(format!("false.{id}")))
}

/// A run is written in one transaction with its tasks: there is nothing to repair.
async fn repair(State(app): State<App>, asked: Asked) -> Answer {
    app.engine.get(asked.workflow()?).await?;
    Ok(text("false"))
}

/// Events that handlers listen to; each is its own queue.
async fn event_queues(State(app): State<App>, asked: Asked) -> Answer {
    if asked.flag("verbose", false)? {
        return Err(Refusal::argument("verbose", "is not supported by this server"));
    }
    let handlers = app.engine.event_handlers(None).await?;
    let events = handlers.into_iter().filter(|handler| handler.active).map(|h| h.event);
    let all: Map<String, Value> = events.map(|event| (event.clone(), json!(event))).collect();
    answer(&all)
}

fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What expressions read as `workflow.env`.
async fn environment(State(app): State<App>) -> Answer {
    let env = app.engine.env();
    let shown =
        |(name, value): (&String, &Value)| json!({"name": name, "value": value_text(value)});
    answer(&env.iter().map(shown).collect::<Vec<Value>>())
}

async fn variable(State(app): State<App>, asked: Asked) -> Answer {
    let key = asked.name(0);
    match app.engine.env().get(key) {
        Some(value) => Ok(text(value_text(value))),
        None => Err(Refusal::not_found(format!("environment variable {key:?} does not exist"))),
    }
}
