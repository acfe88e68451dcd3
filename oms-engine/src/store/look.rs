//! What people look at: who did what to a run, what has changed, queues, engines.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;
use crate::ids::WorkflowId;

/// What an operator does to a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationNote<'a> {
    pub(crate) workflow_id: WorkflowId,
    pub(crate) action: &'a str,
    pub(crate) reference_name: Option<&'a str>,
    pub(crate) operator: &'a str,
    pub(crate) reason: &'a str,
}

/// What an operator did to a run.
#[derive(Debug)]
pub(crate) struct OperationRow {
    pub(crate) action: String,
    pub(crate) reference_name: Option<String>,
    pub(crate) operator: String,
    pub(crate) reason: String,
    pub(crate) at: DateTime<Utc>,
}

/// A queue that holds something.
#[derive(Debug)]
pub(crate) struct QueueRow {
    pub(crate) queue: String,
    pub(crate) ready: i64,
    pub(crate) oldest: Option<Duration>,
    pub(crate) leased: i64,
    pub(crate) delayed: i64,
}

/// An engine that is known.
#[derive(Debug)]
pub(crate) struct SessionRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) silent_for: Duration,
    pub(crate) dead_at: Option<DateTime<Utc>>,
    pub(crate) held: Vec<(String, i64)>,
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl Store {
    pub(crate) async fn note_operation(
        &self,
        db: &impl Executor,
        note: &OperationNote<'_>,
    ) -> Result<(), Error> {
        let sql = &self.sql.note_operation;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [
            &note.workflow_id.as_uuid(),
            &note.action,
            &note.reference_name,
            &note.operator,
            &note.reason,
        ];
        self.rows(db, sql, &params, "noting an operation").await?;
        Ok(())
    }

    /// The last ones first.
    pub(crate) async fn list_operations(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        most: i64,
    ) -> Result<Vec<OperationRow>, Error> {
        let sql = &self.sql.list_operations;
        let rows = self.rows(db, sql, &[&id.as_uuid(), &most], "reading operations").await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(OperationRow {
                action: get(row, 0)?,
                reference_name: get(row, 1)?,
                operator: get(row, 2)?,
                reason: get(row, 3)?,
                at: get(row, 4)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Out: a number for each run that there is, and one without a run for all starts.
    pub(crate) async fn load_pulses(
        &self,
        db: &impl Executor,
        ids: &[WorkflowId],
    ) -> Result<Vec<(Option<WorkflowId>, i64)>, Error> {
        let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let sql = &self.sql.load_pulses;
        let rows = self.rows(db, sql, &[&ids], "looking for changes").await?;
        let read = |row: &tokio_postgres::Row| {
            let id: Option<uuid::Uuid> = get(row, 0)?;
            Ok((id.map(WorkflowId::from_uuid), get(row, 1)?))
        };
        rows.iter().map(read).collect()
    }

    pub(crate) async fn list_queues(&self, db: &impl Executor) -> Result<Vec<QueueRow>, Error> {
        let rows = self.rows(db, &self.sql.list_queues, &[], "listing queues").await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(QueueRow {
                queue: get(row, 0)?,
                ready: get(row, 1)?,
                oldest: get::<Option<i64>>(row, 2)?.map(ms),
                leased: get(row, 3)?,
                delayed: get(row, 4)?,
            })
        };
        rows.iter().map(read).collect()
    }

    pub(crate) async fn list_sessions(&self, db: &impl Executor) -> Result<Vec<SessionRow>, Error> {
        let rows = self.rows(db, &self.sql.list_sessions, &[], "listing engines").await?;
        let read = |row: &tokio_postgres::Row| {
            let (queues, counts): (Vec<String>, Vec<i64>) = (get(row, 6)?, get(row, 7)?);
            Ok(SessionRow {
                id: get(row, 0)?,
                name: get(row, 1)?,
                version: get(row, 2)?,
                started_at: get(row, 3)?,
                silent_for: ms(get(row, 4)?),
                dead_at: get(row, 5)?,
                held: queues.into_iter().zip(counts).collect(),
            })
        };
        rows.iter().map(read).collect()
    }
}
