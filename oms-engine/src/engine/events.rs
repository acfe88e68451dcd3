//! Events from outside, their handlers, and what handlers did.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Transaction;

use super::definitions::{log_notices, read, write};
use super::start::check_key;
use super::{Engine, Registered, connection};
use crate::advance::{Acted, Core};
use crate::definition::{
    EventHandler, TASK_PAYLOAD_MAX_BYTES, check_payload, validate_event_handler,
};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::queue::EVENTS_NOTE;
use crate::store::{ActionStatus, ExecutionFilter, ExecutionRow, Executor, NewEvent};

/// The largest list.
const LIST_MAX: usize = 1_000;

/// An event to publish: what tasks of type EVENT publish, by a program.
#[derive(Clone, Debug)]
#[must_use]
pub struct EventRequest {
    event: String,
    payload: Value,
    idempotency_key: Option<String>,
}

impl EventRequest {
    /// The event's name (`conductor:<queue>`; `conductor:<workflow>:<reference name>` is what an
    /// EVENT task publishes) and its payload, a JSON object.
    pub fn new(event: impl Into<String>, payload: Value) -> Self {
        Self { event: event.into(), payload, idempotency_key: None }
    }

    /// The event is published once under this key, for a week: a repeat has no effect. 1 to 255
    /// bytes. It is the event's message id, too.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    fn check(self) -> Result<NewEvent, Error> {
        check_key("event", Some(&self.event))?;
        check_key("idempotency key", self.idempotency_key.as_deref())?;
        if !self.event.starts_with("conductor:") {
            return Err(Error::invalid("event", "does not begin with `conductor:`"));
        }
        if !self.payload.is_object() {
            return Err(Error::invalid("payload", "is no JSON object"));
        }
        check_payload("payload", &self.payload, TASK_PAYLOAD_MAX_BYTES)
            .map_err(|fault| Error::invalid(format!("payload {}", fault.path), fault.reason))?;
        let drawn = || WorkflowId::new().to_string();
        Ok(NewEvent {
            event: self.event,
            message_id: self.idempotency_key.clone().unwrap_or_else(drawn),
            idempotency_key: self.idempotency_key,
            payload: Arc::new(self.payload),
        })
    }
}

/// An event that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedEvent {
    /// What handlers see as `conductor.event.messageId`.
    pub message_id: String,
    /// Whether an earlier call with the same idempotency key had published it.
    pub existed: bool,
}

/// How what a handler does about an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum EventExecutionStatus {
    /// It is still to be done.
    InProgress,
    /// It is done.
    Completed,
    /// It could not be done: its output says why.
    Failed,
    /// The handler's condition did not hold.
    Skipped,
}

impl EventExecutionStatus {
    const fn code(self) -> i16 {
        match self {
            Self::InProgress => ActionStatus::Open.code(),
            Self::Completed => ActionStatus::Completed.code(),
            Self::Failed => ActionStatus::Failed.code(),
            Self::Skipped => ActionStatus::Skipped.code(),
        }
    }
}

/// What a handler's action did about an event. Names are those of Conductor's `EventExecution`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EventExecution {
    /// The message id and the action's number among those of its handler.
    pub id: String,
    /// The event's message id.
    pub message_id: String,
    /// The handler's name.
    pub name: String,
    /// The event's name.
    pub event: String,
    /// When it was laid out.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub created: DateTime<Utc>,
    /// How it stands.
    pub status: EventExecutionStatus,
    /// The kind of action; none where the handler was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What came of it: the run that was started, what a task got, why it failed.
    pub output: Value,
    /// Grows with the events; for [`EventExecutionRequest::below`].
    #[serde(skip)]
    pub event_number: i64,
}

impl EventExecution {
    fn of(row: ExecutionRow) -> Self {
        Self {
            id: format!("{}_{}", row.message_id, row.number),
            message_id: row.message_id,
            name: row.handler,
            event: row.event,
            created: row.created_at,
            status: match row.status {
                0 => EventExecutionStatus::InProgress,
                1 => EventExecutionStatus::Completed,
                2 => EventExecutionStatus::Failed,
                _ => EventExecutionStatus::Skipped,
            },
            action: row.action,
            output: row.output,
            event_number: row.event_id,
        }
    }
}

/// What to list of what handlers did: all that fits every field that is set, newest events first.
/// It is kept for a week.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EventExecutionRequest {
    /// About this event.
    pub event: Option<String>,
    /// About the event with this message id.
    pub message_id: Option<String>,
    /// By this handler.
    pub handler: Option<String>,
    /// In one of these statuses; empty for any.
    pub statuses: Vec<EventExecutionStatus>,
    /// Of events before this one ([`EventExecution::event_number`]).
    pub below: Option<i64>,
    /// 1 to 1,000; 100 when 0.
    pub size: usize,
}

impl Engine {
    /// Publishes an event from outside: handlers act on it as on one that a task publishes. When
    /// it returns, the event is durable; each action of each handler that is registered and active
    /// by then is done once.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], also for a key under which another payload was published. After
    /// [`Error::Deadline`] it may be published: repeat with the same idempotency key.
    ///
    /// # Cancel safety
    /// Dropped, the event may be published or not.
    pub async fn publish(&self, request: EventRequest) -> Result<PublishedEvent, Error> {
        let event = request.check()?;
        let engine = self.clone();
        self.on_own_threads(async move {
            let core = engine.inner.shared.core.clone();
            let mut client = connection(&engine.inner.pool).await?;
            let done = insert(&core, client.client()?, event).await;
            let published = client.settle(done)?;
            let ready = vec![EVENTS_NOTE.to_owned()];
            engine.tell(Acted { ready, ..Acted::default() }).await;
            Ok(published)
        })
        .await
    }

    /// Publishes an event inside the caller's transaction: it is published if and when the
    /// transaction commits.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). After a database error the transaction is of no more use.
    ///
    /// # Cancel safety
    /// Dropped, roll the transaction back.
    pub async fn publish_in(
        &self,
        tx: &Transaction<'_>,
        request: EventRequest,
    ) -> Result<PublishedEvent, Error> {
        let core = &self.inner.shared.core;
        let published = insert(core, tx, request.check()?).await?;
        core.store.notify(tx, &[EVENTS_NOTE]).await?;
        Ok(published)
    }

    /// Registers event handlers, all or none, each in place of the one of its name.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`] with every fault of the first handler that has one.
    pub async fn register_event_handlers(
        &self,
        handlers: &[EventHandler],
    ) -> Result<Registered, Error> {
        let mut notices = Vec::new();
        for handler in handlers {
            let noticed = validate_event_handler(handler);
            notices.extend(noticed.map_err(|faults| Error::InvalidDefinition { faults })?);
        }
        let mut handlers = handlers.to_vec();
        // Two calls lock them in one order.
        handlers.sort_by(|a, b| a.name.cmp(&b.name));
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = async {
                let tx = store.begin(client.client()?).await?;
                for handler in &handlers {
                    let key = (handler.name.as_str(), handler.event.as_str());
                    store.put_event_handler(&tx, key, handler.active, &write(handler)?).await?;
                }
                store.commit(tx).await
            };
            let done = done.await;
            client.settle(done)
        })
        .await?;
        log_notices(&notices);
        Ok(Registered { notices })
    }

    /// Registers one event handler; see [`register_event_handlers`](Self::register_event_handlers).
    ///
    /// # Errors
    /// As [`register_event_handlers`](Self::register_event_handlers).
    pub async fn register_event_handler(
        &self,
        handler: &EventHandler,
    ) -> Result<Registered, Error> {
        self.register_event_handlers(std::slice::from_ref(handler)).await
    }

    /// The registered event handlers by name, also those that are not active: of one event, or of
    /// all.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn event_handlers(&self, event: Option<&str>) -> Result<Vec<EventHandler>, Error> {
        let event = event.map(str::to_owned);
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = store.list_event_handlers(client.client()?, event.as_deref()).await;
            client.settle(done)?.into_iter().map(read).collect()
        })
        .await
    }

    /// Removes an event handler. What it is to do about events that were laid out before is done.
    /// Out: whether there was one.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn remove_event_handler(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = store.remove_event_handler(client.client()?, &name).await;
            client.settle(done)
        })
        .await
    }

    /// What event handlers did, newest events first.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a size over 1,000.
    pub async fn event_executions(
        &self,
        request: &EventExecutionRequest,
    ) -> Result<Vec<EventExecution>, Error> {
        if request.size > LIST_MAX {
            let reason = format!("is {}, at most {LIST_MAX}", request.size);
            return Err(Error::invalid("size", reason));
        }
        let size = if request.size == 0 { 100 } else { request.size };
        let filter = ExecutionFilter {
            event: request.event.clone(),
            message_id: request.message_id.clone(),
            handler: request.handler.clone(),
            statuses: request.statuses.iter().map(|status| status.code()).collect(),
            below: request.below,
            limit: i64::try_from(size).unwrap_or(i64::MAX),
        };
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = store.list_event_executions(client.client()?, &filter).await;
            Ok(client.settle(done)?.into_iter().map(EventExecution::of).collect())
        })
        .await
    }
}

async fn insert(core: &Core, db: &impl Executor, event: NewEvent) -> Result<PublishedEvent, Error> {
    let events = [event];
    let new = core.store.insert_events(db, &events).await? > 0;
    let [event] = events;
    let Some(key) = event.idempotency_key.as_deref().filter(|_| !new) else {
        return Ok(PublishedEvent { message_id: event.message_id, existed: false });
    };
    // A second statement: the first one's snapshot may not show what it met.
    match core.store.find_event(db, (&event.event, key), &event.payload).await? {
        Some((_, false)) => {
            let reason = format!("{key:?} was used for another payload");
            Err(Error::invalid("idempotency key", reason))
        }
        // Forgotten since: it was published.
        _ => Ok(PublishedEvent { message_id: event.message_id, existed: true }),
    }
}
