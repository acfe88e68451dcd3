//! Reads of why a run stands where it stands.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::rows::{TokenState, get, json, workflow_status};
use super::undo::UndoRow;
use super::{Executor, Store};
use crate::decide::WorkflowStatus;
use crate::error::Error;
use crate::ids::WorkflowId;

/// So many tasks of a queue are counted, once for all open tasks that stand in it.
pub(crate) const AHEAD_MAX: i64 = 10_000;
/// Open tasks that are explained, the oldest.
const TASKS_MAX: i64 = 100;
/// Tasks of a container that are named.
const INSIDE_MAX: i64 = 20;
/// Ended attempts that are looked at, the last.
pub(crate) const HISTORY_MAX: i64 = 50_000;

/// A run's row without its payloads.
#[derive(Clone, Debug)]
pub(crate) struct ExplainedRun {
    pub(crate) definition_id: i64,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) status: WorkflowStatus,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) deadline: Option<DateTime<Utc>>,
    pub(crate) reason: Option<String>,
    pub(crate) failed_task: Option<String>,
    pub(crate) parent_id: Option<WorkflowId>,
    pub(crate) undoing: Option<WorkflowStatus>,
    /// As of when all of this is.
    pub(crate) now: DateTime<Utc>,
}

/// An engine process that holds a task.
#[derive(Clone, Debug)]
pub(crate) struct HoldingSession {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) heartbeat_at: DateTime<Utc>,
    pub(crate) dead: bool,
}

/// The limit that a ready task is under.
#[derive(Clone, Debug)]
pub(crate) struct HoldingLimit {
    pub(crate) name: String,
    pub(crate) concurrent: Option<i32>,
    pub(crate) rate: Option<i32>,
    pub(crate) leased: i64,
    pub(crate) handed_out: i64,
    pub(crate) opens_at: Option<DateTime<Utc>>,
}

/// An open task, and what stands around it.
#[derive(Clone, Debug)]
pub(crate) struct ExplainedTask {
    pub(crate) reference_name: String,
    pub(crate) epoch: i16,
    pub(crate) attempt: i16,
    pub(crate) seq: i64,
    pub(crate) queue: String,
    /// None where it is the queue's name.
    pub(crate) task_type: Option<String>,
    pub(crate) state: TokenState,
    pub(crate) paused: bool,
    pub(crate) poll_count: i32,
    pub(crate) remaining: Option<i32>,
    pub(crate) scheduled_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) worker: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) holder: Option<i64>,
    pub(crate) session: Option<HoldingSession>,
    /// Of a ready task; [`AHEAD_MAX`] where that many or more are.
    pub(crate) ahead: Option<i64>,
    pub(crate) asked_at: Option<DateTime<Utc>>,
    pub(crate) limit: Option<HoldingLimit>,
    pub(crate) child: Option<(WorkflowId, String, WorkflowStatus)>,
    pub(crate) inside: Vec<String>,
    pub(crate) join_on: Option<Value>,
}

/// When an attempt was scheduled, handed out and ended.
#[derive(Clone, Debug)]
pub(crate) struct ExplainedEnd {
    pub(crate) reference_name: String,
    pub(crate) attempt: i16,
    pub(crate) seq: i64,
    /// Its type, as it is shown.
    pub(crate) task_type: String,
    pub(crate) scheduled_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: DateTime<Utc>,
}

fn read_task(row: &Row) -> Result<ExplainedTask, Error> {
    let session = match get::<Option<i64>>(row, 17)? {
        Some(id) => Some(HoldingSession {
            id,
            name: get(row, 18)?,
            heartbeat_at: get(row, 19)?,
            dead: get(row, 20)?,
        }),
        None => None,
    };
    let limit = match get::<Option<String>>(row, 23)? {
        Some(name) => Some(HoldingLimit {
            name,
            concurrent: get(row, 24)?,
            rate: get(row, 25)?,
            leased: get::<Option<i64>>(row, 26)?.unwrap_or(0),
            handed_out: get::<Option<i64>>(row, 27)?.unwrap_or(0),
            opens_at: get(row, 28)?,
        }),
        None => None,
    };
    let child = match get::<Option<Uuid>>(row, 29)? {
        Some(id) => {
            Some((WorkflowId::from_uuid(id), get(row, 30)?, workflow_status(get(row, 31)?)?))
        }
        None => None,
    };
    Ok(ExplainedTask {
        reference_name: get(row, 0)?,
        epoch: get(row, 1)?,
        attempt: get(row, 2)?,
        seq: get(row, 3)?,
        queue: get(row, 4)?,
        task_type: get(row, 5)?,
        state: TokenState::from_code(get(row, 6)?)?,
        paused: get(row, 7)?,
        poll_count: get(row, 8)?,
        remaining: get(row, 9)?,
        scheduled_at: get(row, 10)?,
        started_at: get(row, 11)?,
        due_at: get(row, 12)?,
        worker: get(row, 13)?,
        reason: get(row, 14)?,
        holder: get(row, 15)?,
        session,
        ahead: get(row, 21)?,
        asked_at: get(row, 22)?,
        limit,
        child,
        inside: get::<Option<Vec<String>>>(row, 32)?.unwrap_or_default(),
        join_on: json(row, 33)?,
    })
}

impl Store {
    pub(crate) async fn explain_run(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Option<ExplainedRun>, Error> {
        let sql = &self.sql.explain_run;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "explaining a workflow").await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(ExplainedRun {
            definition_id: get(row, 0)?,
            name: get(row, 1)?,
            version: get(row, 2)?,
            status: workflow_status(get(row, 3)?)?,
            created_at: get(row, 4)?,
            ended_at: get(row, 5)?,
            deadline: get(row, 6)?,
            reason: get(row, 7)?,
            failed_task: get(row, 8)?,
            parent_id: get::<Option<Uuid>>(row, 9)?.map(WorkflowId::from_uuid),
            undoing: get::<Option<Json<UndoRow>>>(row, 10)?.and_then(|undo| undo.0.end),
            now: get(row, 11)?,
        }))
    }

    /// The oldest open tasks of a run, and how many it has.
    pub(crate) async fn explain_tasks(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<(Vec<ExplainedTask>, i64), Error> {
        let params: [&(dyn ToSql + Sync); 4] = [&id.as_uuid(), &TASKS_MAX, &AHEAD_MAX, &INSIDE_MAX];
        let sql = &self.sql.explain_tasks;
        let rows = self.rows(db, sql, &params, "explaining open tasks").await?;
        let all = rows.first().map_or(Ok(0), |row| get(row, 16))?;
        let tasks: Result<_, _> = rows.iter().map(read_task).collect();
        Ok((tasks?, all))
    }

    /// What has ended of a run, the last first.
    pub(crate) async fn explain_history(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Vec<ExplainedEnd>, Error> {
        let sql = &self.sql.explain_history;
        let params: [&(dyn ToSql + Sync); 2] = [&id.as_uuid(), &HISTORY_MAX];
        let rows = self.rows(db, sql, &params, "explaining what has ended").await?;
        let read = |row: &Row| {
            Ok(ExplainedEnd {
                reference_name: get(row, 0)?,
                attempt: get(row, 1)?,
                seq: get(row, 2)?,
                task_type: get(row, 3)?,
                scheduled_at: get(row, 4)?,
                started_at: get(row, 5)?,
                ended_at: get(row, 6)?,
            })
        };
        rows.iter().map(read).collect()
    }
}
