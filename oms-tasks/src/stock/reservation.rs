//! `stock_reservation`: sets all pieces of an order aside, or has it wait, or refuses it.

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;

use super::{Asked, Held, WhenShort, lock_orders, reserve};
use crate::error::{Error, answers};
use crate::stage::{refuse_closed, refuse_early};

/// Sets all pieces of an order aside, for many orders at once: for one after the other, each of which is left
/// what those before it did not take.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StockReservation;

/// What [`StockReservation`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The order.
    pub order_id: String,
    /// What becomes of it where a shelf is short.
    #[serde(default)]
    pub when_short: WhenShort,
    /// Seconds after which a reservation that is not confirmed may go back to the shelf; null: never.
    #[serde(default)]
    pub hold_seconds: Option<u32>,
}

/// What [`StockReservation`] and [`BackOrder`](super::BackOrder) give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// `RESERVED` or `BACKORDERED`.
    pub status: String,
    /// Pieces of the order.
    pub pieces: i64,
    /// The articles that are short.
    pub short: Vec<String>,
}

impl TransactionalBatchTask for StockReservation {
    const NAME: &'static str = "stock_reservation";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Input)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let asked = tasks.into_iter().map(|(_, input)| Asked {
            order_id: input.order_id,
            when_short: input.when_short,
            hold_seconds: input.hold_seconds.map(|s| i32::try_from(s).unwrap_or(i32::MAX)),
        });
        answers(all(tx, asked.collect()).await)
    }
}

/// What each order has then, in the order in which they were asked for.
pub(super) async fn all(
    tx: &Transaction<'_>,
    asked: Vec<Asked>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    let ids: Vec<String> = asked.iter().map(|one| one.order_id.clone()).collect();
    lock_orders(tx, &ids).await?;
    let held = reserve(tx, &asked).await?;
    Ok(ids.into_iter().map(|id| told(held.get(&id), id)).collect())
}

fn told(held: Option<&Held>, order_id: String) -> Result<Output, Error> {
    let Some(held) = held else { return Err(Error::OrderNotFound { order_id }) };
    let Held { order_status, status, pieces, short } = held;
    let status = match status.as_deref() {
        // A step whose turn is past says what it said.
        Some("RESERVED" | "CONFIRMED" | "SHIPPED") => "RESERVED",
        Some("BACKORDERED") => "BACKORDERED",
        Some("RELEASED") => return Err(Error::ReservationEnded { order_id }),
        _ => {
            refuse_closed(&order_id, order_status.clone())?;
            let turn = ["ACKNOWLEDGED"];
            refuse_early(&order_id, order_status.clone(), StockReservation::NAME, &turn)?;
            return Err(Error::OutOfStock { order_id, skus: short.clone() });
        }
    };
    Ok(Output { status: status.to_owned(), pieces: *pieces, short: short.clone() })
}
