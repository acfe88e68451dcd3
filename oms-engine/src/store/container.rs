//! Containers: what stands around a task, what they waited for, and the runs that tasks start.

use serde_json::Value;
use uuid::Uuid;

use super::rows::{HistoryRow, get, json, workflow_status};
use super::{Executor, Store};
use crate::decide::WorkflowStatus;
use crate::error::Error;
use crate::ids::WorkflowId;

/// A step whose last attempt is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) workflow_id: WorkflowId,
    /// With turns where these are known, else without and `in_loop`.
    pub(crate) reference_name: String,
    pub(crate) in_loop: bool,
}

/// An open loop.
#[derive(Clone, Debug)]
pub(crate) struct LoopRow {
    pub(crate) workflow_id: WorkflowId,
    pub(crate) reference_name: String,
    pub(crate) input: Option<Value>,
    pub(crate) items: Option<Value>,
}

/// A run that a task waits for.
#[derive(Clone, Debug)]
pub(crate) struct ChildRow {
    pub(crate) id: WorkflowId,
    pub(crate) name: String,
    pub(crate) version: i32,
    pub(crate) status: WorkflowStatus,
    pub(crate) output: Option<Value>,
    pub(crate) reason: Option<String>,
}

impl Store {
    /// The last visible attempts of what is wanted; what has none is missing.
    pub(crate) async fn load_facts(
        &self,
        db: &impl Executor,
        wanted: &[Wanted],
        with_inputs: bool,
    ) -> Result<Vec<HistoryRow>, Error> {
        let ids: Vec<Uuid> = wanted.iter().map(|w| w.workflow_id.as_uuid()).collect();
        let names: Vec<&str> = wanted.iter().map(|w| w.reference_name.as_str()).collect();
        let in_loop: Vec<bool> = wanted.iter().map(|w| w.in_loop).collect();
        let sql = &self.sql.load_facts;
        let rows =
            self.rows(db, sql, &[&ids, &names, &in_loop, &with_inputs], "loading history").await?;
        rows.iter().map(HistoryRow::read).collect()
    }

    /// The visible history of a loop's body, in order.
    pub(crate) async fn load_turns(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        references: &[&str],
    ) -> Result<Vec<HistoryRow>, Error> {
        let sql = &self.sql.load_turns;
        let rows = self.rows(db, sql, &[&id.as_uuid(), &references], "loading a loop").await?;
        rows.iter().map(HistoryRow::read).collect()
    }

    /// The open loops around tokens that stand in these containers.
    pub(crate) async fn load_loops(
        &self,
        db: &impl Executor,
        scopes: &[i64],
    ) -> Result<Vec<LoopRow>, Error> {
        let rows = self.rows(db, &self.sql.load_loops, &[&scopes], "loading open loops").await?;
        rows.iter()
            .map(|row| {
                Ok(LoopRow {
                    workflow_id: WorkflowId::from_uuid(get(row, 0)?),
                    reference_name: get(row, 1)?,
                    input: json(row, 2)?,
                    items: json(row, 3)?,
                })
            })
            .collect()
    }

    /// What the task of a run gave that was scheduled last.
    pub(crate) async fn last_output(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Option<Value>, Error> {
        let sql = &self.sql.last_output;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "loading the last output").await?;
        rows.first().map_or(Ok(None), |row| json(row, 0))
    }

    /// The run that a task waits for.
    pub(crate) async fn load_child(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        parent: WorkflowId,
    ) -> Result<Option<ChildRow>, Error> {
        let sql = &self.sql.load_child;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&id.as_uuid(), &parent.as_uuid()];
        let rows = self.rows(db, sql, &params, "loading a sub-workflow").await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(ChildRow {
                id: WorkflowId::from_uuid(get(row, 0)?),
                name: get(row, 1)?,
                version: get(row, 2)?,
                status: workflow_status(get(row, 3)?)?,
                output: json(row, 4)?,
                reason: get(row, 5)?,
            })
        };
        rows.first().map(read).transpose()
    }

    /// The token, which is locked, waits for a run: for which version of its definition, where
    /// it was started now.
    pub(crate) async fn wait_for_child(
        &self,
        db: &impl Executor,
        token: i64,
        (child, version): (WorkflowId, Option<i32>),
    ) -> Result<(), Error> {
        let sql = &self.sql.wait_for_child;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&token, &child.as_uuid(), &version];
        self.rows(db, sql, &params, "waiting for a sub-workflow").await?;
        Ok(())
    }

    /// A run has ended: the task that waits for it is ready. Out: its queue, where there is one.
    pub(crate) async fn count_down(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Option<String>, Error> {
        let sql = &self.sql.count_down;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "telling of an end").await?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    pub(crate) async fn park_container(&self, db: &impl Executor, token: i64) -> Result<(), Error> {
        self.rows(db, &self.sql.park_container, &[&token], "parking a container").await?;
        Ok(())
    }

    /// Takes a token of no task, which is locked.
    pub(crate) async fn close_token(&self, db: &impl Executor, token: i64) -> Result<(), Error> {
        self.rows(db, &self.sql.close_token, &[&token], "closing a token").await?;
        Ok(())
    }
}
