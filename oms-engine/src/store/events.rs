//! Events, their handlers, and what handlers did.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::{Json, ToSql};

use super::rows::{get, json};
use super::{Executor, Store};
use crate::error::Error;

/// An event to publish.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) event: String,
    pub(crate) message_id: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) payload: Arc<Value>,
}

/// An event whose handlers have not been asked yet.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) id: i64,
    pub(crate) event: String,
    pub(crate) message_id: String,
    pub(crate) payload: Value,
}

/// How an action stands. The codes are those of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionStatus {
    Open,
    Completed,
    Failed,
    Skipped,
}

impl ActionStatus {
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::Open => 0,
            Self::Completed => 1,
            Self::Failed => 2,
            Self::Skipped => 3,
        }
    }
}

/// What a handler does about an event.
#[derive(Debug)]
pub(crate) struct ActionRow {
    pub(crate) event_id: i64,
    pub(crate) handler: String,
    pub(crate) number: i16,
    /// None for a handler that is skipped.
    pub(crate) action: Option<Value>,
    pub(crate) status: ActionStatus,
    pub(crate) output: Value,
}

/// An action to do, with its event.
#[derive(Debug)]
pub(crate) struct DueAction {
    pub(crate) event_id: i64,
    pub(crate) handler: String,
    pub(crate) number: i16,
    pub(crate) action: Value,
    pub(crate) event: EventRow,
}

/// What an action came to, for lists.
#[derive(Debug)]
pub(crate) struct ExecutionRow {
    pub(crate) event_id: i64,
    pub(crate) message_id: String,
    pub(crate) handler: String,
    pub(crate) number: i16,
    pub(crate) event: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) status: i16,
    pub(crate) action: Option<String>,
    pub(crate) output: Value,
}

/// Which of them to list.
#[derive(Debug)]
pub(crate) struct ExecutionFilter {
    pub(crate) event: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) handler: Option<String>,
    pub(crate) statuses: Vec<i16>,
    pub(crate) below: Option<i64>,
    pub(crate) limit: i64,
}

fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

impl Store {
    /// Publishes events. Out: how many are new.
    pub(crate) async fn insert_events(
        &self,
        db: &impl Executor,
        events: &[NewEvent],
    ) -> Result<usize, Error> {
        let params: [&(dyn ToSql + Sync); 4] = [
            &column(events, |e| e.event.as_str()),
            &column(events, |e| e.message_id.as_str()),
            &column(events, |e| e.idempotency_key.as_deref()),
            &column(events, |e| Json(&*e.payload)),
        ];
        let sql = &self.sql.insert_events;
        Ok(self.rows(db, sql, &params, "publishing an event").await?.len())
    }

    /// The message id of what was published under a key, and whether its payload is this one.
    pub(crate) async fn find_event(
        &self,
        db: &impl Executor,
        (event, key): (&str, &str),
        payload: &Value,
    ) -> Result<Option<(String, bool)>, Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&event, &key, &Json(payload)];
        let rows = self.rows(db, &self.sql.find_event, &params, "finding an event").await?;
        rows.first().map(|row| Ok((get(row, 0)?, get(row, 1)?))).transpose()
    }

    pub(crate) async fn take_events(
        &self,
        db: &impl Executor,
        limit: i64,
    ) -> Result<Vec<EventRow>, Error> {
        let rows = self.rows(db, &self.sql.take_events, &[&limit], "taking events").await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(EventRow {
                id: get(row, 0)?,
                event: get(row, 1)?,
                message_id: get(row, 2)?,
                payload: json(row, 3)?.unwrap_or_default(),
            })
        };
        rows.iter().map(read).collect()
    }

    pub(crate) async fn find_event_handlers(
        &self,
        db: &impl Executor,
        events: &[&str],
    ) -> Result<Vec<Value>, Error> {
        let sql = &self.sql.find_event_handlers;
        let rows = self.rows(db, sql, &[&events], "finding event handlers").await?;
        rows.iter().map(|row| Ok(json(row, 0)?.unwrap_or_default())).collect()
    }

    pub(crate) async fn lay_out_events(
        &self,
        db: &impl Executor,
        events: &[i64],
        actions: &[ActionRow],
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 7] = [
            &events,
            &column(actions, |a| a.event_id),
            &column(actions, |a| a.handler.as_str()),
            &column(actions, |a| a.number),
            &column(actions, |a| a.action.as_ref().map(Json)),
            &column(actions, |a| a.status.code()),
            &column(actions, |a| Json(&a.output)),
        ];
        self.rows(db, &self.sql.lay_out_events, &params, "laying out events").await?;
        Ok(())
    }

    pub(crate) async fn take_event_action(
        &self,
        db: &impl Executor,
    ) -> Result<Option<DueAction>, Error> {
        let sql = &self.sql.take_event_action;
        let rows = self.rows(db, sql, &[], "taking an event's action").await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(DueAction {
            event_id: get(row, 0)?,
            handler: get(row, 1)?,
            number: get(row, 2)?,
            action: json(row, 3)?.unwrap_or_default(),
            event: EventRow {
                id: get(row, 0)?,
                event: get(row, 4)?,
                message_id: get(row, 5)?,
                payload: json(row, 6)?.unwrap_or_default(),
            },
        }))
    }

    pub(crate) async fn end_event_action(
        &self,
        db: &impl Executor,
        action: &DueAction,
        (status, output): (ActionStatus, &Value),
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 5] =
            [&action.event_id, &action.handler, &action.number, &status.code(), &Json(output)];
        self.rows(db, &self.sql.end_event_action, &params, "ending an event's action").await?;
        Ok(())
    }

    pub(crate) async fn postpone_event_action(
        &self,
        db: &impl Executor,
        action: &DueAction,
        delay_ms: i64,
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 4] =
            [&action.event_id, &action.handler, &action.number, &delay_ms];
        let sql = &self.sql.postpone_event_action;
        self.rows(db, sql, &params, "postponing an event's action").await?;
        Ok(())
    }

    pub(crate) async fn put_event_handler(
        &self,
        db: &impl Executor,
        (name, event): (&str, &str),
        active: bool,
        definition: &Value,
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 4] = [&name, &event, &active, &Json(definition)];
        let sql = &self.sql.put_event_handler;
        self.rows(db, sql, &params, "registering an event handler").await?;
        Ok(())
    }

    pub(crate) async fn list_event_handlers(
        &self,
        db: &impl Executor,
        event: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let sql = &self.sql.list_event_handlers;
        let rows = self.rows(db, sql, &[&event], "listing event handlers").await?;
        rows.iter().map(|row| Ok(json(row, 0)?.unwrap_or_default())).collect()
    }

    /// Out: whether there was one.
    pub(crate) async fn remove_event_handler(
        &self,
        db: &impl Executor,
        name: &str,
    ) -> Result<bool, Error> {
        let sql = &self.sql.remove_event_handler;
        Ok(!self.rows(db, sql, &[&name], "removing an event handler").await?.is_empty())
    }

    pub(crate) async fn list_event_executions(
        &self,
        db: &impl Executor,
        filter: &ExecutionFilter,
    ) -> Result<Vec<ExecutionRow>, Error> {
        let params: [&(dyn ToSql + Sync); 6] = [
            &filter.event,
            &filter.message_id,
            &filter.handler,
            &filter.statuses,
            &filter.below,
            &filter.limit,
        ];
        let sql = &self.sql.list_event_executions;
        let rows = self.rows(db, sql, &params, "listing what event handlers did").await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(ExecutionRow {
                event_id: get(row, 0)?,
                message_id: get(row, 1)?,
                handler: get(row, 2)?,
                number: get(row, 3)?,
                event: get(row, 4)?,
                created_at: get(row, 5)?,
                status: get(row, 6)?,
                action: get(row, 7)?,
                output: json(row, 8)?.unwrap_or_default(),
            })
        };
        rows.iter().map(read).collect()
    }

    pub(crate) async fn forget_events(
        &self,
        db: &impl Executor,
        (older_ms, limit): (i64, i64),
    ) -> Result<(), Error> {
        self.rows(db, &self.sql.forget_events, &[&older_ms, &limit], "forgetting events").await?;
        Ok(())
    }
}
