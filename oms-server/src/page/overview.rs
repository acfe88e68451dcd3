//! Engines and schedules.

use askama::Template;
use oms_engine::chrono::{DateTime, Utc};

use super::Answer;
use super::entry::Visit;
use super::frame::{Frame, html};
use super::look::Look;
use super::text::{count, exact, moment, of, short};

/// Fires of schedules that are listed.
const FIRES: usize = 50;

#[derive(Template)]
#[template(path = "page/engines.html")]
struct Engines {
    frame: Frame,
    rows: Vec<EngineRow>,
}

struct EngineRow {
    look: Look,
    name: String,
    session: i64,
    started: String,
    started_exact: String,
    silent: String,
    held: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "page/schedules.html")]
struct Schedules {
    frame: Frame,
    rows: Vec<ScheduleRow>,
    fires: Vec<Fire>,
}

struct ScheduleRow {
    look: Look,
    name: String,
    when: String,
    zone: String,
    workflow: String,
    next: String,
    why: String,
}

struct Fire {
    time: String,
    time_exact: String,
    schedule: String,
    look: Look,
    run: Option<(String, String)>,
    reason: String,
}

pub(super) async fn engines(visit: Visit) -> Answer {
    let all = visit.app.engine.engines().await?;
    let row = |engine: oms_engine::EngineState| {
        let held = engine.held.into_iter();
        EngineRow {
            look: Look::of_engine(engine.dead_since.is_some(), engine.silent_for),
            name: short(&engine.name, 120),
            session: engine.session,
            started: moment(engine.started),
            started_exact: exact(engine.started),
            silent: of(engine.silent_for),
            held: held.map(|(queue, n)| (short(&queue, 120), count(n))).collect(),
        }
    };
    let frame = Frame::of(&visit, "engines");
    html(&Engines { frame, rows: all.into_iter().map(row).collect() })
}

pub(super) async fn schedules(visit: Visit) -> Answer {
    let engine = &visit.app.engine;
    let (all, fires) = tokio::join!(engine.schedules(None), engine.all_schedule_fires(FIRES));
    let next = |ms: Option<i64>| {
        let time = ms.and_then(DateTime::<Utc>::from_timestamp_millis);
        time.map(moment).unwrap_or_default()
    };
    let row = |schedule: oms_engine::definition::WorkflowSchedule| {
        let several = schedule.cron_schedules.iter().map(|one| one.cron_expression.clone());
        let several: Vec<String> = several.collect();
        let when = schedule.cron_expression.unwrap_or_else(|| several.join(", "));
        ScheduleRow {
            look: Look::of_schedule(schedule.paused),
            name: short(&schedule.name, 120),
            when: short(&when, 200),
            zone: schedule.zone_id.unwrap_or_else(|| "UTC".to_owned()),
            workflow: short(&schedule.start_workflow_request.name, 120),
            next: if schedule.paused { String::new() } else { next(schedule.next_run_time) },
            why: short(schedule.paused_reason.as_deref().unwrap_or_default(), 200),
        }
    };
    let fire = |fire: oms_engine::ScheduleFire| Fire {
        time: moment(fire.scheduled_time),
        time_exact: exact(fire.scheduled_time),
        schedule: short(&fire.schedule_name, 120),
        look: Look::of_fire(fire.state),
        run: fire.workflow_id.map(|id| {
            let id = id.to_string();
            let link = visit.link(&format!("/runs/{id}"), &[]);
            (id, link)
        }),
        reason: short(fire.reason.as_deref().unwrap_or_default(), 300),
    };
    let rows = all?.into_iter().map(row).collect();
    let fires = fires?.into_iter().map(fire).collect();
    html(&Schedules { frame: Frame::of(&visit, "schedules"), rows, fires })
}
