//! Reads: runs, their history, their open tasks.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::{HistoryRow, RunRow, Token, TokenState, get, json, workflow_status};
use super::{Executor, Store};
use crate::decide::WorkflowStatus;
use crate::error::Error;
use crate::ids::WorkflowId;

/// An open task, for showing it.
#[derive(Clone, Debug)]
pub(crate) struct OpenTaskRow {
    pub(crate) token: Token,
    pub(crate) seq: i64,
    pub(crate) scheduled_at: DateTime<Utc>,
    pub(crate) worker: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) output: Option<serde_json::Value>,
    /// None where it is the queue's name.
    pub(crate) task_type: Option<String>,
    pub(crate) remaining: Option<i32>,
}

impl OpenTaskRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            token: Token {
                id: get(row, 0)?,
                workflow_id: WorkflowId::from_uuid(get(row, 1)?),
                reference_name: get::<&str>(row, 2)?.into(),
                epoch: get(row, 3)?,
                attempt: get(row, 4)?,
                queue: get::<&str>(row, 6)?.into(),
                state: TokenState::from_code(get(row, 7)?)?,
                rev: get(row, 9)?,
                priority: get(row, 10)?,
                set_aside: get(row, 11)?,
                poll_count: get(row, 12)?,
                started_at: get(row, 14)?,
                due_at: get(row, 15)?,
                input: json(row, 19)?,
                detail: json(row, 21)?,
                scope: get(row, 22)?,
            },
            task_type: get(row, 23)?,
            remaining: get(row, 24)?,
            seq: get(row, 5)?,
            scheduled_at: get(row, 13)?,
            worker: get(row, 17)?,
            reason: get(row, 18)?,
            output: json(row, 20)?,
        })
    }
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListFilter {
    pub(crate) name: Option<String>,
    pub(crate) statuses: Option<Vec<WorkflowStatus>>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) created_from: Option<DateTime<Utc>>,
    pub(crate) created_before: Option<DateTime<Utc>>,
    pub(crate) below: Option<WorkflowId>,
    pub(crate) limit: i64,
}

/// A run in a list.
#[derive(Clone, Debug)]
pub(crate) struct ListedRow {
    pub(crate) id: WorkflowId,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) status: WorkflowStatus,
    pub(crate) priority: i16,
    pub(crate) correlation_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) reason: Option<String>,
}

impl ListedRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: WorkflowId::from_uuid(get(row, 0)?),
            name: get(row, 1)?,
            version: get(row, 2)?,
            status: workflow_status(get(row, 3)?)?,
            priority: get(row, 4)?,
            correlation_id: get(row, 5)?,
            idempotency_key: get(row, 6)?,
            created_at: get(row, 7)?,
            ended_at: get(row, 8)?,
            reason: get(row, 9)?,
        })
    }
}

fn uuids(ids: &[WorkflowId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.as_uuid()).collect()
}

impl Store {
    pub(crate) async fn load_runs(
        &self,
        db: &impl Executor,
        ids: &[WorkflowId],
    ) -> Result<Vec<RunRow>, Error> {
        let rows = self.rows(db, &self.sql.load_runs, &[&uuids(ids)], "loading workflows").await?;
        rows.iter().map(RunRow::read).collect()
    }

    /// The visible history, by run and in order.
    pub(crate) async fn load_history(
        &self,
        db: &impl Executor,
        ids: &[WorkflowId],
        with_inputs: bool,
    ) -> Result<Vec<HistoryRow>, Error> {
        let sql = &self.sql.load_history;
        let rows = self.rows(db, sql, &[&uuids(ids), &with_inputs], "loading history").await?;
        rows.iter().map(HistoryRow::read).collect()
    }

    /// How often each step of restarted runs had COMPLETED and was set aside.
    pub(crate) async fn load_set_aside(
        &self,
        db: &impl Executor,
        ids: &[WorkflowId],
    ) -> Result<Vec<(WorkflowId, String, i16)>, Error> {
        let sql = &self.sql.load_set_aside;
        let rows = self.rows(db, sql, &[&uuids(ids)], "loading restarted steps").await?;
        rows.iter()
            .map(|row| Ok((WorkflowId::from_uuid(get(row, 0)?), get(row, 1)?, get(row, 2)?)))
            .collect()
    }

    pub(crate) async fn load_open_tasks(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Vec<OpenTaskRow>, Error> {
        let sql = &self.sql.load_open_tasks;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "loading open tasks").await?;
        rows.iter().map(OpenTaskRow::read).collect()
    }

    pub(crate) async fn list_workflows(
        &self,
        db: &impl Executor,
        filter: &ListFilter,
    ) -> Result<Vec<ListedRow>, Error> {
        let statuses: Option<Vec<i16>> =
            filter.statuses.as_ref().map(|all| all.iter().map(|s| s.code()).collect());
        let rows = self
            .rows(
                db,
                &self.sql.list_workflows,
                &[
                    &filter.name,
                    &statuses,
                    &filter.correlation_id,
                    &filter.created_from,
                    &filter.created_before,
                    &filter.below.map(WorkflowId::as_uuid),
                    &filter.limit,
                ],
                "listing workflows",
            )
            .await?;
        rows.iter().map(ListedRow::read).collect()
    }

    /// Which of these runs have ended.
    pub(crate) async fn ended_workflows(
        &self,
        db: &impl Executor,
        ids: &[WorkflowId],
    ) -> Result<Vec<WorkflowId>, Error> {
        let sql = &self.sql.ended_workflows;
        let rows = self.rows(db, sql, &[&uuids(ids)], "waiting for workflows").await?;
        rows.iter().map(|row| Ok(WorkflowId::from_uuid(get(row, 0)?))).collect()
    }

    /// The lines that an attempt logged, oldest first.
    pub(crate) async fn load_logs(
        &self,
        db: &impl Executor,
        task: &crate::ids::TaskId,
    ) -> Result<Vec<(String, DateTime<Utc>)>, Error> {
        let rows = self
            .rows(
                db,
                &self.sql.load_logs,
                &[&task.workflow_id.as_uuid(), &task.reference_name, &task.epoch, &task.attempt],
                "loading task logs",
            )
            .await?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }
}
