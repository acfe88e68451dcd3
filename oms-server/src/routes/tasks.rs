//! Tasks: polls, reads, logs, queues.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use oms_engine::{Error, Execution, PollRequest, Polled, TaskStatus};
use serde_json::{Value, json};

use super::{Answer, Route, bytes, done, json as answer, nothing, route};
use crate::app::App;
use crate::polled::PolledQueues;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};
use crate::shown::{ShownPolled, task_json};

/// Conductor's bound of a poll's wait.
const WAIT_MAX_MS: u64 = 5_000;
const WAIT_MS: u64 = 100;
/// The name of a worker that gives none.
pub(super) const NO_NAME: &str = "unknown";

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/tasks/poll/{type}" poll),
        route!(GET "/api/tasks/poll/batch/{type}" poll_batch),
        route!(GET "/api/tasks/{id}" get),
        route!(POST "/api/tasks/{id}/ack" ack),
        route!(GET "/api/tasks/{id}/log" log),
        route!(POST "/api/tasks/{id}/log" add_log),
        route!(GET "/api/tasks/queue/size" size),
        route!(GET "/api/tasks/queue/sizes" sizes),
        route!(GET "/api/tasks/queue/all" all_sizes),
    ]
}

fn request(polls: &PolledQueues, asked: &Asked) -> Result<PollRequest, Refusal> {
    let wait = asked.number::<u64>("timeout")?.unwrap_or(WAIT_MS);
    if wait > WAIT_MAX_MS {
        let why = format!("{wait} is more than {WAIT_MAX_MS} ms");
        return Err(Refusal::argument("timeout", why));
    }
    let worker = asked.text("workerid").unwrap_or(NO_NAME);
    polls.note(asked.name(0), asked.text("domain"), worker);
    let request = PollRequest::new(asked.name(0), worker).wait(Duration::from_millis(wait));
    Ok(match asked.text("domain") {
        Some(domain) => request.domain(domain),
        None => request,
    })
}

async fn poll(State(app): State<App>, asked: Asked) -> Answer {
    let polled = app.engine.poll(&request(&app.polls, &asked)?).await?;
    first(polled)
}

async fn poll_batch(State(app): State<App>, asked: Asked) -> Answer {
    let count = asked.number("count")?.unwrap_or(1);
    let polled = app.engine.poll(&request(&app.polls, &asked)?.count(count)).await?;
    let tasks: Vec<ShownPolled<'_>> = polled.tasks().iter().map(ShownPolled::of).collect();
    let bytes = bytes(&tasks)?;
    Ok(delivering(polled, bytes))
}

/// The one task, or 204.
pub(super) fn first(polled: Polled) -> Answer {
    let Some(task) = polled.tasks().first() else { return Ok(nothing()) };
    let bytes = bytes(&ShownPolled::of(task))?;
    Ok(delivering(polled, bytes))
}

fn delivering(polled: Polled, bytes: Vec<u8>) -> Response {
    let body = Delivering(Some((polled, Bytes::from(bytes))));
    let mut response = Response::new(Body::new(body));
    let json = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The tasks are their worker's when the answer is on its way; if the worker has gone before, they
/// go back.
struct Delivering(Option<(Polled, Bytes)>);

impl HttpBody for Delivering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|(polled, bytes)| {
            polled.delivered();
            Ok(Frame::data(bytes))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.0.as_ref().map_or(0, |(_, bytes)| bytes.len());
        SizeHint::with_exact(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

async fn get(State(app): State<App>, asked: Asked) -> Answer {
    let (run, wanted) = run_of(&app, &asked).await?;
    let task = run.tasks.iter().find(|task| task.task_id == wanted);
    answer(&task_json(&run, task.ok_or_else(|| no_task(&asked))?))
}

/// The run of the task that is asked for, and the task's id.
async fn run_of(app: &App, asked: &Asked) -> Result<(Execution, String), Refusal> {
    let id = asked.task()?;
    match app.engine.get(id.workflow_id).await {
        Ok(run) => Ok((run, id.to_string())),
        Err(Error::WorkflowNotFound(_)) => Err(no_task(asked)),
        Err(error) => Err(error.into()),
    }
}

fn no_task(asked: &Asked) -> Refusal {
    Refusal::not_found(format!("task {} does not exist", asked.name(0)))
}

/// Of old clients: whether the task is one that a worker has.
async fn ack(State(app): State<App>, asked: Asked) -> Answer {
    let (run, wanted) = run_of(&app, &asked).await?;
    let task = run.tasks.iter().find(|task| task.task_id == wanted);
    answer(&task.is_some_and(|task| task.status == TaskStatus::InProgress))
}

async fn log(State(app): State<App>, asked: Asked) -> Answer {
    let id = asked.task()?;
    let lines = app.engine.task_log(&id).await?;
    if lines.is_empty() {
        return Ok(nothing());
    }
    let task_id = id.to_string();
    let line = |line: &oms_engine::TaskLogLine| {
        let created = line.created_time.timestamp_millis();
        json!({ "log": line.log, "taskId": task_id, "createdTime": created })
    };
    answer(&lines.iter().map(line).collect::<Vec<Value>>())
}

async fn add_log(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    app.engine.log_task(&asked.task()?, vec![given.text()?]).await?;
    Ok(done())
}

/// `[domain:]type[@namespace][-group]`, as the parameters name its parts.
fn queue_of(asked: &Asked, task_type: &str) -> String {
    let part = |key: &str, before: &str, after: &str| {
        asked.text(key).map(|text| format!("{before}{text}{after}")).unwrap_or_default()
    };
    let (domain, space) = (part("domain", "", ":"), part("executionNamespace", "@", ""));
    format!("{domain}{task_type}{space}{}", part("isolationGroupId", "-", ""))
}

async fn size(State(app): State<App>, asked: Asked) -> Answer {
    let Some(task_type) = asked.text("taskType") else {
        return Err(Refusal::argument("taskType", "is missing"));
    };
    let queue = queue_of(&asked, task_type);
    let sizes = app.engine.queue_sizes().await?;
    answer(&sizes.get(&queue).copied().unwrap_or(0))
}

async fn sizes(State(app): State<App>, asked: Asked) -> Answer {
    let sizes = app.engine.queue_sizes().await?;
    let wanted = asked.texts("taskType").into_iter().flat_map(|types| types.split(','));
    let of = wanted.map(|name| (name.to_owned(), sizes.get(name).copied().unwrap_or(0)));
    answer(&of.collect::<BTreeMap<String, i64>>())
}

async fn all_sizes(State(app): State<App>) -> Answer {
    answer(&app.engine.queue_sizes().await?)
}
