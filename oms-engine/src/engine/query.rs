//! Reading runs, and waiting for them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use serde::Serialize;
use tokio::sync::oneshot;

use super::start::check_key;
use super::{Engine, connection};
use crate::advance::{Core, Execution};
use crate::decide::WorkflowStatus;
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};
use crate::store::{ListFilter, ListedRow, RunEnd};

/// When the server was away.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// The largest page of a list.
const PAGE_MAX: usize = 1_000;

/// Which runs to list: all that fit every field that is set, newest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListRequest {
    /// Of this definition.
    pub name: Option<String>,
    /// In one of these statuses; empty for any.
    pub statuses: Vec<WorkflowStatus>,
    /// With this correlation id.
    pub correlation_id: Option<String>,
    /// Created at or after this time.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Where the page before ended ([`Page::next`]).
    pub after: Option<WorkflowId>,
    /// Runs of a page; 1 to 1,000, 100 when 0.
    pub size: usize,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// The runs, newest first.
    pub results: Vec<WorkflowSummary>,
    /// Where the next page begins, if there is one.
    pub next: Option<WorkflowId>,
}

/// A run in a list. Names are those of Conductor's `WorkflowSummary`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WorkflowSummary {
    /// Its id.
    pub workflow_id: WorkflowId,
    /// The definition's name.
    pub workflow_type: String,
    /// The definition's version.
    pub version: i32,
    /// Where it stands.
    pub status: WorkflowStatus,
    /// 0 to 99.
    pub priority: i16,
    /// The caller's name for what it belongs to.
    pub correlation_id: Option<String>,
    /// The key it was started under.
    pub idempotency_key: Option<String>,
    /// When it was started.
    pub start_time: DateTime<Utc>,
    /// When it ended.
    pub end_time: Option<DateTime<Utc>>,
    /// Why it did not complete.
    pub reason_for_incompletion: Option<String>,
}

impl From<ListedRow> for WorkflowSummary {
    fn from(row: ListedRow) -> Self {
        Self {
            workflow_id: row.id,
            workflow_type: row.name,
            version: row.version,
            status: row.status,
            priority: row.priority,
            correlation_id: row.correlation_id,
            idempotency_key: row.idempotency_key,
            start_time: row.created_at,
            end_time: row.ended_at,
            reason_for_incompletion: row.reason,
        }
    }
}

/// A line that a task logged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TaskLogLine {
    /// The line.
    pub log: String,
    /// When it was stored.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub created_time: DateTime<Utc>,
}

impl Engine {
    /// A run with all its tasks, ended and open, as of one moment.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`].
    pub async fn get(&self, id: WorkflowId) -> Result<Execution, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = read(&core, client.client()?, id).await;
            client.settle(done)
        })
        .await
    }

    /// Waits until a run has ended, however it ended, and gives it. There is no time limit:
    /// put one around it.
    ///
    /// # Errors
    /// [`Error::WorkflowNotFound`], [`Error::Shutdown`].
    ///
    /// # Cancel safety
    /// Safe to drop and to repeat.
    pub async fn wait(&self, id: WorkflowId) -> Result<Execution, Error> {
        loop {
            self.until_ended(id).await?;
            match self.get(id).await {
                Ok(execution) if execution.status.is_terminal() => return Ok(execution),
                // Somebody has brought it back meanwhile.
                Ok(_) => {}
                // It may take as long as the run does: a server that is away is waited for.
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, workflow_id = %id, "waiting for a workflow");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns when a run has ended or is not there; with its end where that was decided here.
    pub(super) async fn until_ended(&self, id: WorkflowId) -> Result<Option<RunEnd>, Error> {
        let (sender, ended) = oneshot::channel();
        self.inner.waiters.send((id, sender)).await.map_err(|_| Error::Shutdown)?;
        ended.await.map_err(|_| Error::Shutdown)
    }

    /// Waits until a run has ended and gives its output.
    ///
    /// # Errors
    /// [`Error::WorkflowFailed`] when it did not complete; as [`wait`](Self::wait).
    pub async fn result(&self, id: WorkflowId) -> Result<serde_json::Value, Error> {
        // Told by the pump that wrote the end: it need not be read again.
        let (status, output, reason) = match self.until_ended(id).await? {
            Some(RunEnd { status, output, reason, .. }) => (status, (*output).clone(), reason),
            None => {
                let execution = self.wait(id).await?;
                (execution.status, execution.output, execution.reason_for_incompletion)
            }
        };
        if status == WorkflowStatus::Completed {
            return Ok(output);
        }
        Err(Error::WorkflowFailed {
            workflow_id: id,
            status: status.as_str(),
            reason: reason.unwrap_or_default(),
        })
    }

    /// A page of runs, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a page that is too large.
    pub async fn list(&self, request: &ListRequest) -> Result<Page, Error> {
        let size = if request.size == 0 { 100 } else { request.size };
        if size > PAGE_MAX {
            return Err(Error::invalid("size", format!("{size} is more than {PAGE_MAX}")));
        }
        check_key("workflow name", request.name.as_deref())?;
        check_key("correlation id", request.correlation_id.as_deref())?;
        let filter = ListFilter {
            name: request.name.clone(),
            statuses: (!request.statuses.is_empty()).then(|| request.statuses.clone()),
            correlation_id: request.correlation_id.clone(),
            created_from: request.created_from,
            created_before: request.created_before,
            below: request.after,
            limit: i64::try_from(size).unwrap_or(i64::MAX) + 1,
        };
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let mut rows = self
            .on_own_threads(async move {
                let mut client = connection(&pool).await?;
                let done = core.store.list_workflows(client.client()?, &filter).await;
                client.settle(done)
            })
            .await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = if more { rows.last().map(|row| row.id) } else { None };
        Ok(Page { results: rows.into_iter().map(Into::into).collect(), next })
    }

    /// The lines that an attempt logged, oldest first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn task_log(&self, task_id: &TaskId) -> Result<Vec<TaskLogLine>, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let task_id = task_id.clone();
        let lines = self
            .on_own_threads(async move {
                let mut client = connection(&pool).await?;
                let done = core.store.load_logs(client.client()?, &task_id).await;
                client.settle(done)
            })
            .await?;
        Ok(lines.into_iter().map(|(log, created_time)| TaskLogLine { log, created_time }).collect())
    }
}

async fn read(core: &Core, client: &mut ClientWrapper, id: WorkflowId) -> Result<Execution, Error> {
    let tx = core.store.begin_reading(client).await?;
    core.load_execution(&tx, id).await
}
