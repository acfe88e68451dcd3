//! One run.

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use oms_engine::chrono::{DateTime, Utc};
use oms_engine::{Execution, Explanation, OperatorAction, TaskDef, TaskExecution, WorkflowTask};
use serde_json::Value;

use super::Answer;
use super::act::{Act, on_run};
use super::entry::Visit;
use super::fact::{Fact, fact};
use super::forks::{Last, forks, last, steps_in};
use super::frame::{Frame, html};
use super::look::Look;
use super::payload::Payload;
use super::picture::picture;
use super::spent::Spent;
use super::task::{Chosen, chosen};
use super::text::{exact, moment, now, number, segment, short, span};
use super::timeline::{Span, Times};
use crate::graph::Forks;
use crate::mask::mask;
use crate::refusal::Refusal;
use crate::request::task_id;
use crate::shown::{plain_name, task_json, workflow_json};

/// Attempts that one page lists.
const ROWS_MAX: usize = 500;
/// Open tasks of which it says what they wait for.
const WHY_MAX: usize = 20;

#[derive(Template)]
#[template(path = "page/run.html")]
struct RunPage {
    frame: Frame,
    id: String,
    name: String,
    version: i32,
    look: Look,
    acts: Vec<Act>,
    operations: Vec<OperatorAction>,
    reason: String,
    /// Why it stands where it stands, or where its time went.
    why: String,
    /// What its open tasks wait for, where there are several.
    waits: Vec<String>,
    spent: Spent,
    facts: Vec<Fact>,
    /// Markup.
    graph: String,
    rows: Vec<Row>,
    tasks: String,
    newer: Option<String>,
    older: Option<String>,
    chosen: Option<Chosen>,
    data: Vec<Payload>,
    json: String,
}

struct Row {
    seq: usize,
    name: String,
    link: String,
    kind: String,
    look: Look,
    attempt: i32,
    times: String,
    /// Markup.
    bar: String,
    /// Whether the critical path goes by it.
    critical: bool,
    worker: String,
    reason: String,
    chosen: bool,
}

/// What is looked at.
pub(super) struct Seen<'a> {
    pub(super) visit: &'a Visit,
    pub(super) run: &'a Execution,
    pub(super) defs: BTreeMap<String, TaskDef>,
    pub(super) now: DateTime<Utc>,
    pub(super) spent: &'a Spent,
    pub(super) last: &'a Last<'a>,
    /// What dynamic forks have opened.
    pub(super) forks: &'a Forks,
    /// Of the definition, and of what dynamic forks have opened, by reference name.
    steps: HashMap<&'a str, &'a WorkflowTask>,
}

fn steps<'a>(run: &'a Execution, forks: &'a Forks) -> HashMap<&'a str, &'a WorkflowTask> {
    let opened = forks.values().flat_map(|opened| &opened.branches).flat_map(steps_in);
    let all = opened.chain(run.definition.all_tasks());
    all.map(|step| (step.task_reference_name.as_str(), step)).collect()
}

impl Seen<'_> {
    /// The page with another task looked at.
    pub(super) fn link_to(&self, reference_name: &str) -> String {
        let path = format!("/runs/{}", self.run.workflow_id);
        format!("{}#task", self.visit.link(&path, &[("task", reference_name)]))
    }

    /// The step of a name, or of a name with turns of loops.
    pub(super) fn step(&self, name: &str) -> Option<&WorkflowTask> {
        self.steps.get(name).or_else(|| self.steps.get(plain_name(name).0)).copied()
    }

    /// Whether it is one of the runs that `oms-tasks` starts for an order, named by its correlation id.
    fn is_of_order(&self) -> bool {
        self.visit.orders && self.run.workflow_name.starts_with("order_")
    }

    pub(super) fn times(&self, task: &TaskExecution) -> Times {
        let step = self.step(&task.reference_task_name);
        let def = step.map(|step| step.effective_task_def(&self.defs));
        Times::of(task, def.as_deref().filter(|_| task.retry_count > 0), self.now)
    }
}

pub(super) async fn run(visit: Visit) -> Answer {
    let id = visit.id()?;
    let engine = &visit.app.engine;
    let (run, defs, operations, explained) = tokio::join!(
        engine.get(id),
        engine.task_definitions(),
        engine.operator_actions(id),
        engine.explain(id)
    );
    let (mut run, operations) = (run?, operations?);
    // Only how a back-off is told from a wait hangs on them.
    let defs = defs.unwrap_or_default().into_iter().map(|def| (def.name.clone(), def)).collect();
    let take = |value: &mut Value| std::mem::take(value);
    let data = [
        ("Input", take(&mut run.input)),
        ("Output", take(&mut run.output)),
        ("Variables", take(&mut run.variables)),
    ];
    let data = data.map(|(title, value)| Payload::of((title, "run"), value, &visit.app.masked));
    // A run that is gone meanwhile has none.
    let spent = explained.as_ref().map(Spent::of).unwrap_or_default();
    let name = visit.asked.text("task").map(str::to_owned).or_else(|| of_interest(&run));
    let last = last(&run);
    let forks = forks(&run, &last, name.as_deref().unwrap_or_default());
    let seen = Seen {
        visit: &visit,
        run: &run,
        defs,
        now: now(),
        spent: &spent,
        last: &last,
        forks: &forks,
        steps: steps(&run, &forks),
    };
    let chosen = match &name {
        Some(name) => chosen(&seen, name).await?,
        None => None,
    };
    let from: usize = visit.asked.number("from")?.unwrap_or(0);
    let path = format!("/runs/{id}");
    let page = |from: usize| visit.link(&path, &[("from", &from.to_string())]);
    let name = name.unwrap_or_default();
    let page = RunPage {
        frame: Frame::of(&visit, "runs"),
        id: id.to_string(),
        name: short(&run.workflow_name, 200),
        version: run.workflow_version,
        look: Look::of_run(run.status),
        acts: on_run(&visit, &run),
        operations,
        reason: short(run.reason_for_incompletion.as_deref().unwrap_or_default(), 2_000),
        why: explained.as_ref().map(|all| short(&all.summary, 400)).unwrap_or_default(),
        waits: explained.as_ref().map(waits).unwrap_or_default(),
        facts: facts(&seen),
        graph: picture(&seen, &name),
        rows: rows(&seen, &name, from),
        tasks: number(run.tasks.len()),
        newer: (from > 0).then(|| page(from.saturating_sub(ROWS_MAX))),
        older: (run.tasks.len() > from + ROWS_MAX).then(|| page(from + ROWS_MAX)),
        chosen,
        data: data.into(),
        json: visit.link(&format!("{path}/json"), &[]),
        spent,
    };
    html(&page)
}

/// The task that whoever opens the page most likely looks for: the last that failed.
fn of_interest(run: &Execution) -> Option<String> {
    if !run.status.is_terminal() || run.status.as_str() == "COMPLETED" {
        return None;
    }
    let mut all = run.tasks.iter().rev();
    let bad = all.find(|task| {
        let status = task.status;
        status.is_terminal() && !status.is_successful() && status.as_str() != "CANCELED"
    });
    bad.map(|task| task.reference_task_name.clone())
}

/// A sentence of each open task; of one alone the summary has it.
fn waits(explained: &Explanation) -> Vec<String> {
    let open = explained.open_tasks.iter().map(|task| short(&task.summary, 400));
    open.take(if explained.open_tasks.len() > 1 { WHY_MAX } else { 0 }).collect()
}

fn facts(seen: &Seen<'_>) -> Vec<Fact> {
    let run = seen.run;
    let time = |label: &'static str, time: DateTime<Utc>| Fact {
        time: Some(exact(time)),
        ..fact(label, moment(time))
    };
    let other = |label: &'static str, id: String| {
        let link = Some(seen.visit.link(&format!("/runs/{id}"), &[]));
        Fact { link, ..fact(label, id) }
    };
    let until = run.end_time.unwrap_or(seen.now);
    let took = span((until - run.create_time).num_milliseconds());
    let mut facts = vec![time("Started", run.create_time)];
    facts.extend(run.end_time.map(|end| time("Ended", end)));
    facts.push(fact(if run.end_time.is_some() { "Took" } else { "For" }, took));
    facts.extend(run.last_retried_time.map(|last| time("Last retried or resumed", last)));
    if let Some(id) = &run.correlation_id {
        let link = Some(seen.visit.link("/", &[("correlation", id)]));
        facts.push(Fact { link, ..fact("Correlation id", short(id, 200)) });
    }
    if let Some(id) = run.correlation_id.as_ref().filter(|_| seen.is_of_order()) {
        let link = Some(seen.visit.link(&format!("/orders/{}", segment(id)), &[]));
        facts.push(Fact { link, ..fact("Order", short(id, 200)) });
    }
    facts.extend(run.idempotency_key.as_ref().map(|key| fact("Idempotency key", short(key, 200))));
    facts.extend(run.parent_workflow_id.map(|id| other("Started by", id.to_string())));
    facts.extend(run.failure_workflow_id.map(|id| other("Failure workflow", id.to_string())));
    if run.priority != 0 {
        facts.push(fact("Priority", run.priority.to_string()));
    }
    if run.epoch != 0 {
        facts.push(fact("Restarted", format!("{} times", run.epoch)));
    }
    if !run.task_to_domain.is_empty() {
        let each = run.task_to_domain.iter().map(|(task, domain)| format!("{task}: {domain}"));
        facts.push(fact("Domains", short(&each.collect::<Vec<_>>().join(", "), 400)));
    }
    if let Some(end) = run.compensating {
        facts.push(fact("Being undone", format!("then it ends {end}")));
    }
    facts
}

fn rows(seen: &Seen<'_>, name: &str, from: usize) -> Vec<Row> {
    let run = seen.run;
    let first = run.tasks.iter().map(|task| task.scheduled_time).min();
    let begun = first.unwrap_or(run.create_time).min(run.create_time);
    let within = Span { from: begun, to: run.end_time.unwrap_or(seen.now) };
    let shown = run.tasks.iter().skip(from).take(ROWS_MAX);
    let row = |task: &TaskExecution| {
        let times = seen.times(task);
        Row {
            seq: task.seq,
            name: short(&task.reference_task_name, 80),
            link: seen.link_to(&task.reference_task_name),
            kind: short(&task.task_type, 60),
            look: Look::of_task(task),
            attempt: i32::from(task.retry_count) + 1,
            times: times.text(),
            bar: times.bar(task.scheduled_time, within),
            critical: seen.spent.goes_by(task),
            worker: short(task.worker_id.as_deref().unwrap_or_default(), 60),
            reason: short(task.reason_for_incompletion.as_deref().unwrap_or_default(), 160),
            chosen: task.reference_task_name == name,
        }
    };
    shown.map(row).collect()
}

/// A run, or one attempt of it, as the API shows it.
pub(super) async fn json(visit: Visit) -> Answer {
    let (id, app) = (visit.id()?, &visit.app);
    let run = app.engine.get(id).await?;
    let shown = match visit.asked.text("task") {
        None => serde_json::to_vec(&workflow_json(run, true)?),
        Some(text) => {
            let asked = task_id(text)?.to_string();
            let task = run.tasks.iter().find(|task| task.task_id == asked);
            let task =
                task.ok_or_else(|| Refusal::not_found(format!("there is no task {text}")))?;
            serde_json::to_vec(&task_json(&run, task))
        }
    };
    let bytes = shown.map_err(|error| Refusal::busy(format!("it cannot be written: {error}")))?;
    let kind = HeaderValue::from_static("application/json");
    let response = ([(CONTENT_TYPE, kind)], bytes).into_response();
    if app.masked.is_empty() { Ok(response) } else { Ok(mask(&app.masked, response).await) }
}
