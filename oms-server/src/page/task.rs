//! One step of a run, with all its attempts.

use oms_engine::{TaskExecution, WorkflowTask};

use super::act::{Act, on_task};
use super::look::Look;
use super::payload::Payload;
use super::run::Seen;
use super::text::{exact, moment, short};
use crate::refusal::Refusal;
use crate::request::task_id;

/// Attempts that are shown with what went in and came out; the last ones.
const ATTEMPTS_MAX: usize = 10;
/// Lines of a log that are shown; the last ones.
const LINES_MAX: usize = 200;

/// The step that is looked at.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) task: String,
    pub(super) description: String,
    /// The last first.
    pub(super) attempts: Vec<Attempt>,
    /// How many there are before these.
    pub(super) earlier: usize,
    pub(super) reached: bool,
    pub(super) acts: Vec<Act>,
}

pub(super) struct Attempt {
    /// Of its place in the page.
    pub(super) place: String,
    pub(super) number: i32,
    pub(super) look: Look,
    pub(super) id: String,
    pub(super) times: String,
    pub(super) moments: Vec<(&'static str, String, String)>,
    pub(super) worker: String,
    pub(super) polls: i32,
    pub(super) reason: String,
    pub(super) data: Vec<Payload>,
    pub(super) logs: Vec<(String, String)>,
    /// Where all of it is.
    pub(super) json: String,
    /// The run that it stands for.
    pub(super) child: Option<(String, String)>,
}

/// The step of this reference name; none where the definition has none.
pub(super) async fn chosen(seen: &Seen<'_>, name: &str) -> Result<Option<Chosen>, Refusal> {
    let step = seen.step(name);
    let all: Vec<&TaskExecution> =
        seen.run.tasks.iter().filter(|task| task.reference_task_name == name).collect();
    if step.is_none() && all.is_empty() {
        return Ok(None);
    }
    let mut attempts = Vec::new();
    for task in all.iter().rev().take(ATTEMPTS_MAX) {
        attempts.push(attempt(seen, task).await?);
    }
    Ok(Some(Chosen {
        name: name.to_owned(),
        kind: kind(step, &all),
        task: step.map(|step| short(&step.name, 120)).unwrap_or_default(),
        description: step
            .and_then(|step| step.description.as_deref())
            .map(|text| short(text, 1_000))
            .unwrap_or_default(),
        earlier: all.len().saturating_sub(ATTEMPTS_MAX),
        reached: !all.is_empty(),
        acts: on_task(seen.visit, seen.run, (name, all.last().copied())),
        attempts,
    }))
}

fn kind(step: Option<&WorkflowTask>, all: &[&TaskExecution]) -> String {
    let of_step = step.map(|step| step.task_type.as_str());
    short(
        of_step.or_else(|| all.first().map(|task| task.task_type.as_str())).unwrap_or_default(),
        80,
    )
}

async fn attempt(seen: &Seen<'_>, task: &TaskExecution) -> Result<Attempt, Refusal> {
    let masked = &seen.visit.app.masked;
    let lines = seen.visit.app.engine.task_log(&task_id(&task.task_id)?).await?;
    let skipped = lines.len().saturating_sub(LINES_MAX);
    let logs = lines.iter().skip(skipped);
    let logs = logs.map(|line| (moment(line.created_time), short(&line.log, 2_000)));
    let moments = [
        ("Scheduled", Some(task.scheduled_time)),
        ("Begun", task.start_time),
        ("Ended", task.end_time),
    ];
    let moments = moments.into_iter().filter_map(|(what, time)| Some((what, time?)));
    let child = task.output_data.get("subWorkflowId").and_then(serde_json::Value::as_str);
    let child = child.filter(|id| id.parse::<oms_engine::WorkflowId>().is_ok());
    let path = format!("/runs/{}/json", seen.run.workflow_id);
    let place = format!("{}-{}", task.seq, task.retry_count);
    Ok(Attempt {
        number: i32::from(task.retry_count) + 1,
        look: Look::of_task(task),
        id: task.task_id.clone(),
        times: seen.times(task).text(),
        moments: moments.map(|(what, time)| (what, moment(time), exact(time))).collect(),
        worker: short(task.worker_id.as_deref().unwrap_or_default(), 120),
        polls: task.poll_count,
        reason: short(task.reason_for_incompletion.as_deref().unwrap_or_default(), 4_000),
        data: vec![
            Payload::of(("Input", &place), task.input_data.clone(), masked),
            Payload::of(("Output", &place), task.output_data.clone(), masked),
        ],
        logs: logs.collect(),
        place,
        json: seen.visit.link(&path, &[("task", &task.task_id)]),
        child: child.map(|id| (id.to_owned(), seen.visit.link(&format!("/runs/{id}"), &[]))),
    })
}
