//! Schedules, and what their fires came to.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::rows::{get, json};
use super::{Executor, Store};
use crate::definition::Due;
use crate::error::Error;
use crate::ids::WorkflowId;

/// Fires that are kept of each schedule.
const FIRES_MAX: i64 = 100;

/// A schedule as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct ScheduleRow {
    pub(crate) definition: Value,
    pub(crate) paused: bool,
    pub(crate) paused_reason: Option<String>,
    pub(crate) next: Option<Due>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A schedule to keep.
#[derive(Debug)]
pub(crate) struct PutSchedule<'a> {
    pub(crate) name: &'a str,
    pub(crate) definition: &'a Value,
    pub(crate) workflow_name: &'a str,
    pub(crate) paused: bool,
    pub(crate) paused_reason: Option<&'a str>,
    pub(crate) next: Option<Due>,
}

/// A schedule whose time has come.
#[derive(Debug)]
pub(crate) struct DueSchedule {
    pub(crate) name: String,
    pub(crate) definition: Value,
    pub(crate) due: Due,
    pub(crate) now: DateTime<Utc>,
    /// Whether the run of its last fire goes on.
    pub(crate) running: bool,
}

/// Where a schedule goes on.
#[derive(Debug)]
pub(crate) struct MovedSchedule {
    pub(crate) name: String,
    pub(crate) next: Option<Due>,
    pub(crate) started: Option<WorkflowId>,
}

/// What a fire came to. 0 EXECUTED, 1 FAILED, 2 SKIPPED.
#[derive(Debug)]
pub(crate) struct FireRow {
    pub(crate) execution_id: Uuid,
    pub(crate) schedule: String,
    pub(crate) workflow_name: String,
    pub(crate) workflow_id: Option<WorkflowId>,
    pub(crate) state: i16,
    pub(crate) reason: Option<String>,
    pub(crate) zone_id: String,
    pub(crate) scheduled_at: DateTime<Utc>,
    /// When it was recorded; the database says so.
    pub(crate) executed_at: Option<DateTime<Utc>>,
}

fn due(at: Option<DateTime<Utc>>, cron: i16) -> Option<Due> {
    Some(Due { at: at?, cron: usize::try_from(cron).unwrap_or(0) })
}

fn cron_of(due: Option<Due>) -> i16 {
    due.and_then(|due| i16::try_from(due.cron).ok()).unwrap_or(0)
}

impl ScheduleRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            definition: json(row, 1)?.unwrap_or_default(),
            paused: get(row, 2)?,
            paused_reason: get(row, 3)?,
            next: due(get(row, 4)?, get(row, 5)?),
            created_at: get(row, 6)?,
            updated_at: get(row, 7)?,
        })
    }
}

impl Store {
    /// The database's time.
    pub(crate) async fn read_time(&self, db: &impl Executor) -> Result<DateTime<Utc>, Error> {
        get(&self.one(db, &self.sql.read_time, &[], "reading the time").await?, 0)
    }

    /// One schedule, locked.
    pub(crate) async fn lock_schedule(
        &self,
        db: &impl Executor,
        name: &str,
    ) -> Result<Option<ScheduleRow>, Error> {
        let rows = self.rows(db, &self.sql.lock_schedule, &[&name], "locking a schedule").await?;
        rows.first().map(ScheduleRow::read).transpose()
    }

    /// Makes a schedule, or replaces the one of its name.
    pub(crate) async fn put_schedule(
        &self,
        db: &impl Executor,
        put: &PutSchedule<'_>,
    ) -> Result<ScheduleRow, Error> {
        let row = self
            .one(
                db,
                &self.sql.put_schedule,
                &[
                    &put.name,
                    &Json(put.definition),
                    &put.workflow_name,
                    &put.paused,
                    &put.paused_reason,
                    &put.next.map(|due| due.at),
                    &cron_of(put.next),
                ],
                "putting a schedule",
            )
            .await?;
        ScheduleRow::read(&row)
    }

    /// Schedules by name: one, those of one workflow, or all.
    pub(crate) async fn list_schedules(
        &self,
        db: &impl Executor,
        name: Option<&str>,
        workflow: Option<&str>,
    ) -> Result<Vec<ScheduleRow>, Error> {
        let sql = &self.sql.list_schedules;
        let rows = self.rows(db, sql, &[&name, &workflow], "listing schedules").await?;
        rows.iter().map(ScheduleRow::read).collect()
    }

    /// Whether there was one.
    pub(crate) async fn remove_schedule(
        &self,
        db: &impl Executor,
        name: &str,
    ) -> Result<bool, Error> {
        let sql = &self.sql.remove_schedule;
        Ok(!self.rows(db, sql, &[&name], "removing a schedule").await?.is_empty())
    }

    /// Takes schedules whose time has come, oldest first; those that others take are passed over.
    pub(crate) async fn due_schedules(
        &self,
        db: &impl Executor,
        limit: i64,
        without: &[String],
    ) -> Result<Vec<DueSchedule>, Error> {
        let sql = &self.sql.due_schedules;
        let rows = self.rows(db, sql, &[&limit, &without], "finding due schedules").await?;
        rows.iter()
            .map(|row| {
                let cron: i16 = get(row, 3)?;
                Ok(DueSchedule {
                    name: get(row, 0)?,
                    definition: json(row, 1)?.unwrap_or_default(),
                    due: Due { at: get(row, 2)?, cron: usize::try_from(cron).unwrap_or(0) },
                    now: get(row, 4)?,
                    running: get(row, 5)?,
                })
            })
            .collect()
    }

    pub(crate) async fn move_schedules(
        &self,
        db: &impl Executor,
        moved: &[MovedSchedule],
    ) -> Result<(), Error> {
        let names: Vec<&str> = moved.iter().map(|m| m.name.as_str()).collect();
        let next: Vec<Option<DateTime<Utc>>> = moved.iter().map(|m| m.next.map(|d| d.at)).collect();
        let crons: Vec<i16> = moved.iter().map(|m| cron_of(m.next)).collect();
        let runs: Vec<Option<Uuid>> =
            moved.iter().map(|m| m.started.map(WorkflowId::as_uuid)).collect();
        let sql = &self.sql.move_schedules;
        self.rows(db, sql, &[&names, &next, &crons, &runs], "moving schedules").await?;
        Ok(())
    }

    /// Appends what fires came to; the oldest are forgotten.
    pub(crate) async fn record_fires(
        &self,
        db: &impl Executor,
        fires: &[FireRow],
    ) -> Result<(), Error> {
        fn column<'a, T>(fires: &'a [FireRow], of: impl Fn(&'a FireRow) -> T) -> Vec<T> {
            fires.iter().map(of).collect()
        }
        let kept = FIRES_MAX - 1;
        self.rows(
            db,
            &self.sql.record_fires,
            &[
                &column(fires, |f| f.execution_id),
                &column(fires, |f| f.schedule.as_str()),
                &column(fires, |f| f.workflow_name.as_str()),
                &column(fires, |f| f.workflow_id.map(WorkflowId::as_uuid)),
                &column(fires, |f| f.state),
                &column(fires, |f| f.reason.as_deref()),
                &column(fires, |f| f.zone_id.as_str()),
                &column(fires, |f| f.scheduled_at),
                &kept,
            ],
            "recording fires",
        )
        .await?;
        Ok(())
    }

    /// The last fires of one schedule, or of all, newest first.
    pub(crate) async fn list_fires(
        &self,
        db: &impl Executor,
        schedule: Option<&str>,
        limit: i64,
    ) -> Result<Vec<FireRow>, Error> {
        let sql = &self.sql.list_fires;
        let rows = self.rows(db, sql, &[&schedule, &limit], "listing fires").await?;
        rows.iter()
            .map(|row| {
                let run: Option<Uuid> = get(row, 3)?;
                Ok(FireRow {
                    execution_id: get(row, 0)?,
                    schedule: get(row, 1)?,
                    workflow_name: get(row, 2)?,
                    workflow_id: run.map(WorkflowId::from_uuid),
                    state: get(row, 4)?,
                    reason: get(row, 5)?,
                    zone_id: get(row, 6)?,
                    scheduled_at: get(row, 7)?,
                    executed_at: get(row, 8)?,
                })
            })
            .collect()
    }

    /// Time until a schedule fires, or none.
    pub(crate) async fn next_fire(
        &self,
        db: &impl Executor,
        without: &[String],
    ) -> Result<Option<std::time::Duration>, Error> {
        let row = self.one(db, &self.sql.next_fire, &[&without], "finding the next fire").await?;
        let ms: Option<i64> = get(&row, 0)?;
        Ok(ms.map(|ms| std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }
}
