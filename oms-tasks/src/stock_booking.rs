//! `stock_booking`: books all pieces of a paid order or none.
//!
//! Transactional: shelves, bookings, notification and the step's end commit together.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::sql::{BOOK_STOCK, get};
use crate::stage::{Stage, refuse_closed, refuse_early};

/// The third of the five tasks.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StockBooking;

/// What [`StockBooking`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The order.
    pub order_id: String,
}

/// What [`StockBooking`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Pieces booked for the order.
    pub pieces: i64,
}

impl TransactionalTask for StockBooking {
    const NAME: &'static str = "stock_booking";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Input,
    ) -> Result<Output, TaskError> {
        book(tx, input.order_id).await.map_err(Error::into_task_error)
    }
}

async fn book(tx: &Transaction<'_>, order_id: String) -> Result<Output, Error> {
    let params = [(&order_id as _, Type::TEXT), (&Stage::Booked.body(&order_id) as _, Type::TEXT)];
    let rows = BOOK_STOCK.run_in(tx, &params).await?;
    let Some(row) = rows.first() else { return Err(Error::OrderNotFound { order_id }) };
    refuse_closed(&order_id, get(row, "order_status")?)?;
    let past = ["PAID", "BOOKED", "SCHEDULED", "COMPLETED"];
    refuse_early(&order_id, get(row, "order_status")?, StockBooking::NAME, &past)?;
    let skus: Vec<String> = get(row, "short")?;
    if !skus.is_empty() {
        return Err(Error::OutOfStock { order_id, skus });
    }
    Ok(Output { pieces: get(row, "pieces")? })
}
