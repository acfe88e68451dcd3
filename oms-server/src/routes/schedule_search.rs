//! Searching schedules and their fires.

use axum::extract::State;
use oms_engine::chrono::{DateTime, TimeDelta, Utc};
use oms_engine::definition::{WorkflowSchedule, next_fires};
use oms_engine::{Error, FireState, ScheduleFire, SortOrder, TimeRange};

use super::search::{SUMMARIES_MAX, page};
use super::{Answer, Route, json as answer, route};
use crate::app::App;
use crate::query::{Paging, clauses, unknown, unsorted, wrong};
use crate::refusal::Refusal;
use crate::request::Asked;

/// Fires that a search looks at, the newest; of each schedule 100 are kept.
const FIRES_MAX: usize = 100_000;
/// Conductor's bound.
const NEXT_MAX: usize = 5;

const FIELDS: [&str; 5] = ["scheduleName", "state", "scheduledTime", "workflowName", "executionId"];
const SORTS: [&str; 5] =
    ["scheduledTime", "executionTime", "scheduleName", "workflowName", "state"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/scheduler/schedules/search" schedules),
        route!(GET "/api/scheduler/search/executions" fires),
        route!(GET "/api/scheduler/nextFewSchedules" next),
    ]
}

fn sort_by_key<T, K: Ord>(all: &mut [T], order: SortOrder, key: impl Fn(&T) -> K) {
    all.sort_by_key(key);
    if order == SortOrder::Descending {
        all.reverse();
    }
}

async fn schedules(State(app): State<App>, asked: Asked) -> Answer {
    let paging = Paging::read(&asked, SUMMARIES_MAX)?;
    let part = |key: &str| asked.text(key).map(str::to_lowercase);
    let (name, workflow) = (part("scheduleName"), part("workflowName"));
    let paused = asked.text("paused").map(|_| asked.flag("paused", false)).transpose()?;
    let words: Vec<String> = paging.words.iter().map(|word| word.to_lowercase()).collect();
    let fits = |schedule: &WorkflowSchedule| {
        let own = schedule.name.to_lowercase();
        let starts = schedule.start_workflow_request.name.to_lowercase();
        name.as_ref().is_none_or(|name| own.contains(name))
            && workflow.as_ref().is_none_or(|workflow| starts.contains(workflow))
            && paused.is_none_or(|paused| schedule.paused == paused)
            && words.iter().all(|word| own.contains(word) || starts.contains(word))
    };
    let mut all = app.engine.schedules(None).await?;
    all.retain(fits);
    if let Some((field, order)) = &paging.sort {
        match field.as_str() {
            "name" => sort_by_key(&mut all, *order, |schedule| schedule.name.clone()),
            "createTime" => sort_by_key(&mut all, *order, |schedule| schedule.create_time),
            "updatedTime" => sort_by_key(&mut all, *order, |schedule| schedule.updated_time),
            "nextRunTime" => sort_by_key(&mut all, *order, |schedule| schedule.next_run_time),
            other => {
                let there = ["name", "createTime", "updatedTime", "nextRunTime"];
                return Err(unsorted(other, &there));
            }
        }
    }
    let (hits, shown) = paging.page(all);
    page(hits, &shown)
}

/// Which fires are searched for.
#[derive(Default)]
struct Wanted {
    schedules: Option<Vec<String>>,
    states: Option<Vec<FireState>>,
    times: TimeRange,
    workflow: Option<Vec<String>>,
    executions: Option<Vec<String>>,
}

impl Wanted {
    fn read(asked: &Asked) -> Result<Self, Refusal> {
        let mut wanted = Self::default();
        for clause in clauses(asked.text("query").unwrap_or_default())? {
            match clause.field.as_str() {
                "scheduleName" => clause.once(&mut wanted.schedules, clause.texts()?)?,
                "state" => {
                    let states: Result<Vec<FireState>, Refusal> =
                        clause.texts()?.iter().map(|text| state(text)).collect();
                    clause.once(&mut wanted.states, states?)?;
                }
                "scheduledTime" => clause.narrow(&mut wanted.times)?,
                "workflowName" => {
                    let names = clause.texts()?.iter().map(|name| name.to_lowercase()).collect();
                    clause.once(&mut wanted.workflow, names)?;
                }
                "executionId" => clause.once(&mut wanted.executions, clause.texts()?)?,
                other => return Err(unknown(other, &FIELDS)),
            }
        }
        Ok(wanted)
    }

    fn fits(&self, fire: &ScheduleFire) -> bool {
        let among = |list: &Option<Vec<String>>, text: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|one| one == text))
        };
        let starts = fire.workflow_name.to_lowercase();
        among(&self.schedules, &fire.schedule_name)
            && among(&self.executions, &fire.execution_id)
            && self.states.as_ref().is_none_or(|states| states.contains(&fire.state))
            && self.times.from.is_none_or(|from| fire.scheduled_time >= from)
            && self.times.before.is_none_or(|before| fire.scheduled_time < before)
            && (self.workflow.as_ref())
                .is_none_or(|names| names.iter().any(|name| starts.contains(name)))
    }
}

fn state(text: &str) -> Result<FireState, Refusal> {
    match text {
        "EXECUTED" => Ok(FireState::Executed),
        "FAILED" => Ok(FireState::Failed),
        "SKIPPED" => Ok(FireState::Skipped),
        other => Err(wrong(format!("\"state\" has {other:?}, none of EXECUTED, FAILED, SKIPPED"))),
    }
}

async fn fires(State(app): State<App>, asked: Asked) -> Answer {
    let paging = Paging::read(&asked, SUMMARIES_MAX)?;
    let wanted = Wanted::read(&asked)?;
    let words: Vec<String> = paging.words.iter().map(|word| word.to_lowercase()).collect();
    let mut all = match wanted.schedules.as_deref() {
        Some([one]) => app.engine.schedule_fires(one, FIRES_MAX).await?,
        _ => app.engine.all_schedule_fires(FIRES_MAX).await?,
    };
    all.retain(|fire| {
        let text = format!("{} {}", fire.schedule_name, fire.workflow_name).to_lowercase();
        wanted.fits(fire) && words.iter().all(|word| text.contains(word))
    });
    if let Some((field, order)) = &paging.sort {
        match field.as_str() {
            "scheduledTime" => sort_by_key(&mut all, *order, |fire| fire.scheduled_time),
            "executionTime" => sort_by_key(&mut all, *order, |fire| fire.execution_time),
            "scheduleName" => sort_by_key(&mut all, *order, |fire| fire.schedule_name.clone()),
            "workflowName" => sort_by_key(&mut all, *order, |fire| fire.workflow_name.clone()),
            "state" => sort_by_key(&mut all, *order, |fire| format!("{:?}", fire.state)),
            other => return Err(unsorted(other, &SORTS)),
        }
    }
    let (hits, shown) = paging.page(all);
    page(hits, &shown)
}

async fn next(State(app): State<App>, asked: Asked) -> Answer {
    let Some(cron) = asked.text("cronExpression") else {
        return Err(Refusal::argument("cronExpression", "is missing"));
    };
    let count = asked.number("limit")?.unwrap_or(NEXT_MAX).min(NEXT_MAX);
    let time = |key: &str| -> Result<Option<DateTime<Utc>>, Refusal> {
        let Some(ms) = asked.number::<i64>(key)?.filter(|ms| *ms > 0) else { return Ok(None) };
        let time = DateTime::from_timestamp_millis(ms);
        time.map(Some).ok_or_else(|| Refusal::argument(key, "is no time"))
    };
    let (start, end) = (time("scheduleStartTime")?, time("scheduleEndTime")?);
    let mut fires = app.engine.next_fires(cron, "UTC", count).await?;
    if let Some(start) = start {
        let behind = start - TimeDelta::milliseconds(1);
        let later = next_fires(cron, "UTC", behind, count)
            .map_err(|faults| Error::InvalidDefinition { faults })?;
        // Both are the rest of one row of times: the shorter rest counts.
        fires = fires.max(later);
    }
    fires.retain(|fire| end.is_none_or(|end| *fire <= end));
    answer(&fires.iter().map(DateTime::timestamp_millis).collect::<Vec<i64>>())
}
