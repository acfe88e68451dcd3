//! The statements, one file each, and the one way to run them.
//!
//! Parameters carry their types, so that a statement runs in one trip on a transaction, which
//! has no cache of prepared ones; on the pool's connections they are prepared once.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

use crate::error::{Doing as _, Error, is_stale};

/// How long a statement outside of a transaction of the caller's may take, with the wait for a
/// connection.
const DEADLINE: Duration = Duration::from_secs(10);

/// A value and its type.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement and what it does, for messages.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! statements {
    ($($constant:ident = $name:literal;)*) => {
        $(pub(crate) const $constant: Statement =
            Statement { name: $name, text: include_str!(concat!($name, ".sql")) };)*
        #[cfg(test)]
        const ALL: &[&Statement] = &[$(&$constant),*];
    };
}

statements! {
    ACKNOWLEDGE_ORDERS = "acknowledge_orders";
    CHECK_WINDOW = "check_window";
    FIND_ORDERS = "find_orders";
    INTEND_PAYMENT = "intend_payment";
    CAPTURE_PAYMENT = "capture_payment";
    DECLINE_PAYMENT = "decline_payment";
    INTEND_AUTHORISATION = "intend_authorisation";
    RECORD_AUTHORISATION = "record_authorisation";
    DECLINE_AUTHORISATION = "decline_authorisation";
    INTEND_CAPTURE = "intend_capture";
    RECORD_CAPTURE = "record_capture";
    INTEND_REVERSAL = "intend_reversal";
    INTEND_REST_REFUND = "intend_rest_refund";
    RECORD_REVERSAL = "record_reversal";
    INTEND_PART_REFUND = "intend_part_refund";
    RECORD_PART_REFUND = "record_part_refund";
    REFUSE_PART_REFUND = "refuse_part_refund";
    RESERVE_STOCK = "reserve_stock";
    MOVE_RESERVATIONS = "move_reservations";
    FIND_WANTED = "find_wanted";
    FIND_WAITING = "find_waiting";
    FIND_SKUS = "find_skus";
    LOCK_SHELVES = "lock_shelves";
    CONFIRM_ORDERS = "confirm_orders";
    ORDER_OWNER = "order_owner";
    END_ORDER = "end_order";
    CANCEL_ORDER = "cancel_order";
    LIST_ORDERS = "list_orders";
    FIND_RETURN = "find_return";
    RETURNABLE_LINES = "returnable_lines";
    TAKE_BACK = "take_back";
    BOOK_STOCK = "book_stock";
    INTEND_DELIVERIES = "intend_deliveries";
    CONFIRM_DELIVERIES = "confirm_deliveries";
    REFUSE_DELIVERY = "refuse_delivery";
    COMPLETE_ORDERS = "complete_orders";
    MOVE_DELIVERY = "move_delivery";
    CLOSE_ORDER = "close_order";
    FIND_DELIVERIES_TO_CANCEL = "find_deliveries_to_cancel";
    CANCEL_DELIVERY = "cancel_delivery";
    RELEASE_STOCK = "release_stock";
    INTEND_REFUND = "intend_refund";
    RECORD_REFUND = "record_refund";
    FAIL_ORDER = "fail_order";
    CLAIM_NOTIFICATIONS = "claim_notifications";
    SETTLE_NOTIFICATIONS = "settle_notifications";
    RESTOCK = "restock";
    ORDER_SUMMARY = "order_summary";
}

impl Statement {
    /// Runs it in the caller's transaction.
    pub(crate) async fn run_in(
        &self,
        tx: &Transaction<'_>,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Error> {
        tx.query_typed(self.text, params).await.doing(self.name)
    }

    /// Runs it as a transaction of its own, within [`DEADLINE`]. A connection that missed it is
    /// thrown away, and whether the statement took effect is then unknown; so is one whose
    /// prepared statement is of no more use.
    pub(crate) async fn run(&self, pool: &Pool, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let missed = |_| Error::Deadline { doing: self.name, after: DEADLINE };
        let connection = tokio::time::timeout(DEADLINE, pool.get()).await.map_err(missed)?;
        let connection = connection.doing(self.name)?;
        let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
        let running = async {
            let statement = connection.prepare_cached(self.text).await?;
            connection.query(&statement, &values).await
        };
        let ended = tokio::time::timeout(DEADLINE, running).await;
        match ended {
            Ok(rows) => {
                if rows.as_ref().is_err_and(is_stale) {
                    drop(Object::take(connection));
                }
                rows.doing(self.name)
            }
            Err(elapsed) => {
                drop(Object::take(connection));
                Err(missed(elapsed))
            }
        }
    }
}

/// A column of a row.
pub(crate) fn get<'a, T>(row: &'a Row, column: &'static str) -> Result<T, Error>
where
    T: tokio_postgres::types::FromSql<'a>,
{
    row.try_get(column).doing(column)
}

/// Rows by the order that each tells of.
pub(crate) fn by_order(rows: &[Row]) -> Result<HashMap<&str, &Row>, Error> {
    rows.iter().map(|row| Ok((get(row, "order_id")?, row))).collect()
}

#[cfg(test)]
mod tests;
