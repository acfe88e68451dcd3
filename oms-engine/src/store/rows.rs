//! Rows as the engine reads them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Json};
use uuid::Uuid;

use super::undo::UndoRow;
use crate::decide::{TaskStatus, WorkflowStatus};
use crate::definition::{TaskToDomain, read_deep};
use crate::error::{Doing as _, Error};
use crate::ids::WorkflowId;
use crate::telemetry::{Lineage, claimed};

/// Where an open task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    Ready,
    Leased,
    Delayed,
    Container,
}

impl TokenState {
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::Ready => 0,
            Self::Leased => 1,
            Self::Delayed => 2,
            Self::Container => 3,
        }
    }

    pub(crate) fn from_code(code: i16) -> Result<Self, Error> {
        match code {
            0 => Ok(Self::Ready),
            1 => Ok(Self::Leased),
            2 => Ok(Self::Delayed),
            3 => Ok(Self::Container),
            _ => Err(unreadable(&format!("token state {code}"))),
        }
    }
}

/// An open task as the hot statement gives it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) id: i64,
    pub(crate) workflow_id: WorkflowId,
    /// Empty for tokens that belong to no task.
    pub(crate) reference_name: Arc<str>,
    pub(crate) epoch: i16,
    pub(crate) attempt: i16,
    pub(crate) queue: Arc<str>,
    pub(crate) state: TokenState,
    pub(crate) rev: i32,
    pub(crate) priority: i16,
    pub(crate) set_aside: i16,
    pub(crate) poll_count: i32,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) input: Option<Value>,
    /// What the definition does not tell of it.
    pub(crate) detail: Option<Value>,
    /// The container it stands in.
    pub(crate) scope: Option<i64>,
}

impl Token {
    /// Whether it tells its run what became of a relative. Such a one can be there whatever has
    /// become of the run itself.
    pub(crate) fn is_control(&self) -> bool {
        let told = self.input.as_ref().is_some_and(|input| input.get("control").is_some());
        self.reference_name.is_empty() && told
    }

    /// A token that was claimed just now: as [`read`](Self::read), with when it was scheduled for
    /// when it expires.
    pub(crate) fn read_claimed(row: &Row, at: usize) -> Result<Self, Error> {
        let token = Self::read(row, at)?;
        if token.poll_count == 1 && token.attempt == 0 && !token.reference_name.is_empty() {
            let scheduled_at: DateTime<Utc> = get(row, at + 14)?;
            let waited = token.started_at.and_then(|at| (at - scheduled_at).to_std().ok());
            claimed(&token.queue, waited.unwrap_or_default());
        }
        Ok(token)
    }

    /// From columns in the order id, `workflow_id` … scope, the first at `at`.
    pub(crate) fn read(row: &Row, at: usize) -> Result<Self, Error> {
        Ok(Self {
            id: get(row, at)?,
            workflow_id: WorkflowId::from_uuid(get(row, at + 1)?),
            reference_name: get::<&str>(row, at + 2)?.into(),
            epoch: get(row, at + 3)?,
            attempt: get(row, at + 4)?,
            queue: get::<&str>(row, at + 5)?.into(),
            state: TokenState::from_code(get(row, at + 6)?)?,
            rev: get(row, at + 7)?,
            priority: get(row, at + 8)?,
            set_aside: get(row, at + 10)?,
            poll_count: get(row, at + 11)?,
            started_at: get(row, at + 12)?,
            due_at: get(row, at + 13)?,
            input: json(row, at + 15)?,
            detail: json(row, at + 16)?,
            scope: get(row, at + 17)?,
        })
    }
}

/// A token read outside the hot statement: also who holds it, and whether all its time is up.
#[derive(Clone, Debug)]
pub(crate) struct DueToken {
    pub(crate) token: Token,
    /// 0 for none.
    pub(crate) holder: i64,
    pub(crate) expired: bool,
    pub(crate) worker: Option<String>,
    /// Whether its time was up when it was read.
    pub(crate) due: bool,
    /// Of a container: how many it waits for.
    pub(crate) remaining: Option<i32>,
    pub(crate) output: Option<Value>,
}

impl DueToken {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            token: Token::read(row, 0)?,
            holder: get(row, 18)?,
            expired: get(row, 19)?,
            worker: get(row, 20)?,
            due: get(row, 21)?,
            remaining: get(row, 22)?,
            output: json(row, 23)?,
        })
    }
}

/// A run's row.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the table")]
pub(crate) struct RunRow {
    pub(crate) id: WorkflowId,
    pub(crate) definition_id: i64,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) status: WorkflowStatus,
    pub(crate) priority: i16,
    pub(crate) epoch: i16,
    pub(crate) input: Arc<Value>,
    pub(crate) variables: Arc<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) parent_id: Option<WorkflowId>,
    pub(crate) failed_task: Option<String>,
    pub(crate) failure_workflow_id: Option<WorkflowId>,
    pub(crate) has_cuts: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) last_retried_at: Option<DateTime<Utc>>,
    /// Whether the deadline had passed when it was read.
    pub(crate) overdue: bool,
    /// Whether history may hold what lies ahead.
    pub(crate) replays: bool,
    /// The task that it was started for, or that waits for it since; none once it was brought
    /// back after that had ended.
    pub(crate) parent_token: Option<i64>,
    /// Whether it goes on with sub-workflows that ended badly.
    pub(crate) resumes: bool,
    /// The step that it was rerun from, and what it is given, where that was said.
    pub(crate) given: Option<(String, Value)>,
    /// None for no domains.
    pub(crate) task_to_domain: Option<Arc<TaskToDomain>>,
    /// Set where an end leads, or led, to undoing.
    pub(crate) undo: Option<UndoRow>,
    pub(crate) lineage: Lineage,
}

impl RunRow {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: WorkflowId::from_uuid(get(row, 0)?),
            definition_id: get(row, 1)?,
            name: get(row, 2)?,
            version: get(row, 3)?,
            status: workflow_status(get(row, 4)?)?,
            priority: get(row, 5)?,
            epoch: get(row, 6)?,
            input: Arc::new(json(row, 7)?.unwrap_or_default()),
            variables: Arc::new(json(row, 8)?.unwrap_or_default()),
            output: json(row, 9)?,
            reason: get(row, 10)?,
            correlation_id: get(row, 11)?,
            idempotency_key: get(row, 12)?,
            parent_id: get::<Option<Uuid>>(row, 13)?.map(WorkflowId::from_uuid),
            failed_task: get(row, 14)?,
            failure_workflow_id: get::<Option<Uuid>>(row, 15)?.map(WorkflowId::from_uuid),
            has_cuts: get(row, 16)?,
            created_at: get(row, 17)?,
            ended_at: get(row, 18)?,
            last_retried_at: get(row, 19)?,
            overdue: get(row, 20)?,
            replays: get(row, 21)?,
            parent_token: get(row, 22)?,
            resumes: get(row, 23)?,
            given: get::<Option<String>>(row, 24)?.zip(json(row, 25)?),
            task_to_domain: match json(row, 26)? {
                Some(map) => TaskToDomain::read(&map)
                    .map_err(|(key, reason)| unreadable(&format!("domain {key:?} ({reason})")))?
                    .map(Arc::new),
                None => None,
            },
            undo: get::<Option<Json<UndoRow>>>(row, 27)?.map(|json| json.0),
            lineage: lineage(row)?,
        })
    }

    /// Whether its end is settled and what it did is undone before.
    pub(crate) fn is_undone(&self) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.end.is_some())
    }
}

fn lineage(row: &Row) -> Result<Lineage, Error> {
    let id = |at| get::<Option<Uuid>>(row, at).map(|id| id.map(WorkflowId::from_uuid));
    // A trace that cannot be read is no reason to stand still.
    let trace = json(row, 29)?.and_then(|trace| serde_json::from_value(trace).ok());
    Ok(Lineage::new(trace, id(13)?.zip(id(28)?), get(row, 30)?))
}

/// An ended attempt.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRow {
    pub(crate) workflow_id: WorkflowId,
    pub(crate) reference_name: String,
    pub(crate) epoch: i16,
    pub(crate) attempt: i16,
    pub(crate) status: TaskStatus,
    pub(crate) seq: i64,
    pub(crate) queue: String,
    pub(crate) poll_count: i32,
    pub(crate) input: Option<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) worker: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) scheduled_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: DateTime<Utc>,
}

impl HistoryRow {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            workflow_id: WorkflowId::from_uuid(get(row, 0)?),
            reference_name: get(row, 1)?,
            epoch: get(row, 2)?,
            attempt: get(row, 3)?,
            status: task_status(get(row, 4)?)?,
            seq: get(row, 5)?,
            queue: get(row, 6)?,
            poll_count: get(row, 7)?,
            input: json(row, 8)?,
            output: json(row, 9)?,
            worker: get(row, 10)?,
            reason: get(row, 11)?,
            scheduled_at: get(row, 12)?,
            started_at: get(row, 13)?,
            ended_at: get(row, 14)?,
        })
    }
}

pub(super) fn workflow_status(code: i16) -> Result<WorkflowStatus, Error> {
    WorkflowStatus::from_code(code).ok_or_else(|| unreadable(&format!("workflow status {code}")))
}

fn task_status(code: i16) -> Result<TaskStatus, Error> {
    TaskStatus::from_code(code).ok_or_else(|| unreadable(&format!("task status {code}")))
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, Error> {
    row.try_get(at).doing("reading a row")
}

pub(super) fn json(row: &Row, at: usize) -> Result<Option<Value>, Error> {
    match get::<Option<Json<Value>>>(row, at) {
        Ok(value) => Ok(value.map(|json| json.0)),
        // serde_json stops at 128 levels, and what the engine puts together may have more.
        Err(error) => match get::<Option<Json<Box<RawValue>>>>(row, at)? {
            Some(Json(text)) => read_deep(text.get()).map(Some).ok_or(error),
            None => Ok(None),
        },
    }
}

fn unreadable(what: &str) -> Error {
    Error::Invariant { workflow_id: None, what: format!("{what} in the tables is unknown") }
}
