//! What is due: delays, time-outs, workflow time-outs. All by the database's clock.

use std::time::Duration;

use super::rows::{DueToken, get};
use super::{Executor, Store};
use crate::error::Error;
use crate::ids::WorkflowId;

impl Store {
    /// Delayed tasks whose time has come become ready. Out: their queues.
    pub(crate) async fn release_due(
        &self,
        db: &impl Executor,
        limit: i64,
    ) -> Result<Vec<String>, Error> {
        let rows = self.rows(db, &self.sql.release_due, &[&limit], "releasing due tasks").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Tasks whose time is up; they are not locked, the hot statement's fence decides.
    pub(crate) async fn timed_out(
        &self,
        db: &impl Executor,
        limit: i64,
    ) -> Result<Vec<DueToken>, Error> {
        let rows = self.rows(db, &self.sql.timed_out, &[&limit], "finding time-outs").await?;
        rows.iter().map(DueToken::read).collect()
    }

    /// A time-out that only alerts has been told.
    pub(crate) async fn disarm(&self, db: &impl Executor, id: i64, rev: i32) -> Result<(), Error> {
        self.rows(db, &self.sql.disarm, &[&id, &rev], "disarming a time-out").await?;
        Ok(())
    }

    /// A workflow time-out that only alerts has been told.
    pub(crate) async fn disarm_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<(), Error> {
        let sql = &self.sql.disarm_workflow;
        self.rows(db, sql, &[&id.as_uuid()], "disarming a workflow time-out").await?;
        Ok(())
    }

    /// Time until something is due, or none.
    pub(crate) async fn next_due(&self, db: &impl Executor) -> Result<Option<Duration>, Error> {
        let row = self.one(db, &self.sql.next_due, &[], "finding the next due time").await?;
        let ms: Option<i64> = get(&row, 0)?;
        Ok(ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }

    /// Running workflows whose time-out has passed, with their definition.
    pub(crate) async fn overdue_workflows(
        &self,
        db: &impl Executor,
        limit: i64,
    ) -> Result<Vec<(WorkflowId, i64)>, Error> {
        let sql = &self.sql.overdue_workflows;
        let rows = self.rows(db, sql, &[&limit], "finding overdue workflows").await?;
        rows.iter().map(|row| Ok((WorkflowId::from_uuid(get(row, 0)?), get(row, 1)?))).collect()
    }
}
