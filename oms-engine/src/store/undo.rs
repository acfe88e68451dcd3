//! Runs whose end is settled and that are undone before.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::Json;

use super::rows::{HistoryRow, get};
use super::{Executor, RunEnd, Store};
use crate::decide::WorkflowStatus;
use crate::error::Error;
use crate::ids::WorkflowId;

/// A step whose effect may still stand after its run was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NotCompensated {
    /// The step's reference name; in loops with its turns.
    pub reference_task_name: String,
    /// Its last attempt.
    pub task_id: String,
    /// Why it is not undone.
    pub reason: String,
}

impl NotCompensated {
    pub(crate) const fn new(reference_task_name: String, task_id: String, reason: String) -> Self {
        Self { reference_task_name, task_id, reason }
    }
}

/// What a run's row says of undoing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UndoRow {
    /// How the run ends once all is undone; none where it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<WorkflowStatus>,
    /// An operator ends it: no failure workflow follows.
    #[serde(default)]
    pub(crate) by_operator: bool,
    /// The first step that was undone: its number, and when it was scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<(i64, DateTime<Utc>)>,
    /// What could not be undone.
    #[serde(default)]
    pub(crate) left: Vec<NotCompensated>,
}

impl Store {
    /// Settles a run's end, which waits until all is undone.
    pub(crate) async fn begin_undo(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        end: &RunEnd,
        undo: &UndoRow,
    ) -> Result<(), Error> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&id.as_uuid(), &Json(&*end.output), &end.reason, &end.failed_task, &Json(undo)];
        self.one(db, &self.sql.begin_undo, &params, "settling a workflow's end").await?;
        Ok(())
    }

    /// Has one token wait for all others of a run, which are locked, for so long at most. Runs
    /// that they wait for are terminated. Out: whether there are any such runs.
    pub(crate) async fn gather_tokens(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        inputs: &[(String, Arc<Value>)],
        (reason, most_ms): (&str, i64),
    ) -> Result<bool, Error> {
        let references: Vec<&str> = inputs.iter().map(|i| i.0.as_str()).collect();
        let values: Vec<_> = inputs.iter().map(|i| Json(&*i.1)).collect();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&id.as_uuid(), &references, &values, &reason, &most_ms];
        let row = self.one(db, &self.sql.gather_tokens, &params, "gathering open tasks").await?;
        Ok(get::<i64>(&row, 0)? > 0)
    }

    /// Whether this token waits for others.
    pub(crate) async fn is_waiting(&self, db: &impl Executor, token: i64) -> Result<bool, Error> {
        get(&self.one(db, &self.sql.is_waiting, &[&token], "looking at a task").await?, 0)
    }

    pub(crate) async fn set_undo(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        undo: &UndoRow,
    ) -> Result<(), Error> {
        let sql = &self.sql.set_undo;
        self.rows(db, sql, &[&id.as_uuid(), &Json(undo)], "noting what is undone").await?;
        Ok(())
    }

    /// The visible history of steps by their reference names without turns, in order, without
    /// outputs; of those whose input says by what they are undone, where inputs are read.
    pub(crate) async fn load_named(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        names: &[&str],
        with_inputs: bool,
    ) -> Result<Vec<HistoryRow>, Error> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&id.as_uuid(), &names, &with_inputs];
        let rows = self.rows(db, &self.sql.load_named, &params, "loading history").await?;
        rows.iter().map(HistoryRow::read).collect()
    }
}
