//! Starts, set-based.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::advance::OpenedRow;
use super::rows::{Token, TokenState, get};
use super::{Executor, Store};
use crate::definition::TaskToDomain;
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::telemetry::TraceContext;

/// The task that a run is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    pub(crate) id: WorkflowId,
    pub(crate) token: i64,
    pub(crate) root: WorkflowId,
}

/// A run to start with its first task.
#[derive(Clone, Debug)]
pub(crate) struct StartRow {
    pub(crate) id: WorkflowId,
    pub(crate) name: Arc<str>,
    pub(crate) definition_id: i64,
    /// Whether the caller asked for the latest version, whichever that is; none for a definition
    /// that may be out of date.
    pub(crate) latest: Option<bool>,
    pub(crate) priority: i16,
    pub(crate) input: Arc<Value>,
    pub(crate) variables: Arc<Value>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) timeout_ms: Option<i64>,
    pub(crate) parent: Option<Parent>,
    pub(crate) task_to_domain: Option<Arc<TaskToDomain>>,
    /// None where its trace follows from its ids.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) first: OpenedRow,
}

impl StartRow {
    /// The token of the first task, where it is leased.
    fn first_token(&self, id: i64, at: DateTime<Utc>, due_at: Option<DateTime<Utc>>) -> Token {
        Token {
            id,
            workflow_id: self.id,
            reference_name: self.first.reference_name.clone(),
            epoch: 0,
            attempt: 0,
            queue: self.first.queue.clone(),
            state: TokenState::Leased,
            rev: 0,
            priority: self.priority,
            set_aside: 0,
            poll_count: 1,
            started_at: Some(at),
            due_at,
            input: None,
            detail: None,
            scope: None,
        }
    }
}

/// What a batch of starts did.
#[derive(Debug, Default)]
pub(crate) struct StartBatch {
    pub(crate) started: Vec<WorkflowId>,
    /// First tasks that are this holder's now.
    pub(crate) leased: Vec<Token>,
}

/// A run that has the id or the key of one that was not started.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub(crate) asked: WorkflowId,
    pub(crate) found: WorkflowId,
    pub(crate) same_input: bool,
    /// It has not ended.
    pub(crate) running: bool,
}

fn column<'a, T>(rows: &'a [&'a StartRow], of: impl Fn(&'a StartRow) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

/// A row that may meet another is inserted on trial first, which takes a tenth of the time of a start and a
/// record of WAL.
const ON_TRIAL: &str = "    ON CONFLICT DO NOTHING\n";

/// The statement for runs that can meet no other.
pub(super) fn of_new(start_workflows: &str) -> String {
    start_workflows.replacen(ON_TRIAL, "", 1)
}

impl Store {
    /// As [`start_workflows`](Self::start_workflows), with ids that were made just now.
    pub(crate) async fn start_new(
        &self,
        db: &impl Executor,
        runs: &[&StartRow],
    ) -> Result<StartBatch, Error> {
        let keyed = runs.iter().any(|run| run.idempotency_key.is_some());
        let sql = if keyed { &self.sql.start_workflows } else { &self.start_new };
        self.start_by(sql, db, runs, None).await
    }

    /// Starts what can be started. `holder` gets what is leased by it. A run that is missing in
    /// the answer has an id or a key that is taken, or its definition is current no longer.
    pub(crate) async fn start_workflows(
        &self,
        db: &impl Executor,
        runs: &[&StartRow],
        holder: Option<i64>,
    ) -> Result<StartBatch, Error> {
        self.start_by(&self.sql.start_workflows, db, runs, holder).await
    }

    async fn start_by(
        &self,
        sql: &str,
        db: &impl Executor,
        runs: &[&StartRow],
        holder: Option<i64>,
    ) -> Result<StartBatch, Error> {
        let row = self
            .one(
                db,
                sql,
                &[
                    &column(runs, |r| r.id.as_uuid()),
                    &column(runs, |r| r.definition_id),
                    &column(runs, |r| r.latest),
                    &column(runs, |r| r.priority),
                    &column(runs, |r| Json(&*r.input)),
                    &column(runs, |r| Json(&*r.variables)),
                    &column(runs, |r| r.correlation_id.as_deref()),
                    &column(runs, |r| r.idempotency_key.as_deref()),
                    &column(runs, |r| r.parent.map(|parent| parent.id.as_uuid())),
                    &column(runs, |r| r.parent.map(|parent| parent.token)),
                    &column(runs, |r| r.parent.map(|parent| parent.root.as_uuid())),
                    &column(runs, |r| r.timeout_ms),
                    &column(runs, |r| r.task_to_domain.as_ref().map(|map| Json(map.as_map()))),
                    &column(runs, |r| &*r.first.reference_name),
                    &column(runs, |r| &*r.first.queue),
                    &column(runs, |r| r.first.task_type.as_deref()),
                    &column(runs, |r| r.first.state.code()),
                    &column(runs, |r| r.first.delay_ms),
                    &column(runs, |r| r.first.timeout_ms),
                    &column(runs, |r| r.first.poll_timeout_ms),
                    &column(runs, |r| r.first.total_ms),
                    &column(runs, |r| r.first.input.as_deref().map(Json)),
                    &holder,
                    &column(runs, |r| r.trace.as_ref().map(Json)),
                ],
                "starting workflows",
            )
            .await?;
        let started = get::<Option<Vec<Uuid>>>(&row, 0)?.unwrap_or_default();
        let leased = get::<Option<Vec<Uuid>>>(&row, 1)?.unwrap_or_default();
        let tokens = get::<Option<Vec<i64>>>(&row, 2)?.unwrap_or_default();
        let due = get::<Option<Vec<Option<DateTime<Utc>>>>>(&row, 3)?.unwrap_or_default();
        let at: DateTime<Utc> = get(&row, 4)?;
        let first: HashMap<Uuid, &StartRow> = runs.iter().map(|r| (r.id.as_uuid(), *r)).collect();
        let leased = leased.iter().zip(tokens).zip(due);
        let leased = leased.filter_map(|((run, token), due_at)| {
            Some(first.get(run)?.first_token(token, at, due_at))
        });
        Ok(StartBatch {
            started: started.into_iter().map(WorkflowId::from_uuid).collect(),
            leased: leased.collect(),
        })
    }

    /// Why runs were not started: a second statement, since the first one's snapshot may not show
    /// what it met.
    pub(crate) async fn find_started(
        &self,
        db: &impl Executor,
        runs: &[&StartRow],
    ) -> Result<Vec<FoundRow>, Error> {
        let rows = self
            .rows(
                db,
                &self.sql.find_started,
                &[
                    &column(runs, |r| r.id.as_uuid()),
                    &column(runs, |r| &*r.name),
                    &column(runs, |r| r.idempotency_key.as_deref()),
                    &column(runs, |r| Json(&*r.input)),
                ],
                "finding workflows by key",
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(FoundRow {
                    asked: WorkflowId::from_uuid(get(row, 0)?),
                    found: WorkflowId::from_uuid(get(row, 1)?),
                    same_input: get(row, 2)?,
                    running: get(row, 3)?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::statements::Sql;
    use super::*;

    #[test]
    fn runs_that_can_meet_no_other_are_not_inserted_on_trial() {
        let sql = Sql::new("s").start_workflows;
        assert_eq!(of_new(&sql).len(), sql.len() - ON_TRIAL.len());
    }
}
