//! Starting a run.

use askama::Template;
use oms_engine::StartRequest;

use super::Answer;
use super::act::{engine_for, object};
use super::entry::{Visit, to};
use super::frame::{Frame, html};
use crate::refusal::Refusal;

#[derive(Template)]
#[template(path = "page/start.html")]
struct Start {
    frame: Frame,
    /// Names of definitions.
    names: Vec<String>,
    name: String,
    version: String,
    asks_who: bool,
}

pub(super) async fn form(visit: Visit) -> Answer {
    let all = visit.app.engine.workflow_definitions().await?;
    let mut names: Vec<String> = all.into_iter().map(|def| def.name).collect();
    names.sort();
    names.dedup();
    let text = |key: &str| visit.asked.text(key).unwrap_or_default().to_owned();
    html(&Start {
        frame: Frame::of(&visit, "runs"),
        names,
        name: text("name"),
        version: text("version"),
        asks_who: visit.caller.is_none(),
    })
}

pub(super) async fn start(visit: Visit) -> Answer {
    let engine = engine_for(&visit)?;
    let name = visit.field("name").ok_or_else(|| Refusal::argument("name", "is missing"))?;
    let mut request = StartRequest::new(name).input(object(&visit, "input")?);
    if let Some(version) = visit.field("version") {
        let number = version.parse();
        request =
            request.version(number.map_err(|_| Refusal::argument("version", "is no number"))?);
    }
    if let Some(id) = visit.field("correlation") {
        request = request.correlation_id(id);
    }
    let started = engine.start(request).await?;
    Ok(to(&visit.link(&format!("/runs/{}", started.id), &[])))
}
