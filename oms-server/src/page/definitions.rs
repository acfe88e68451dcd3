//! Definitions, with their pictures and what validation says of them.

use std::collections::BTreeSet;

use askama::Template;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use oms_engine::WorkflowDef;
use oms_engine::definition::validate;
use serde_json::Value;

use super::Answer;
use super::entry::Visit;
use super::frame::{Frame, html};
use super::payload::Payload;
use super::text::{number, segment, short};
use crate::graph::{Mark, Node, layout, within};
use crate::refusal::Refusal;
use crate::shown::definition_json;

#[derive(Template)]
#[template(path = "page/definitions.html")]
struct Definitions {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    version: i32,
    link: String,
    runs: String,
    steps: String,
    description: String,
    owner: String,
}

#[derive(Template)]
#[template(path = "page/definition.html")]
struct Definition {
    frame: Frame,
    name: String,
    version: i32,
    description: String,
    /// Markup.
    graph: String,
    faults: Vec<(String, String)>,
    notices: Vec<String>,
    versions: Vec<(i32, String, bool)>,
    runs: String,
    start: String,
    text: Payload,
    json: String,
}

fn path(name: &str, version: i32) -> String {
    format!("/definitions/{}/{version}", segment(name))
}

pub(super) async fn list(visit: Visit) -> Answer {
    let mut all = visit.app.engine.workflow_definitions().await?;
    all.sort_by(|a, b| a.name.cmp(&b.name).then(b.version.cmp(&a.version)));
    let row = |def: WorkflowDef| Row {
        link: visit.link(&path(&def.name, def.version), &[]),
        runs: visit.link("/", &[("name", &def.name)]),
        name: short(&def.name, 120),
        version: def.version,
        steps: number(def.all_tasks().len()),
        description: short(def.description.as_deref().unwrap_or_default(), 200),
        owner: short(def.owner_email.as_deref().unwrap_or_default(), 80),
    };
    html(&Definitions {
        frame: Frame::of(&visit, "definitions"),
        rows: all.into_iter().map(row).collect(),
    })
}

async fn found(visit: &Visit) -> Result<WorkflowDef, Refusal> {
    let version = visit.asked.name(1).parse();
    let version = version.map_err(|_| Refusal::argument("version", "is no number"))?;
    Ok(visit.app.engine.workflow_definition(visit.asked.name(0), Some(version)).await?)
}

pub(super) async fn one(visit: Visit) -> Answer {
    let def = found(&visit).await?;
    let engine = &visit.app.engine;
    let (all, tasks) = tokio::join!(engine.workflow_definitions(), engine.task_definitions());
    let tasks = tasks?.into_iter().map(|task| (task.name.clone(), task)).collect();
    let (faults, notices) = match validate(&def, &tasks) {
        Ok(notices) => (Vec::new(), notices.iter().map(ToString::to_string).collect()),
        Err(faults) => {
            let each = faults.iter().map(|fault| (fault.path.clone(), fault.message.clone()));
            (each.collect(), Vec::new())
        }
    };
    let mut versions: Vec<i32> =
        all?.iter().filter(|other| other.name == def.name).map(|other| other.version).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let link = |version: i32| visit.link(&path(&def.name, version), &[]);
    let versions = versions.into_iter().map(|n| (n, link(n), n == def.version));
    let written: Value = serde_json::from_str(definition_json(&def)?.get())
        .map_err(|error| Refusal::busy(format!("it cannot be read: {error}")))?;
    let version = def.version.to_string();
    html(&Definition {
        frame: Frame::of(&visit, "definitions"),
        name: short(&def.name, 200),
        version: def.version,
        description: short(def.description.as_deref().unwrap_or_default(), 2_000),
        graph: within(&layout(&def), &format!("{} version {version}", def.name), &plain),
        faults,
        notices,
        versions: versions.collect(),
        runs: visit.link("/", &[("name", &def.name)]),
        start: visit.link("/start", &[("name", &def.name), ("version", &version)]),
        // Written to be read back: nothing is masked.
        text: Payload::of(("Definition", "text"), written, &BTreeSet::new()),
        json: visit.link(&format!("{}/json", path(&def.name, def.version)), &[]),
    })
}

fn plain(_: &Node) -> Mark {
    Mark { class: "plain-node", ..Mark::default() }
}

pub(super) async fn json(visit: Visit) -> Answer {
    let text = definition_json(&found(&visit).await?)?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, kind)], text.get().to_owned()).into_response())
}
