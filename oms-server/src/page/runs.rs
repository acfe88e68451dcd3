//! The list of runs.

use askama::Template;
use futures_util::future::join_all;
use oms_engine::chrono::Duration;
use oms_engine::{
    Error, Found, FoundWorkflow, TextQuery, TimeRange, WorkflowId, WorkflowSearch, WorkflowStatus,
};

use super::Answer;
use super::entry::{Visit, to};
use super::frame::{Frame, html};
use super::look::Look;
use super::text::{exact, moment, now, number, short, span};
use crate::refusal::Refusal;

/// Runs of a page.
const SIZE: usize = 50;
/// So many hits behind the page are counted.
const COUNTED: usize = 10_000;
/// What is asked for beside the status.
const FILTERS: [&str; 5] = ["name", "correlation", "words", "since", "top"];

#[derive(Template)]
#[template(path = "page/runs.html")]
struct Runs {
    frame: Frame,
    tabs: Vec<Tab>,
    name: String,
    correlation: String,
    words: String,
    sinces: Vec<Since>,
    top: bool,
    status: Option<&'static str>,
    filtered: bool,
    /// Why there is no list.
    refused: Option<String>,
    total: String,
    rows: Vec<Row>,
    /// Runs of it that may still change.
    watched: String,
    newer: Option<String>,
    older: Option<String>,
}

struct Tab {
    look: Look,
    label: &'static str,
    count: Option<String>,
    link: String,
    chosen: bool,
}

struct Since {
    value: &'static str,
    label: &'static str,
    chosen: bool,
}

struct Row {
    look: Look,
    link: String,
    name: String,
    version: i32,
    id: String,
    correlation: String,
    started: String,
    started_exact: String,
    took: String,
    reason: String,
}

const SINCES: [(&str, &str, i64); 5] = [
    ("", "any time", 0),
    ("1h", "the last hour", 1),
    ("24h", "the last day", 24),
    ("7d", "the last week", 168),
    ("30d", "the last 30 days", 720),
];

fn status_of(visit: &Visit) -> Result<Option<WorkflowStatus>, Refusal> {
    let Some(text) = visit.asked.text("status") else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Refusal::argument("status", error))
}

/// What is asked for, in any status.
fn search(visit: &Visit) -> Result<WorkflowSearch, Refusal> {
    let mut search = WorkflowSearch::default();
    let like = |text: &str| match text.contains('*') {
        true => TextQuery::Like(text.to_owned()),
        false => TextQuery::OneOf(vec![text.to_owned()]),
    };
    search.name = visit.asked.text("name").map(like);
    search.correlation_id = visit.asked.text("correlation").map(like);
    let words = visit.asked.text("words").unwrap_or_default().split_whitespace();
    search.words = words.map(str::to_owned).collect();
    search.unsearched_fields = visit.app.masked.iter().cloned().collect();
    search.top_level_only = visit.asked.text("top").is_some();
    if let Some(since) = visit.asked.text("since") {
        let known = SINCES.iter().find(|(value, ..)| *value == since);
        let (_, _, hours) = known.ok_or_else(|| Refusal::argument("since", "is not known"))?;
        let from = Some(now() - Duration::hours(*hours));
        search.created = TimeRange { from, before: None };
    }
    Ok(search)
}

pub(super) async fn runs(visit: Visit) -> Answer {
    // Who looks for an id alone wants that run.
    let words = visit.asked.text("words").map(str::trim);
    if let Some(id) = words.and_then(|words| words.parse::<WorkflowId>().ok()) {
        return Ok(to(&visit.link(&format!("/runs/{id}"), &[])));
    }
    let status = status_of(&visit)?;
    let start: usize = visit.asked.number("start")?.unwrap_or(0);
    let any = search(&visit)?;
    let counts = counts(&visit, &any);
    let mut wanted = any.clone();
    wanted.statuses = status.map(|status| vec![status]);
    (wanted.start, wanted.size) = (start, SIZE);
    let (found, counts) = tokio::join!(visit.app.engine.search(&wanted), counts);
    let (found, refused) = match found {
        Ok(found) => (Some(found), None),
        Err(error @ Error::TooWide { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    html(&listed(&visit, status, start, (found, refused), counts))
}

/// How many runs there are in each status. Words are looked for run by run: not that often.
async fn counts(visit: &Visit, wanted: &WorkflowSearch) -> Vec<Option<String>> {
    if !wanted.words.is_empty() {
        return Vec::new();
    }
    let each = WorkflowStatus::ALL.iter().map(|status| {
        let mut search = wanted.clone();
        (search.statuses, search.size) = (Some(vec![*status]), 1);
        async move {
            let found = visit.app.engine.search(&search).await.ok()?;
            Some(counted(found.total_hits, 1))
        }
    });
    join_all(each).await
}

fn counted(hits: usize, passed: usize) -> String {
    if hits >= passed + COUNTED { format!("{}+", number(hits)) } else { number(hits) }
}

fn listed(
    visit: &Visit,
    status: Option<WorkflowStatus>,
    start: usize,
    (found, refused): (Option<Found<FoundWorkflow>>, Option<String>),
    counts: Vec<Option<String>>,
) -> Runs {
    let text = |key: &str| visit.asked.text(key).unwrap_or_default().to_owned();
    let kept: Vec<(&str, &str)> =
        FILTERS.iter().filter_map(|key| Some((*key, visit.asked.text(key)?))).collect();
    let filtered = !kept.is_empty();
    let link = |status: Option<WorkflowStatus>, start: usize| {
        let mut parameters = kept.clone();
        parameters.extend(status.map(|status| ("status", status.as_str())));
        let start = start.to_string();
        if start != "0" {
            parameters.push(("start", &start));
        }
        visit.link("/", &parameters)
    };
    let mut counts = counts.into_iter();
    let mut tabs = vec![Tab {
        look: Look::NONE,
        label: "all",
        count: None,
        link: link(None, 0),
        chosen: status.is_none(),
    }];
    tabs.extend(WorkflowStatus::ALL.iter().map(|&each| {
        let look = Look::of_run(each);
        Tab {
            look,
            label: look.word,
            count: counts.next().flatten(),
            link: link(Some(each), 0),
            chosen: status == Some(each),
        }
    }));
    let total_hits = found.as_ref().map_or(0, |found| found.total_hits);
    let results = found.map(|found| found.results).unwrap_or_default();
    let live = results.iter().filter(|run| !run.summary.status.is_terminal());
    let watched: Vec<String> = live.map(|run| run.summary.workflow_id.to_string()).collect();
    let sinces = SINCES.iter().map(|&(value, label, _)| {
        let chosen = visit.asked.text("since").unwrap_or_default() == value;
        Since { value, label, chosen }
    });
    Runs {
        frame: Frame::of(visit, "runs"),
        tabs,
        name: text("name"),
        correlation: text("correlation"),
        words: text("words"),
        sinces: sinces.collect(),
        top: visit.asked.text("top").is_some(),
        status: status.map(WorkflowStatus::as_str),
        filtered,
        refused,
        total: counted(total_hits, start + SIZE),
        watched: watched.join(","),
        newer: (start > 0).then(|| link(status, start.saturating_sub(SIZE))),
        older: (total_hits > start + SIZE).then(|| link(status, start + SIZE)),
        rows: results.into_iter().map(|run| row(visit, run)).collect(),
    }
}

fn row(visit: &Visit, run: FoundWorkflow) -> Row {
    let run = run.summary;
    let until = run.end_time.unwrap_or_else(now);
    Row {
        look: Look::of_run(run.status),
        link: visit.link(&format!("/runs/{}", run.workflow_id), &[]),
        name: short(&run.workflow_type, 120),
        version: run.version,
        id: run.workflow_id.to_string(),
        correlation: short(&run.correlation_id.unwrap_or_default(), 80),
        started: moment(run.start_time),
        started_exact: exact(run.start_time),
        took: span((until - run.start_time).num_milliseconds()),
        reason: short(&run.reason_for_incompletion.unwrap_or_default(), 200),
    }
}
