//! `order_dispatch`: the pieces leave the house, and the order is complete. From then on it cannot be
//! cancelled.

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::OneOrder;
use crate::error::{Error, answers};
use crate::sql::{COMPLETE_ORDERS, by_order, get};
use crate::stage::{Stage, refuse_closed, refuse_early};
use crate::stock::ship;

/// Has the pieces of scheduled orders leave the house, and completes the orders, in one transaction.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OrderDispatch;

/// What [`OrderDispatch`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The order's status: `COMPLETED`.
    pub status: String,
    /// Pieces that left the house.
    pub pieces: i64,
}

impl TransactionalBatchTask for OrderDispatch {
    const NAME: &'static str = "order_dispatch";
    type Input = OneOrder;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, OneOrder)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let ids = tasks.into_iter().map(|(_, input)| input.order_id).collect();
        answers(dispatch(tx, ids).await)
    }
}

async fn dispatch(
    tx: &Transaction<'_>,
    ids: Vec<String>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    // It locks the orders.
    let shipped = ship(tx, ids.clone()).await?;
    let bodies: Vec<String> = ids.iter().map(|id| Stage::Dispatched.body(id)).collect();
    let params = [
        (&ids as _, Type::TEXT_ARRAY),
        (&bodies as _, Type::TEXT_ARRAY),
        (&"DISPATCHED" as _, Type::TEXT),
    ];
    let rows = COMPLETE_ORDERS.run_in(tx, &params).await?;
    let rows = by_order(&rows)?;
    // The first fault counts; with one in it all is rolled back.
    let told = ids.into_iter().zip(shipped).map(|(order_id, shipped)| {
        completed(rows.get(&*order_id).copied(), order_id)?;
        Ok(Output { status: "COMPLETED".to_owned(), pieces: shipped?.pieces })
    });
    Ok(told.collect())
}

fn completed(row: Option<&Row>, order_id: String) -> Result<(), Error> {
    let Some(row) = row else { return Err(Error::OrderNotFound { order_id }) };
    refuse_closed(&order_id, get(row, "order_status")?)?;
    let past = ["SCHEDULED", "COMPLETED"];
    refuse_early(&order_id, get(row, "order_status")?, OrderDispatch::NAME, &past)
}
