//! What is done to a run from its page. Each has a reason, which is recorded with who gave it.

use oms_engine::{
    ApiRole, Engine, Execution, Operator, RerunRequest, RestartOptions, RetryOptions, Signal,
    TaskExecution, WorkflowStatus,
};
use serde_json::{Value, json};

use super::Answer;
use super::entry::{Visit, to};
use crate::refusal::Refusal;

/// Something that can be done, as a form.
#[derive(Clone, Debug, Default)]
pub(super) struct Act {
    pub(super) action: &'static str,
    /// What the form is called, and its button.
    pub(super) label: &'static str,
    /// What it leads to.
    pub(super) text: &'static str,
    pub(super) danger: bool,
    /// Where it is sent.
    pub(super) link: String,
    /// The step that it is done to.
    pub(super) task: String,
    /// Something to choose beside: its name and what it says.
    pub(super) tick: Option<(&'static str, &'static str)>,
    /// Whether it takes an output.
    pub(super) output: bool,
    /// Whether it asks for a name, since no key says who it is.
    pub(super) asks_who: bool,
}

fn act(action: &'static str, label: &'static str, text: &'static str) -> Act {
    Act { action, label, text, ..Act::default() }
}

/// What can be done to a run as it stands, by who looks at it.
pub(super) fn on_run(visit: &Visit, run: &Execution) -> Vec<Act> {
    let terminate = Act {
        danger: true,
        tick: Some(("compensate", "first undo what it did, by the tasks that its steps name")),
        ..act("terminate", "Terminate", "Ends the run. Its open tasks are canceled.")
    };
    let retry = Act {
        tick: Some(("resume", "sub-workflows that failed go on where they ended")),
        ..act("retry", "Retry", "Each step that failed or was canceled gets another attempt.")
    };
    let restart = Act {
        tick: Some(("latest", "by the latest version of the definition")),
        ..act("restart", "Restart", "Runs it again from its first step, with the same input.")
    };
    let acts = match run.status {
        WorkflowStatus::Running => {
            vec![act("pause", "Pause", "Nothing more is scheduled until it is resumed."), terminate]
        }
        WorkflowStatus::Paused => vec![act("resume", "Resume", "It goes on."), terminate],
        WorkflowStatus::Completed if !run.definition.restartable => Vec::new(),
        WorkflowStatus::Completed => vec![restart],
        _ => vec![retry, restart],
    };
    let link = visit.link(&format!("/runs/{}/operate", run.workflow_id), &[]);
    offered(visit, ApiRole::Admin, acts, &link, "")
}

/// What can be done to a step; `last` is its last attempt.
pub(super) fn on_task(
    visit: &Visit,
    run: &Execution,
    (name, last): (&str, Option<&TaskExecution>),
) -> Vec<Act> {
    let path = format!("/runs/{}", run.workflow_id);
    let operate = visit.link(&format!("{path}/operate"), &[]);
    let signal = visit.link(&format!("{path}/signal"), &[]);
    let (ended, open) =
        (run.status.is_terminal(), last.is_some_and(|task| !task.status.is_terminal()));
    if ended && last.is_some() {
        let text = "Runs the run again from this step on. What stood before it stays.";
        let acts = vec![act("rerun", "Rerun from here", text)];
        return offered(visit, ApiRole::Admin, acts, &operate, name);
    }
    if open {
        let good = "Ends the task as completed, with this output.";
        let bad = "Ends the attempt as failed, with the reason; its retry policy is asked.";
        let acts = vec![
            Act { output: true, ..act("complete", "Complete", good) },
            Act { output: true, danger: true, ..act("fail", "Fail", bad) },
        ];
        return offered(visit, ApiRole::Work, acts, &signal, name);
    }
    if last.is_none() && run.status == WorkflowStatus::Running {
        let text = "When the run comes to this step it passes it, with this output.";
        let acts = vec![Act { output: true, ..act("skip", "Skip", text) }];
        return offered(visit, ApiRole::Admin, acts, &operate, name);
    }
    Vec::new()
}

fn offered(visit: &Visit, role: ApiRole, acts: Vec<Act>, link: &str, task: &str) -> Vec<Act> {
    if visit.caller.as_ref().is_some_and(|caller| caller.role < role) {
        return Vec::new();
    }
    let asks_who = visit.caller.is_none();
    let whole = |act| Act { link: link.to_owned(), task: task.to_owned(), asks_who, ..act };
    acts.into_iter().map(whole).collect()
}

/// The engine, for whoever asks and with the reason that he gave.
pub(super) fn engine_for(visit: &Visit) -> Result<Engine, Refusal> {
    let who = match &visit.caller {
        Some(caller) => caller.to_string(),
        None => match visit.field("who") {
            Some(name) => format!("{name} (without a key)"),
            None => "somebody (without a key)".to_owned(),
        },
    };
    let reason = visit.field("reason").unwrap_or_default();
    Ok(visit.app.engine.on_behalf_of(Operator::new(who, reason)?))
}

/// A field that holds a JSON object, or nothing.
pub(super) fn object(visit: &Visit, key: &str) -> Result<Value, Refusal> {
    let Some(text) = visit.field(key) else { return Ok(json!({})) };
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(Value::Object(map)),
        Ok(_) => Err(Refusal::argument(key, "is no JSON object")),
        Err(error) => Err(Refusal::argument(key, format!("is no JSON: {error}"))),
    }
}

pub(super) async fn operate(visit: Visit) -> Answer {
    let (id, engine) = (visit.id()?, engine_for(&visit)?);
    let ticked = |name: &str| visit.field(name).is_some();
    let task = visit.field("task").unwrap_or_default();
    match visit.field("action").unwrap_or_default() {
        "pause" => engine.pause(id).await?,
        "resume" => engine.resume(id).await?,
        "terminate" => {
            let reason = visit.field("reason").unwrap_or_default();
            if ticked("compensate") {
                engine.terminate_with_compensation(id, reason).await?;
            } else {
                engine.terminate(id, reason).await?;
            }
        }
        "retry" => {
            let resuming = RetryOptions::resuming_sub_workflows();
            let options = if ticked("resume") { resuming } else { RetryOptions::default() };
            engine.retry(id, options).await?;
        }
        "restart" => {
            let latest = RestartOptions::on_latest_definition();
            let options = if ticked("latest") { latest } else { RestartOptions::default() };
            engine.restart(id, options).await?;
        }
        "rerun" => engine.rerun(id, RerunRequest::from_step(task)).await?,
        "skip" => engine.skip(id, task, json!({}), object(&visit, "output")?).await?,
        other => return Err(Refusal::argument("action", format!("{other:?} is not known"))),
    }
    Ok(back(&visit, task))
}

pub(super) async fn signal(visit: Visit) -> Answer {
    let (id, engine) = (visit.id()?, engine_for(&visit)?);
    let (task, output) = (visit.field("task").unwrap_or_default(), object(&visit, "output")?);
    let signal = match visit.field("action").unwrap_or_default() {
        "complete" => Signal::completed(output),
        "fail" => Signal::failed(visit.field("reason").unwrap_or_default()).with_output(output),
        other => return Err(Refusal::argument("action", format!("{other:?} is not known"))),
    };
    engine.signal(id, task, signal).await?;
    Ok(back(&visit, task))
}

fn back(visit: &Visit, task: &str) -> axum::response::Response {
    let path = format!("/runs/{}", visit.asked.name(0));
    let parameters: &[(&str, &str)] = if task.is_empty() { &[] } else { &[("task", task)] };
    to(&visit.link(&path, parameters))
}
