//! What parents and children are told of each other.

use serde_json::Value;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;
use crate::ids::WorkflowId;

impl Store {
    /// Tells a run something, by a token that any engine takes. Out: whether there is such a run.
    pub(crate) async fn open_control(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        told: &Value,
    ) -> Result<bool, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&id.as_uuid(), &Json(told)];
        let rows = self.rows(db, &self.sql.open_control, &params, "telling a workflow").await?;
        Ok(!rows.is_empty())
    }

    /// Locks the token of a task that waits for a run. Out: whether it still does.
    pub(crate) async fn lock_waiting(
        &self,
        db: &impl Executor,
        token: i64,
        child: WorkflowId,
    ) -> Result<bool, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&token, &child.as_uuid()];
        let rows =
            self.rows(db, &self.sql.lock_waiting, &params, "locking a parent's task").await?;
        Ok(!rows.is_empty())
    }

    /// A task waits for a run, all tokens of which are locked.
    pub(crate) async fn attach_child(
        &self,
        db: &impl Executor,
        child: WorkflowId,
        token: i64,
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&child.as_uuid(), &token];
        self.rows(db, &self.sql.attach_child, &params, "attaching a sub-workflow").await?;
        Ok(())
    }

    /// What a task waited for has ended; its token is locked. Out: its queue.
    pub(crate) async fn end_waiting(
        &self,
        db: &impl Executor,
        token: i64,
    ) -> Result<Option<String>, Error> {
        let sql = &self.sql.end_waiting;
        let rows = self.rows(db, sql, &[&token], "telling of an end").await?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    /// Children that were brought back after the task that waited for them had ended, each with
    /// its parent.
    pub(crate) async fn load_detached(
        &self,
        db: &impl Executor,
        parents: &[WorkflowId],
    ) -> Result<Vec<(WorkflowId, WorkflowId)>, Error> {
        let ids: Vec<Uuid> = parents.iter().map(|id| id.as_uuid()).collect();
        let sql = &self.sql.load_detached;
        let rows = self.rows(db, sql, &[&ids], "loading sub-workflows").await?;
        let read = |row: &tokio_postgres::Row| {
            Ok((WorkflowId::from_uuid(get(row, 0)?), WorkflowId::from_uuid(get(row, 1)?)))
        };
        rows.iter().map(read).collect()
    }

    /// A run that ended badly, its row locked, counts as terminated.
    pub(crate) async fn terminate_ended(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        reason: &str,
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&id.as_uuid(), &reason];
        let sql = &self.sql.terminate_ended;
        self.rows(db, sql, &params, "terminating a workflow").await?;
        Ok(())
    }

    /// How many runs stand above one, at most `most`, and the topmost of its family.
    pub(crate) async fn load_ancestry(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        most: i32,
    ) -> Result<(i32, WorkflowId), Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&id.as_uuid(), &most];
        let row = self.one(db, &self.sql.load_ancestry, &params, "loading parents").await?;
        let root = get::<Option<Uuid>>(&row, 1)?.map_or(id, WorkflowId::from_uuid);
        Ok((get::<Option<i32>>(&row, 0)?.unwrap_or(0), root))
    }

    /// The version of a definition that was the latest when a run was started.
    pub(crate) async fn pinned_version(
        &self,
        db: &impl Executor,
        name: &str,
        run: WorkflowId,
    ) -> Result<Option<i32>, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&name, &run.as_uuid()];
        get(&self.one(db, &self.sql.pinned_version, &params, "finding a version").await?, 0)
    }

    /// Whether another open task than this one waits for a run.
    pub(crate) async fn other_waits(
        &self,
        db: &impl Executor,
        child: WorkflowId,
        token: i64,
    ) -> Result<bool, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&child.as_uuid(), &token];
        get(&self.one(db, &self.sql.other_waits, &params, "looking at a sub-workflow").await?, 0)
    }

    /// The idempotency key of an ended run is free for another one.
    pub(crate) async fn release_key(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<(), Error> {
        self.rows(db, &self.sql.release_key, &[&id.as_uuid()], "releasing a key").await?;
        Ok(())
    }
}
