//! Statements of operators' actions, and of ends that are not a step's.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Json;

use super::advance::RunEnd;
use super::rows::{DueToken, RunRow, TokenState, get};
use super::{Executor, Store};
use crate::decide::WorkflowStatus;
use crate::error::Error;
use crate::ids::WorkflowId;

/// What an attempt becomes that ended while its run was paused.
#[derive(Debug)]
pub(crate) struct ParkedRow<'a> {
    pub(crate) ended: &'a super::EndedRow,
    /// What the decide token is to decide.
    pub(crate) then: Value,
}

/// Which tokens of a run are taken, and what becomes of the runs that its tasks had started.
#[derive(Debug)]
pub(crate) struct CanceledRow<'a> {
    /// Of tasks whose token has none.
    pub(crate) inputs: &'a [(String, Arc<Value>)],
    /// Why runs that its tasks had started are terminated, and whether what they did is undone.
    pub(crate) reason: &'a str,
    pub(crate) compensate: bool,
    /// These tokens stay, and those of tasks that wait for runs; none: all are taken.
    pub(crate) stay: Option<&'a [i64]>,
}

/// What a restart puts in place of the run's definition.
#[derive(Debug)]
pub(crate) struct RestartRow {
    pub(crate) definition_id: i64,
    pub(crate) version: i32,
    pub(crate) variables: Arc<Value>,
    pub(crate) timeout_ms: Option<i64>,
}

/// From where on a rerun hides history.
#[derive(Debug)]
pub(crate) struct Cut<'a> {
    pub(crate) seq: i64,
    pub(crate) at: DateTime<Utc>,
    /// Numbers of later tasks that stay.
    pub(crate) kept: Vec<i64>,
    /// The step that begins, and what it is given.
    pub(crate) given: Option<(&'a str, &'a Value)>,
}

impl Store {
    pub(crate) async fn lock_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Option<RunRow>, Error> {
        let sql = &self.sql.lock_workflow;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "locking a workflow").await?;
        rows.first().map(RunRow::read).transpose()
    }

    pub(crate) async fn lock_leaves(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Vec<DueToken>, Error> {
        let sql = &self.sql.lock_leaves;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "locking open tasks").await?;
        rows.iter().map(DueToken::read).collect()
    }

    /// Out: how many there are.
    pub(crate) async fn lock_containers(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<usize, Error> {
        let sql = &self.sql.lock_containers;
        Ok(self.rows(db, sql, &[&id.as_uuid()], "locking open containers").await?.len())
    }

    pub(crate) async fn park_outcome(
        &self,
        db: &impl Executor,
        parked: &ParkedRow<'_>,
    ) -> Result<(), Error> {
        let ended = parked.ended;
        self.rows(
            db,
            &self.sql.park_outcome,
            &[
                &ended.token_id,
                &ended.status.code(),
                &ended.input.as_deref().map(Json),
                &ended.output.as_deref().map(Json),
                &ended.worker.as_deref(),
                &ended.reason,
                &Json(&parked.then),
            ],
            "keeping an outcome of a paused workflow",
        )
        .await?;
        Ok(())
    }

    /// All tokens of the run must be locked.
    pub(crate) async fn pause_tokens(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<(), Error> {
        self.rows(db, &self.sql.pause_tokens, &[&id.as_uuid()], "pausing open tasks").await?;
        Ok(())
    }

    /// All tokens of the run must be locked. Out: queues with ready tokens.
    pub(crate) async fn resume_tokens(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Vec<String>, Error> {
        let sql = &self.sql.resume_tokens;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "resuming open tasks").await?;
        ready_queues(&rows)
    }

    /// All tokens and the run must be locked. Out: queues with ready tokens.
    pub(crate) async fn set_priority(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        priority: i16,
    ) -> Result<Vec<String>, Error> {
        let sql = &self.sql.set_priority;
        let rows = self.rows(db, sql, &[&id.as_uuid(), &priority], "setting the priority").await?;
        ready_queues(&rows)
    }

    pub(crate) async fn set_status(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        status: WorkflowStatus,
        timeout_ms: Option<i64>,
    ) -> Result<(), Error> {
        let sql = &self.sql.set_status;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&id.as_uuid(), &status.code(), &timeout_ms];
        self.rows(db, sql, &params, "setting a workflow's status").await?;
        Ok(())
    }

    /// Takes tokens of a run, all of them locked before; tasks leave CANCELED history. Out:
    /// whether runs that its tasks had started are to be terminated.
    pub(crate) async fn cancel_tokens(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        canceled: &CanceledRow<'_>,
    ) -> Result<bool, Error> {
        let references: Vec<&str> = canceled.inputs.iter().map(|i| i.0.as_str()).collect();
        let values: Vec<_> = canceled.inputs.iter().map(|i| Json(&*i.1)).collect();
        let (stay, children_stay) = (canceled.stay.unwrap_or_default(), canceled.stay.is_some());
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &id.as_uuid(),
            &references,
            &values,
            &canceled.reason,
            &stay,
            &children_stay,
            &canceled.compensate,
        ];
        let row = self.one(db, &self.sql.cancel_tokens, &params, "canceling open tasks").await?;
        Ok(get::<i64>(&row, 0)? > 0)
    }

    /// Ends a run whose row is locked and whose tokens are taken.
    pub(crate) async fn end_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        end: &RunEnd,
    ) -> Result<(), Error> {
        self.one(
            db,
            &self.sql.end_workflow,
            &[
                &id.as_uuid(),
                &end.status.code(),
                &Json(&*end.output),
                &end.reason,
                &end.failed_task,
            ],
            "ending a workflow",
        )
        .await?;
        Ok(())
    }

    pub(crate) async fn set_failure_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        failure: WorkflowId,
        output: &Value,
    ) -> Result<(), Error> {
        self.rows(
            db,
            &self.sql.set_failure_workflow,
            &[&id.as_uuid(), &failure.as_uuid(), &Json(output)],
            "noting a failure workflow",
        )
        .await?;
        Ok(())
    }

    pub(crate) async fn set_output(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        output: &Value,
    ) -> Result<(), Error> {
        let sql = &self.sql.set_output;
        self.rows(db, sql, &[&id.as_uuid(), &Json(output)], "noting an output").await?;
        Ok(())
    }

    /// An ended run goes on where it ended. `token` is that of the parent's task that waits for it
    /// from now on.
    pub(crate) async fn reopen_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        timeout_ms: Option<i64>,
        (resumes, token): (bool, Option<i64>),
    ) -> Result<(), Error> {
        let sql = &self.sql.reopen_workflow;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&id.as_uuid(), &timeout_ms, &resumes, &token];
        self.rows(db, sql, &params, "reopening a workflow").await?;
        Ok(())
    }

    /// Out: the new epoch.
    pub(crate) async fn restart_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        restart: &RestartRow,
    ) -> Result<i16, Error> {
        let row = self
            .one(
                db,
                &self.sql.restart_workflow,
                &[
                    &id.as_uuid(),
                    &restart.definition_id,
                    &restart.version,
                    &Json(&*restart.variables),
                    &restart.timeout_ms,
                ],
                "restarting a workflow",
            )
            .await?;
        get(&row, 0)
    }

    /// Out: the new epoch.
    pub(crate) async fn rerun_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        cut: &Cut<'_>,
        timeout_ms: Option<i64>,
    ) -> Result<i16, Error> {
        let sql = &self.sql.rerun_workflow;
        let (from, given) = (cut.given.map(|given| given.0), cut.given.map(|given| Json(given.1)));
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&id.as_uuid(), &cut.seq, &cut.at, &given, &from, &timeout_ms, &cut.kept];
        get(&self.one(db, sql, &params, "rerunning a workflow").await?, 0)
    }

    /// What an ended run gets as it goes on.
    pub(crate) async fn set_input(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        (input, correlation_id): (Option<&Value>, Option<&str>),
    ) -> Result<(), Error> {
        let sql = &self.sql.set_input;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&id.as_uuid(), &input.map(Json), &correlation_id];
        self.rows(db, sql, &params, "setting a workflow's input").await?;
        Ok(())
    }

    /// All tokens and the run must be locked.
    pub(crate) async fn set_variables(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        variables: &Value,
    ) -> Result<(), Error> {
        let sql = &self.sql.set_variables;
        self.rows(db, sql, &[&id.as_uuid(), &Json(variables)], "setting variables").await?;
        Ok(())
    }

    /// All tokens of the run must be locked. Out: queues with ready tokens.
    pub(crate) async fn reset_callbacks(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<Vec<String>, Error> {
        let sql = &self.sql.reset_callbacks;
        let rows = self.rows(db, sql, &[&id.as_uuid()], "resetting callbacks").await?;
        ready_queues(&rows)
    }

    /// A step that was not scheduled yet is passed when it is reached.
    pub(crate) async fn skip_task(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        (reference_name, task_type): (&str, &str),
        (input, output): (&Value, &Value),
    ) -> Result<(), Error> {
        let sql = &self.sql.skip_task;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&id.as_uuid(), &reference_name, &task_type, &Json(input), &Json(output)];
        self.rows(db, sql, &params, "skipping a task").await?;
        Ok(())
    }

    /// Opens a token of no task: the run goes on as `then` says.
    pub(crate) async fn open_decide(
        &self,
        db: &impl Executor,
        (id, epoch, priority): (WorkflowId, i16, i16),
        then: &Value,
    ) -> Result<(), Error> {
        let sql = &self.sql.open_decide;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&id.as_uuid(), &epoch, &priority, &Json(then)];
        self.rows(db, sql, &params, "opening a task").await?;
        Ok(())
    }
}

fn ready_queues(rows: &[tokio_postgres::Row]) -> Result<Vec<String>, Error> {
    let mut queues = Vec::new();
    for row in rows {
        if get::<i16>(row, 1)? == TokenState::Ready.code() {
            queues.push(get(row, 0)?);
        }
    }
    Ok(queues)
}
