//! `stock_booking`: books all pieces of a paid order or none.
//!
//! Transactional, for many orders at once: shelves, bookings, notification and the step's end commit
//! together. Where there is not enough for all orders of a batch, those that want it are answered that
//! it is short; each is then run by itself, and what it is told then counts.

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use crate::error::{Error, answers};
use crate::sql::{BOOK_STOCK, by_order, get};
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

impl TransactionalBatchTask for StockBooking {
    const NAME: &'static str = "stock_booking";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Input)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let ids = tasks.into_iter().map(|(_, input)| input.order_id).collect();
        answers(book(tx, ids).await)
    }
}

async fn book(tx: &Transaction<'_>, ids: Vec<String>) -> Result<Vec<Result<Output, Error>>, Error> {
    let bodies: Vec<String> = ids.iter().map(|id| Stage::Booked.body(id)).collect();
    let params = [(&ids as _, Type::TEXT_ARRAY), (&bodies as _, Type::TEXT_ARRAY)];
    let rows = BOOK_STOCK.run_in(tx, &params).await?;
    let rows = by_order(&rows)?;
    Ok(ids.into_iter().map(|id| booked(rows.get(&*id).copied(), id)).collect())
}

fn booked(row: Option<&Row>, order_id: String) -> Result<Output, Error> {
    let Some(row) = row else { return Err(Error::OrderNotFound { order_id }) };
    refuse_closed(&order_id, get(row, "order_status")?)?;
    let past = ["PAID", "BOOKED", "SCHEDULED", "COMPLETED"];
    refuse_early(&order_id, get(row, "order_status")?, StockBooking::NAME, &past)?;
    let skus: Vec<String> = get(row, "short")?;
    if !skus.is_empty() {
        return Err(Error::OutOfStock { order_id, skus });
    }
    Ok(Output { pieces: get(row, "pieces")? })
}
