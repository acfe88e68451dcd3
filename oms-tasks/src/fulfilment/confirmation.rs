//! `order_confirmation`: an order that is paid and reserved is `BOOKED`.

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::OneOrder;
use crate::error::{Error, answers};
use crate::sql::{CONFIRM_ORDERS, by_order, get};
use crate::stage::{refuse_closed, refuse_early};
use crate::stock::confirm;

/// Confirms orders that are paid and reserved: their pieces are theirs for good. A reservation that ran
/// out meanwhile is made again, or its order is refused.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OrderConfirmation;

/// What [`OrderConfirmation`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// `CONFIRMED`.
    pub status: String,
    /// Pieces of the order.
    pub pieces: i64,
}

impl TransactionalBatchTask for OrderConfirmation {
    const NAME: &'static str = "order_confirmation";
    type Input = OneOrder;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, OneOrder)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let ids = tasks.into_iter().map(|(_, input)| input.order_id).collect();
        answers(confirm_orders(tx, ids).await)
    }
}

async fn confirm_orders(
    tx: &Transaction<'_>,
    ids: Vec<String>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    // It locks the orders.
    let reserved = confirm(tx, ids.clone()).await?;
    let rows = CONFIRM_ORDERS.run_in(tx, &[(&ids, Type::TEXT_ARRAY)]).await?;
    let rows = by_order(&rows)?;
    let told = ids.into_iter().zip(reserved).map(|(order_id, reserved)| {
        let reserved = reserved?;
        confirmed(rows.get(&*order_id).copied(), order_id)?;
        Ok(Output { status: reserved.status, pieces: reserved.pieces })
    });
    Ok(told.collect())
}

fn confirmed(row: Option<&Row>, order_id: String) -> Result<(), Error> {
    let Some(row) = row else { return Err(Error::OrderNotFound { order_id }) };
    let status: String = get(row, "order_status")?;
    refuse_closed(&order_id, status.clone())?;
    if status == "ACKNOWLEDGED" && !get::<bool>(row, "paid")? {
        let status = "not paid".to_owned();
        return Err(Error::OutOfTurn { order_id, status, task: OrderConfirmation::NAME });
    }
    let past = ["ACKNOWLEDGED", "BOOKED", "SCHEDULED", "COMPLETED"];
    refuse_early(&order_id, status, OrderConfirmation::NAME, &past)
}
