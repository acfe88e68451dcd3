//! Tasks that are ended or updated from outside.

use serde_json::Value;
use tokio_postgres::types::{Json, ToSql};

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};

/// An open task that a word from outside may end.
#[derive(Clone, Debug)]
pub(crate) struct OpenTask {
    pub(crate) token_id: i64,
    /// 0 for none.
    pub(crate) holder: i64,
    pub(crate) task_id: TaskId,
    /// Whether it is one that workers get.
    pub(crate) for_worker: bool,
    /// Of such a one.
    pub(crate) queue: String,
}

impl OpenTask {
    fn read(row: &tokio_postgres::Row, workflow_id: WorkflowId) -> Result<Self, Error> {
        Ok(Self {
            token_id: get(row, 0)?,
            holder: get(row, 1)?,
            task_id: TaskId {
                workflow_id,
                reference_name: get(row, 2)?,
                epoch: get(row, 3)?,
                attempt: get(row, 4)?,
            },
            for_worker: false,
            queue: String::new(),
        })
    }
}

impl Store {
    /// The open task of this name; of one epoch and attempt, where that is given.
    pub(crate) async fn find_open_task(
        &self,
        db: &impl Executor,
        (id, reference_name): (WorkflowId, &str),
        attempt: Option<(i16, i16)>,
    ) -> Result<Option<OpenTask>, Error> {
        let (epoch, attempt) = (attempt.map(|a| a.0), attempt.map(|a| a.1));
        let params: [&(dyn ToSql + Sync); 4] = [&id.as_uuid(), &reference_name, &epoch, &attempt];
        let sql = &self.sql.find_open_task;
        let rows = self.rows(db, sql, &params, "finding an open task").await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (for_worker, queue) = (get(row, 5)?, get(row, 6)?);
        Ok(Some(OpenTask { for_worker, queue, ..OpenTask::read(row, id)? }))
    }

    /// The first WAIT of a run or of its sub-workflows.
    pub(crate) async fn find_first_wait(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Option<OpenTask>, Error> {
        let sql = &self.sql.find_first_wait;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "finding a task that waits").await?;
        let Some(row) = rows.first() else { return Ok(None) };
        OpenTask::read(row, WorkflowId::from_uuid(get(row, 5)?)).map(Some)
    }

    /// The first task at which a run or one of its open sub-workflows stands: a WAIT without an end,
    /// or one of these names that has ended.
    pub(crate) async fn find_blocking(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        reference_names: &[String],
    ) -> Result<Option<TaskId>, Error> {
        let sql = &self.sql.find_blocking;
        let params: [&(dyn ToSql + Sync); 2] = [&id.as_uuid(), &reference_names];
        let rows = self.rows(db, sql, &params, "finding where a workflow stands").await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(TaskId {
            workflow_id: WorkflowId::from_uuid(get(row, 0)?),
            reference_name: get(row, 1)?,
            epoch: get(row, 2)?,
            attempt: get(row, 3)?,
        }))
    }

    /// The token must be locked.
    pub(crate) async fn update_task(
        &self,
        db: &impl Executor,
        token: i64,
        (output, reason): (&Value, Option<&str>),
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&token, &Json(output), &reason];
        self.rows(db, &self.sql.update_task, &params, "updating a task").await?;
        Ok(())
    }

    /// The token must be locked.
    pub(crate) async fn keep_open(
        &self,
        db: &impl Executor,
        token: i64,
        output: &Value,
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&token, &Json(output)];
        self.rows(db, &self.sql.keep_open, &params, "keeping a task open").await?;
        Ok(())
    }
}
