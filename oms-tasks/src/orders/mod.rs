//! What a shop does with orders: place them, see where they stand, cancel them, follow their delivery,
//! take pieces back, list them.
//!
//! Orders placed here are taken by version 2 of `order_fulfilment`; those of version 1 can be looked at
//! and cancelled too.
//!
//! ```rust,no_run
//! # async fn example(
//! #     engine: oms_engine::Engine,
//! #     pool: deadpool_postgres::Pool,
//! #     order: oms_tasks::order::Order,
//! # ) -> Result<(), oms_tasks::Error> {
//! use oms_tasks::orders::{Cancelled, Orders, PlaceOptions};
//!
//! // An engine that was built with `OrderTasks::register_v2` and has `definitions::v2` registered.
//! let orders = Orders::new(engine, pool);
//! orders.place(&order, &PlaceOptions::default()).await?;
//! if let Some(order) = orders.status(&order.order_id).await? {
//!     for event in &order.history {
//!         println!("{} {}", event.at, event.what);
//!     }
//! }
//! if orders.cancel(&order.order_id, "ordered by mistake").await? == Cancelled::TooLate {
//!     println!("it has left the house");
//! }
//! # Ok(())
//! # }
//! ```

mod delivering;
mod returning;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Pool};
use oms_engine::{Engine, StartRequest, WorkflowId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use returning::Returned;

use crate::error::{Doing as _, Error};
use crate::migrate;
use crate::order::Order;
use crate::sql::{CANCEL_ORDER, CHECK_WINDOW, LIST_ORDERS, get};
use crate::stock::WhenShort;
use crate::summary::{OrderSummary, order_summary};

/// Orders on one page of a list.
pub const PAGE_MAX: u16 = 1_000;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 1_000;

/// What a shop does with orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Orders {
    engine: Engine,
    pool: Pool,
}

/// How an order is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaceOptions {
    /// What becomes of it where a shelf is short; it waits unless this says so.
    pub when_short: WhenShort,
    /// Seconds after which pieces of an order that is not paid go back to the shelf; a day unless set.
    pub hold_seconds: Option<u32>,
    /// Seconds between its scheduling and its dispatch, in which it can still be cancelled; none unless
    /// set.
    pub dispatch_after_seconds: Option<u32>,
}

/// An order that was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Placed {
    /// Its run.
    pub workflow_id: WorkflowId,
    /// Whether it was placed before, and this call found it.
    pub existed: bool,
}

/// What came of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Cancelled {
    /// It is cancelled: what was done for it is being undone, or is by now.
    Cancelled,
    /// It was cancelled before.
    Already,
    /// It has left the house.
    TooLate,
    /// It has failed by itself, and is undone.
    Failed,
}

/// What the status of an order can be, in the order in which they follow each other.
pub const STATUSES: [&str; 8] = [
    "ACKNOWLEDGED",
    "PAID",
    "BOOKED",
    "SCHEDULED",
    "COMPLETED",
    "UNWINDING",
    "FAILED",
    "CANCELLED",
];

/// Which orders are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListFilter {
    /// Those of this status.
    pub status: Option<String>,
    /// Those of the customer with this address.
    pub customer_email: Option<String>,
    /// Those after this id.
    pub after: Option<String>,
    /// How many at most, up to [`PAGE_MAX`].
    pub limit: u16,
}

impl Default for ListFilter {
    fn default() -> Self {
        Self { status: None, customer_email: None, after: None, limit: 100 }
    }
}

/// An order in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct ListedOrder {
    pub order_id: String,
    pub workflow_id: Uuid,
    pub status: String,
    pub customer_email: Option<String>,
    pub currency: Option<String>,
    pub total_minor: Option<i64>,
    pub acknowledged_at: Option<DateTime<Utc>>,
}

impl Orders {
    /// `pool` leads to the order tables, in the engine's database.
    #[must_use]
    pub fn new(engine: Engine, pool: Pool) -> Self {
        Self { engine, pool }
    }

    /// The version of the order tables in this database; none where it has none. This library reads those
    /// of [`TABLES_VERSION`](crate::TABLES_VERSION).
    ///
    /// # Errors
    /// Database errors.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn tables_version(&self) -> Result<Option<i32>, Error> {
        let client = self.pool.get().await.doing("looking for the order tables")?;
        migrate::found(&**client).await
    }

    /// Places an order. When it returns, the order is safe: it is taken to its end whatever crashes. The
    /// same order placed again is found, by its id.
    ///
    /// # Errors
    /// [`Error::InvalidOrder`] with every fault of it; [`Error::Engine`], database errors: repeat it where
    /// [`is_retryable`](Error::is_retryable) says so.
    ///
    /// # Cancel safety
    /// Whether it was placed is unknown when the future is dropped; place it again.
    pub async fn place(&self, order: &Order, options: &PlaceOptions) -> Result<Placed, Error> {
        order.check()?;
        if let Some(window) = order.delivery_window {
            let params = [(&order.order_id as _, Type::TEXT), (&window.to as _, Type::DATE)];
            let rows = CHECK_WINDOW.run(&self.pool, &params).await?;
            // One that is there is found, however long ago it was placed.
            if rows.first().map(|row| get::<bool>(row, "past")).transpose()? == Some(true) {
                return Err(window.past());
            }
        }
        let place = || format!("order {}", order.order_id);
        let mut input =
            serde_json::to_value(order).map_err(|source| Error::Json { place: place(), source })?;
        if let Some(input) = input.as_object_mut() {
            input.insert("when_short".to_owned(), json!(options.when_short));
            let seconds = [
                ("hold_seconds", options.hold_seconds),
                ("dispatch_after_seconds", options.dispatch_after_seconds),
            ];
            for (name, value) in seconds {
                if let Some(value) = value {
                    input.insert(name.to_owned(), json!(value));
                }
            }
        }
        let request = StartRequest::new("order_fulfilment")
            .version(2)
            .input(input)
            .correlation_id(&order.order_id)
            .idempotency_key(&order.order_id);
        let started = self.engine.start(request).await;
        let started =
            started.map_err(|source| Error::Engine { doing: "placing an order", source })?;
        Ok(Placed { workflow_id: started.id, existed: started.existed })
    }

    /// Where an order stands, and what happened when, as of one moment; none until it is acknowledged,
    /// which is a moment after it was placed.
    ///
    /// # Errors
    /// Database errors.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn status(&self, order_id: &str) -> Result<Option<OrderSummary>, Error> {
        let client = self.pool.get().await.doing("reading an order")?;
        order_summary(&client, order_id).await
    }

    /// Cancels an order that has not left the house: nothing more is done for it, and what was done is
    /// undone: its delivery, its reservation, its payment, in this order. When it returns, the order is
    /// closed and its undoing is durable; [`status`](Self::status) tells when it is `CANCELLED`.
    ///
    /// # Errors
    /// [`Error::OrderNotFound`] for an order that is not there, or not acknowledged yet: ask again then.
    /// [`Error::Engine`], database errors.
    ///
    /// # Cancel safety
    /// Whether it was cancelled is unknown when the future is dropped; cancel it again.
    pub async fn cancel(&self, order_id: &str, reason: &str) -> Result<Cancelled, Error> {
        let doing = "cancelling an order";
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
        let mut connection = self.pool.get().await.doing(doing)?;
        let done = self.close(&mut connection, order_id, &reason).await;
        if done.is_err() {
            // It may be in the middle of a transaction that nobody will end.
            drop(Object::take(connection));
        }
        let (answer, run) = done?;
        if let Some(run) = run {
            // The order is closed: its next step would end the run as well.
            if let Err(error) = self.engine.terminate(run, &reason).await {
                tracing::debug!(order_id, %error, "the run of a cancelled order goes on to its next step");
            }
        }
        Ok(answer)
    }

    /// Closes the order and starts what undoes it, in one transaction.
    async fn close(
        &self,
        connection: &mut Object,
        order_id: &str,
        reason: &str,
    ) -> Result<(Cancelled, Option<WorkflowId>), Error> {
        let doing = "cancelling an order";
        let tx = tokio_postgres::Client::transaction(connection).await.doing(doing)?;
        let params = [(&order_id as _, Type::TEXT), (&reason as _, Type::TEXT)];
        let rows = CANCEL_ORDER.run_in(&tx, &params).await?;
        let Some(row) = rows.first() else {
            return Err(Error::OrderNotFound { order_id: order_id.to_owned() });
        };
        let workflow_id: Uuid = get(row, "workflow_id")?;
        if !get::<bool>(row, "written")? {
            let answer = match (get(row, "order_status")?, get(row, "was_cancelled")?) {
                ("COMPLETED", _) => Cancelled::TooLate,
                (_, true) => Cancelled::Already,
                _ => Cancelled::Failed,
            };
            tx.commit().await.doing(doing)?;
            return Ok((answer, None));
        }
        let input = json!({
            "order_id": order_id, "workflowId": workflow_id, "reason": reason, "customer": Value::Null,
        });
        let request = StartRequest::new("order_closing").input(input).correlation_id(order_id);
        let started = self.engine.start_in(&tx, request).await;
        started.map_err(|source| Error::Engine { doing, source })?;
        tx.commit().await.doing(doing)?;
        Ok((Cancelled::Cancelled, Some(WorkflowId::from_uuid(workflow_id))))
    }

    /// Lists orders in the order of their ids.
    ///
    /// # Errors
    /// Database errors.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<ListedOrder>, Error> {
        let limit = i64::from(filter.limit.min(PAGE_MAX));
        let after = filter.after.as_deref().unwrap_or_default();
        let params = [
            (&filter.status as _, Type::TEXT),
            (&filter.customer_email as _, Type::TEXT),
            (&after as _, Type::TEXT),
            (&limit as _, Type::INT8),
        ];
        LIST_ORDERS.run(&self.pool, &params).await?.iter().map(listed).collect()
    }
}

fn listed(row: &Row) -> Result<ListedOrder, Error> {
    Ok(ListedOrder {
        order_id: get(row, "order_id")?,
        workflow_id: get(row, "workflow_id")?,
        status: get(row, "status")?,
        customer_email: get(row, "customer_email")?,
        currency: get(row, "currency")?,
        total_minor: get(row, "total_minor")?,
        acknowledged_at: get(row, "acknowledged_at")?,
    })
}
