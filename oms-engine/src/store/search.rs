//! Searches: planned anew for each, on connections of their own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{ClientWrapper, Transaction};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use super::rows::{get, json, workflow_status};
use super::{Executor, Store};
use crate::decide::{TaskStatus, WorkflowStatus};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};

/// Which part of what fits: how many are counted, passed over and shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) counted: i64,
    pub(crate) start: i32,
    pub(crate) size: i32,
}

/// How large an input or output is shown, in bytes as it is stored.
const SHOWN_MAX_BYTES: i32 = 32 * 1024;

/// A time from which, and one before which.
pub(crate) type Times = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Which runs to find. None is any.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkflowFilter {
    pub(crate) ids: Option<Vec<Uuid>>,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) name_like: Option<String>,
    pub(crate) correlation_ids: Option<Vec<String>>,
    pub(crate) correlation_like: Option<String>,
    pub(crate) parents: Option<Vec<Uuid>>,
    pub(crate) versions: Option<Vec<i32>>,
    pub(crate) statuses: Option<Vec<WorkflowStatus>>,
    pub(crate) top_level_only: bool,
    pub(crate) created: Times,
    pub(crate) ended: Times,
    pub(crate) words: Option<Vec<String>>,
    /// Where words are not looked for, in JSON: a regular expression whose first group is.
    pub(crate) passed_over: Option<String>,
    pub(crate) sort: String,
}

/// Which attempts to find. None is any.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskFilter {
    pub(crate) runs: Option<Vec<Uuid>>,
    pub(crate) tasks: Option<Vec<TaskId>>,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) type_like: Option<String>,
    pub(crate) statuses: Option<Vec<TaskStatus>>,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) correlation_ids: Option<Vec<String>>,
    pub(crate) parents: Option<Vec<Uuid>>,
    pub(crate) scheduled: Times,
    pub(crate) started: Times,
    pub(crate) ended: Times,
    pub(crate) changed: Times,
    pub(crate) words: Option<Vec<String>>,
    /// Where words are not looked for, in JSON: a regular expression whose first group is.
    pub(crate) passed_over: Option<String>,
    pub(crate) sort: String,
}

/// A run that was found.
#[derive(Clone, Debug)]
pub(crate) struct FoundRun {
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
    pub(crate) parent_id: Option<WorkflowId>,
    /// None where it is large.
    pub(crate) input: Option<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) task_to_domain: Option<Value>,
    /// Reference names of tasks of which an attempt failed.
    pub(crate) failed: Vec<String>,
}

impl FoundRun {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: WorkflowId::from_uuid(get(row, 1)?),
            name: get(row, 2)?,
            version: get(row, 3)?,
            status: workflow_status(get(row, 4)?)?,
            priority: get(row, 5)?,
            correlation_id: get(row, 6)?,
            idempotency_key: get(row, 7)?,
            created_at: get(row, 8)?,
            ended_at: get(row, 9)?,
            reason: get(row, 10)?,
            parent_id: get::<Option<Uuid>>(row, 11)?.map(WorkflowId::from_uuid),
            input: json(row, 12)?,
            output: json(row, 13)?,
            task_to_domain: json(row, 14)?,
            failed: get::<Option<Vec<String>>>(row, 15)?.unwrap_or_default(),
        })
    }
}

/// How many fit, and those that are shown.
pub(crate) type Hits<T> = (i64, Vec<T>);

fn hits<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Error>) -> Result<Hits<T>, Error> {
    let mut found = Vec::with_capacity(rows.len());
    let mut all = 0;
    for row in rows {
        all = get(row, 0)?;
        // A page without any has one row of nulls.
        if get::<Option<Uuid>>(row, 1)?.is_some() {
            found.push(read(row)?);
        }
    }
    Ok((all, found))
}

impl Store {
    /// An ended run, whose row must be locked, with all that is kept of it.
    pub(crate) async fn remove_workflow(
        &self,
        db: &impl Executor,
        id: WorkflowId,
    ) -> Result<(), Error> {
        let sql = &self.sql.remove_workflow;
        self.rows(db, sql, &[&id.as_uuid()], "removing a workflow").await?;
        Ok(())
    }

    /// A transaction for one search: planned for what is asked, and stopped by the server when its
    /// time is up.
    pub(crate) async fn begin_search<'a>(
        &self,
        client: &'a mut ClientWrapper,
        limit: Duration,
    ) -> Result<Transaction<'a>, Error> {
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true);
        let tx = self.within("beginning to search", tx.start()).await?;
        let sql = format!(
            "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = on; \
             SET LOCAL enable_bitmapscan = on; \
             SET LOCAL statement_timeout = {}",
            limit.as_millis()
        );
        self.within("beginning to search", tx.batch_execute(&sql)).await?;
        Ok(tx)
    }

    pub(crate) async fn search_workflows(
        &self,
        db: &impl Executor,
        filter: &WorkflowFilter,
        window: Window,
    ) -> Result<Hits<FoundRun>, Error> {
        let statuses: Option<Vec<i16>> =
            filter.statuses.as_ref().map(|all| all.iter().map(|s| s.code()).collect());
        let asked = filter.statuses.as_deref();
        let none_completed = asked.is_some_and(|all| !all.contains(&WorkflowStatus::Completed));
        let some_running = asked.is_some_and(|all| all.contains(&WorkflowStatus::Running));
        let params: [&(dyn ToSql + Sync); 22] = [
            &filter.ids,
            &filter.names,
            &filter.name_like,
            &filter.correlation_ids,
            &filter.correlation_like,
            &filter.parents,
            &filter.versions,
            &statuses,
            &filter.created.0,
            &filter.created.1,
            &filter.ended.0,
            &filter.ended.1,
            &filter.words,
            &filter.sort,
            &window.counted,
            &window.start,
            &window.size,
            &SHOWN_MAX_BYTES,
            &filter.top_level_only,
            &none_completed,
            &some_running,
            &filter.passed_over,
        ];
        let sql = &self.sql.search_workflows;
        let rows = self.rows(db, sql, &params, "searching workflows").await?;
        hits(&rows, FoundRun::read)
    }

    pub(crate) async fn search_tasks(
        &self,
        db: &impl Executor,
        filter: &TaskFilter,
        window: Window,
    ) -> Result<Hits<TaskId>, Error> {
        let statuses: Option<Vec<i16>> =
            filter.statuses.as_ref().map(|all| all.iter().map(|s| s.code()).collect());
        let of = filter.tasks.as_ref();
        let runs: Option<Vec<Uuid>> =
            of.map(|all| all.iter().map(|task| task.workflow_id.as_uuid()).collect());
        let names: Option<Vec<&str>> =
            of.map(|all| all.iter().map(|task| task.reference_name.as_str()).collect());
        let epochs: Option<Vec<i16>> = of.map(|all| all.iter().map(|task| task.epoch).collect());
        let attempts: Option<Vec<i16>> =
            of.map(|all| all.iter().map(|task| task.attempt).collect());
        let (start, size) = (i64::from(window.start), i64::from(window.size));
        let (scheduled, started) = (filter.scheduled, filter.started);
        let latest = scheduled.0.max(started.0).max(filter.ended.0).max(filter.changed.0);
        let params: [&(dyn ToSql + Sync); 26] = [
            &filter.runs,
            &runs,
            &names,
            &epochs,
            &attempts,
            &filter.types,
            &filter.type_like,
            &statuses,
            &filter.names,
            &filter.correlation_ids,
            &filter.parents,
            &scheduled.0,
            &scheduled.1,
            &started.0,
            &started.1,
            &filter.ended.0,
            &filter.ended.1,
            &filter.changed.0,
            &filter.changed.1,
            &filter.words,
            &filter.sort,
            &window.counted,
            &start,
            &size,
            &latest,
            &filter.passed_over,
        ];
        let rows = self.rows(db, &self.sql.search_tasks, &params, "searching tasks").await?;
        hits(&rows, |row| {
            Ok(TaskId {
                workflow_id: WorkflowId::from_uuid(get(row, 1)?),
                reference_name: get(row, 2)?,
                epoch: get(row, 3)?,
                attempt: get(row, 4)?,
            })
        })
    }
}
