//! Starting a run, or ending a task that it waits at, and waiting for what comes of it.

use std::time::Duration;

use axum::extract::State;
use oms_engine::{Execution, Halt, Signal, TaskId, WorkflowId};
use serde_json::{Map, Value, json};

use super::start::StartBody;
use super::{Answer, Route, done, json as answer, route};
use crate::app::App;
use crate::asker::Asker;
use crate::refusal::Refusal;
use crate::request::{Asked, Given};
use crate::shown::{task_json, workflow_json};
use crate::traced::Traced;

/// What is waited for unless a request says otherwise.
const WAIT_SECONDS: u64 = 10;
const WAIT_MAX: Duration = Duration::from_secs(30);
const SIGNAL_MS: u64 = 5_000;
/// The answer is on its way so long before the wait is up, since clients have time limits of the
/// same length.
const AHEAD: Duration = Duration::from_millis(250);

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/workflow/execute/{name}/{version}" execute),
        route!(POST "/api/tasks/{id}/{status}/signal" signal),
        route!(POST "/api/tasks/{id}/{status}/signal/sync" signal_and_wait),
        route!(POST "/api/queue/update/{id}/{reference}/{status}" update_named),
        route!(POST "/api/queue/update/{id}/task/{task}/{status}" update_task),
    ]
}

/// What a synchronous request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    TargetWorkflow,
    BlockingWorkflow,
    BlockingTask,
    BlockingTaskInput,
}

impl Wanted {
    const ALL: [(Self, &'static str); 4] = [
        (Self::TargetWorkflow, "TARGET_WORKFLOW"),
        (Self::BlockingWorkflow, "BLOCKING_WORKFLOW"),
        (Self::BlockingTask, "BLOCKING_TASK"),
        (Self::BlockingTaskInput, "BLOCKING_TASK_INPUT"),
    ];

    fn read(asked: &Asked) -> Result<Self, Refusal> {
        let Some(text) = asked.text("returnStrategy") else { return Ok(Self::TargetWorkflow) };
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(wanted, _)| wanted).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            Refusal::argument("returnStrategy", format!("{text:?} is none of {names}"))
        })
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(wanted, _)| *wanted == self).map_or("", |(_, name)| name)
    }
}

fn wait(key: &str, wait: Duration) -> Result<Duration, Refusal> {
    if wait > WAIT_MAX {
        let why = format!("{wait:?} is more than {WAIT_MAX:?}");
        return Err(Refusal::argument(key, why));
    }
    Ok(if wait > AHEAD * 4 { wait - AHEAD } else { wait })
}

async fn execute(State(app): State<App>, traced: Traced, asked: Asked, given: Given) -> Answer {
    let mut body: StartBody = given.json()?;
    let version: i32 = asked.name(1).parse().map_err(|_| {
        Refusal::argument("version", format!("{:?} is no number that fits", asked.name(1)))
    })?;
    match asked.text("consistency") {
        // A start is on disk before it is answered: what asks for less has it too.
        None | Some("DURABLE" | "SYNCHRONOUS" | "EVENTUAL") => {}
        Some(other) => {
            let why = format!("{other:?} is not supported by this server");
            return Err(Refusal::argument("consistency", why));
        }
    }
    let wanted = Wanted::read(&asked)?;
    let seconds = asked.number("waitForSeconds")?.filter(|n| *n > 0).unwrap_or(WAIT_SECONDS);
    let wait = wait("waitForSeconds", Duration::from_secs(seconds))?;
    // Some clients write a None of theirs as such.
    let names = asked.text("waitUntilTaskRef").filter(|text| *text != "None").unwrap_or_default();
    let names: Vec<String> = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let request_id = asked.text("requestId").map(str::to_owned).or_else(|| body.request_id());
    body.by_name(asked.name(0), (version > 0).then_some(version));
    let run = app.engine.start(traced.start(body.request()?)).await?.id;
    answer_for(&app, run, (names, wait), (wanted, request_id)).await
}

/// Waits and answers with Conductor's `SignalResponse`.
async fn answer_for(
    app: &App,
    target: WorkflowId,
    (names, wait): (Vec<String>, Duration),
    (wanted, request_id): (Wanted, Option<String>),
) -> Answer {
    let halted = tokio::time::timeout(wait, app.engine.wait_for_halt(target, &names)).await;
    let timed_out = halted.is_err();
    let at = match halted {
        Ok(halt) => match halt? {
            Halt::At(task) => Some(task),
            _ => None,
        },
        Err(_) => None,
    };
    let request_id = request_id.unwrap_or_else(|| WorkflowId::new().to_string());
    let run = app.engine.get(target).await?;
    // A run that has ended stands at nothing, but the task that was asked for may be told of.
    let at = at.or_else(|| named_end(&run, &names));
    let head = json!({
        "targetWorkflowId": target,
        "targetWorkflowStatus": run.status,
        "requestId": request_id,
        "signalTimeout": timed_out,
    });
    match (wanted, at) {
        (Wanted::BlockingTask | Wanted::BlockingTaskInput, Some(at)) => {
            let run = of(app, run, at.workflow_id).await?;
            answer(&task_run(head, &run, &at, wanted))
        }
        (Wanted::BlockingWorkflow, Some(at)) => {
            let run = of(app, run, at.workflow_id).await?;
            answer(&workflow_run(head, run, wanted)?)
        }
        // Without a task that it stands at there is only the run.
        (Wanted::BlockingWorkflow, None) => answer(&workflow_run(head, run, wanted)?),
        _ => answer(&workflow_run(head, run, Wanted::TargetWorkflow)?),
    }
}

fn named_end(run: &Execution, names: &[String]) -> Option<TaskId> {
    let ended = run
        .tasks
        .iter()
        .find(|task| task.end_time.is_some() && names.contains(&task.reference_task_name))?;
    ended.task_id.parse().ok()
}

async fn of(app: &App, run: Execution, id: WorkflowId) -> Result<Execution, Refusal> {
    if run.workflow_id == id { Ok(run) } else { Ok(app.engine.get(id).await?) }
}

/// Conductor's `WorkflowRun`.
fn workflow_run(mut head: Value, run: Execution, wanted: Wanted) -> Result<Value, Refusal> {
    let more = json!({
        "responseType": wanted.name(),
        "workflowId": run.workflow_id,
        "correlationId": run.correlation_id,
        "input": run.input,
        "output": run.output,
        "variables": run.variables,
        "priority": run.priority,
        "status": run.status,
        "createTime": run.create_time.timestamp_millis(),
    });
    let shown = workflow_json(run, true)?;
    add(&mut head, more);
    for key in ["tasks", "updateTime"] {
        add(&mut head, json!({ key: shown.field(key) }));
    }
    Ok(head)
}

/// Conductor's `TaskRun`.
fn task_run(mut head: Value, run: &Execution, at: &TaskId, wanted: Wanted) -> Value {
    let id = at.to_string();
    let task = run.tasks.iter().find(|task| task.task_id == id);
    let shown = task.map(|task| task_json(run, task)).unwrap_or_default();
    let of = |key: &str| shown.get(key).cloned().unwrap_or_default();
    add(
        &mut head,
        json!({
            "responseType": wanted.name(),
            "workflowId": run.workflow_id,
            "correlationId": run.correlation_id,
            "workflowType": run.workflow_name,
            "priority": run.priority,
            "input": of("inputData"),
            "output": of("outputData"),
            "createTime": of("startTime"),
            "createdBy": of("workerId"),
        }),
    );
    for key in [
        "taskType",
        "taskId",
        "referenceTaskName",
        "retryCount",
        "taskDefName",
        "reasonForIncompletion",
        "status",
        "updateTime",
    ] {
        add(&mut head, json!({ key: of(key) }));
    }
    head
}

fn add(to: &mut Value, more: Value) {
    if let (Some(to), Value::Object(more)) = (to.as_object_mut(), more) {
        to.extend(more);
    }
}

/// A signal by the status in the path.
fn signal_of(status: &str, output: Map<String, Value>) -> Result<Signal, Refusal> {
    let output = Value::Object(output);
    match status {
        "COMPLETED" => Ok(Signal::completed(output)),
        "IN_PROGRESS" => Ok(Signal::in_progress(output)),
        "FAILED" => Ok(Signal::failed("").with_output(output)),
        "FAILED_WITH_TERMINAL_ERROR" => Ok(Signal::failed("").with_output(output).terminal()),
        other => {
            let why = format!(
                "{other:?} is none of COMPLETED, FAILED, FAILED_WITH_TERMINAL_ERROR, IN_PROGRESS"
            );
            Err(Refusal::argument("status", why))
        }
    }
}

/// Signals the first WAIT. Out: the run.
async fn to_first(asker: &Asker, asked: &Asked, given: &Given) -> Result<WorkflowId, Refusal> {
    let id = asked.workflow()?;
    let signal = signal_of(asked.name(1), given.object()?)?;
    match asker.engine("")?.signal_first(id, signal).await {
        Ok(_) => Ok(id),
        Err(error @ oms_engine::Error::Conflict { .. }) => {
            Err(Refusal::not_found(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn signal(asker: Asker, asked: Asked, given: Given) -> Answer {
    to_first(&asker, &asked, &given).await?;
    Ok(done())
}

async fn signal_and_wait(
    State(app): State<App>,
    asker: Asker,
    asked: Asked,
    given: Given,
) -> Answer {
    let wanted = Wanted::read(&asked)?;
    let ms = asked.number("timeoutMillis")?.unwrap_or(SIGNAL_MS);
    let wait = wait("timeoutMillis", Duration::from_millis(ms))?;
    let id = to_first(&asker, &asked, &given).await?;
    answer_for(&app, id, (Vec::new(), wait), (wanted, None)).await
}

async fn update_named(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    let signal = signal_of(asked.name(2), given.object()?)?;
    app.engine.signal(asked.workflow()?, asked.name(1), signal).await?;
    Ok(done())
}

async fn update_task(State(app): State<App>, asked: Asked, given: Given) -> Answer {
    let signal = signal_of(asked.name(2), given.object()?)?;
    let task = crate::request::task_id(asked.name(1))?;
    if task.workflow_id != asked.workflow()? {
        let why = format!("task {task} is not one of workflow {}", asked.name(0));
        return Err(Refusal::argument("workflowId", why));
    }
    app.engine.signal_task(&task, signal).await?;
    Ok(done())
}
