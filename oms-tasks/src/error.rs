//! What can go wrong with an order, and whether trying again can help.

use std::time::Duration;

use chrono::NaiveDate;
use oms_engine::TaskError;
use oms_engine::definition::Faults;
use uuid::Uuid;

use crate::money::MoneyError;
use crate::ports::PortError;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The order's input was refused; nothing was written.
    #[error("order refused: {}", faults.join("; "))]
    InvalidOrder {
        /// Every fault, each with its JSON path and what is allowed.
        faults: Vec<String>,
    },
    /// The order names articles that are not in the inventory.
    #[error("order {order_id}: unknown sku {}", skus.join(", "))]
    UnknownSku {
        /// The order.
        order_id: String,
        /// The articles.
        skus: Vec<String>,
    },
    /// Articles are priced in another currency than the order's.
    #[error("order {order_id} in {currency}: priced in another currency: {}", skus.join(", "))]
    ForeignCurrency {
        /// The order.
        order_id: String,
        /// The order's currency.
        currency: String,
        /// The articles.
        skus: Vec<String>,
    },
    /// The total exceeds 2^53 - 1 minor units, which is what JSON numbers hold exactly.
    #[error("order {order_id}: the total exceeds 9007199254740991 minor units")]
    TotalTooLarge {
        /// The order.
        order_id: String,
    },
    /// No such order was acknowledged.
    #[error("order {order_id} does not exist")]
    OrderNotFound {
        /// The order.
        order_id: String,
    },
    /// Mail cannot be sent with these options.
    #[cfg(feature = "smtp")]
    #[error("options of the mail server: {reason}")]
    Smtp {
        /// What is wrong with them.
        reason: String,
    },
    /// The carrier would deliver at another time than the order asks for.
    #[error(
        "order {order_id}: the carrier would deliver on {delivery_date}, not from {from} to {to}"
    )]
    DeliveryOutsideWindow {
        /// The order.
        order_id: String,
        /// The carrier's.
        delivery_date: NaiveDate,
        /// The first day that the order asks for.
        from: NaiveDate,
        /// The last one.
        to: NaiveDate,
    },
    /// No order has a delivery of this number.
    #[error("no delivery has the tracking number {tracking_number}")]
    DeliveryNotFound {
        /// The carrier's.
        tracking_number: String,
    },
    /// The order id was used by another workflow; that order is left alone.
    #[error("order {order_id} belongs to workflow {workflow_id}; use another order id")]
    OrderTaken {
        /// The order.
        order_id: String,
        /// Whose it is.
        workflow_id: Uuid,
    },
    /// The order is being unwound or has failed: nothing may be done for it any more.
    #[error("order {order_id} is {status}; nothing is done for it any more")]
    OrderClosed {
        /// The order.
        order_id: String,
        /// `UNWINDING`, `FAILED` or `CANCELLED`.
        status: String,
    },
    /// The order has not got as far as this task.
    #[error("order {order_id} is {status}, which is not the turn of {task}")]
    OutOfTurn {
        /// The order.
        order_id: String,
        /// Its status.
        status: String,
        /// The task.
        task: &'static str,
    },
    /// The shelf has not enough free pieces; nothing was booked.
    #[error("order {order_id}: out of stock: {}", skus.join(", "))]
    OutOfStock {
        /// The order.
        order_id: String,
        /// The articles that are short.
        skus: Vec<String>,
    },
    /// The order's pieces were given back, or its reservation ran out; it gets none any more.
    #[error("order {order_id}: its reservation has ended")]
    ReservationEnded {
        /// The order.
        order_id: String,
    },
    /// The payment gateway declined the charge.
    #[error("order {order_id}: payment declined: {code}")]
    Declined {
        /// The order.
        order_id: String,
        /// The gateway's code.
        code: String,
    },
    /// The payment was voided or given back; nothing is authorised, captured or given back for it
    /// any more.
    #[error("order {order_id}: its payment was reversed")]
    PaymentReversed {
        /// The order.
        order_id: String,
    },
    /// The gateway does not take what it had authorised.
    #[error("order {order_id}: capture refused: {code}")]
    CaptureRefused {
        /// The order.
        order_id: String,
        /// The gateway's code.
        code: String,
    },
    /// The gateway does not give the money back.
    #[error("order {order_id}: refund refused: {code}")]
    RefundRefused {
        /// The order.
        order_id: String,
        /// The gateway's code.
        code: String,
    },
    /// Less was captured, or is left of it, than is to be given back.
    #[error("order {order_id}: {left_minor} minor units can be given back, not {asked_minor}")]
    RefundExceeds {
        /// The order.
        order_id: String,
        /// What was asked for.
        asked_minor: i64,
        /// What is left of the captured amount.
        left_minor: i64,
    },
    /// Amounts cannot be reckoned with.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// Another call gives the payment back at this moment.
    #[error("order {order_id}: another refund of it is under way")]
    RefundUnderWay {
        /// The order.
        order_id: String,
    },
    /// The carrier does not deliver this order.
    #[error("order {order_id}: delivery refused: {code}")]
    DeliveryRefused {
        /// The order.
        order_id: String,
        /// The carrier's code.
        code: String,
    },
    /// The order cannot be marked failed while something done for it stands.
    #[error("order {order_id} cannot be marked failed: not undone: {}", live.join(", "))]
    NotUndone {
        /// The order.
        order_id: String,
        /// `payment`, `booking`, `reservation` or `delivery`.
        live: Vec<String>,
    },
    /// A gateway, carrier or notifier did not do what it was asked.
    #[error("{port}: {source}")]
    Port {
        /// Which one.
        port: &'static str,
        /// What it said.
        #[source]
        source: PortError,
    },
    /// The engine refused.
    #[error("{doing}: {source}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: oms_engine::Error,
    },
    /// An adapter cannot be made from what it was given.
    #[error("{what}: {reason}")]
    Config {
        /// Which adapter.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The tables are newer than this library.
    #[error("order tables have version {found}, this library knows {known}: upgrade the program")]
    SchemaVersion {
        /// The version found.
        found: i32,
        /// The newest version that this library knows.
        known: i32,
    },
    /// One of the definitions that come with this crate cannot be read.
    #[error("{faults}")]
    Definition {
        /// Every fault.
        faults: Faults,
    },
    /// PostgreSQL refused or the connection was lost.
    #[error("{doing}: {}", describe(source))]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No connection could be had.
    #[error("{doing}: no database connection: {source}")]
    Connection {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A statement passed its deadline. Whether it took effect is unknown.
    #[error("{doing}: no answer within {after:?}")]
    Deadline {
        /// What was being done.
        doing: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A file or socket could not be used.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A text is not the JSON that it should be.
    #[error("{place}: {source}")]
    Json {
        /// Which file or column, and where in it.
        place: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// What the tables hold contradicts itself: a bug of this library, or somebody changed them
    /// by hand.
    #[error("broken invariant of order {order_id}: {what}")]
    Invariant {
        /// The order.
        order_id: String,
        /// What was found.
        what: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change of its arguments.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Port { source, .. } => source.is_retryable(),
            Self::Engine { source, .. } => source.is_retryable(),
            Self::Database { source, .. } => retryable(source),
            Self::Connection { .. }
            | Self::Deadline { .. }
            | Self::Io { .. }
            | Self::RefundUnderWay { .. } => true,
            _ => false,
        }
    }

    /// What a task answers: retried by its definition, or failed for good.
    ///
    /// Never leave this to `?`, which makes every error one that is retried.
    pub(crate) fn into_task_error(self) -> TaskError {
        if self.is_retryable() { TaskError::from(self) } else { TaskError::terminal(self) }
    }

    pub(crate) fn invariant(order_id: &str, what: impl Into<String>) -> Self {
        Self::Invariant { order_id: order_id.to_owned(), what: what.into() }
    }
}

/// What a task that does many at once answers to each of them.
pub(crate) fn answers<T>(
    done: Result<Vec<Result<T, Error>>, Error>,
) -> Result<Vec<Result<T, TaskError>>, TaskError> {
    let answers = done.map_err(Error::into_task_error)?;
    Ok(answers.into_iter().map(|answer| answer.map_err(Error::into_task_error)).collect())
}

/// What the server said; the error itself says "db error".
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{}, SQLSTATE {}", said.message(), said.code().code()),
        None => error.to_string(),
    }
}

/// Whether a prepared statement has outlived its tables (0A000: a migration changed what it gives)
/// or is known to the server otherwise than to the connection (26000, 42P05: behind a pooler).
pub(crate) fn is_stale(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| ["0A000", "26000", "42P05"].contains(&code.code()))
}

/// Whether a shelf would have been booked for more than is on it: what was free has changed since it was
/// read, and is to be read again.
fn is_race_for_stock(error: &tokio_postgres::Error) -> bool {
    let constraint = error.as_db_error().and_then(tokio_postgres::error::DbError::constraint);
    constraint == Some("warehouse_stock_booked_within_on_hand")
}

/// All but the server's word that the statement or its values are wrong (classes 22, 23, 42, 0A).
fn retryable(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    if is_stale(error) || is_race_for_stock(error) {
        return true;
    }
    !["22", "23", "42", "0A"].iter().any(|class| code.code().starts_with(class))
}

/// Names what was being done when a database error came back.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Database { doing, source })
    }
}

impl<T> Doing<T> for Result<T, deadpool_postgres::PoolError> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(source) => Error::Database { doing, source },
            other => Error::Connection { doing, source: Box::new(other) },
        })
    }
}
