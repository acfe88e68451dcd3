//! `stock_release`: gives the booked pieces back to their shelves, once.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::FailedOrder;
use crate::error::Error;
use crate::sql::{RELEASE_STOCK, get};

/// The third task of `order_unwinding`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StockRelease;

/// What [`StockRelease`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Pieces that had been booked for the order and are given back.
    pub pieces: i64,
}

impl TransactionalTask for StockRelease {
    const NAME: &'static str = "stock_release";
    type Input = FailedOrder;
    type Output = Output;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: FailedOrder,
    ) -> Result<Output, TaskError> {
        release(tx, &input).await.map_err(Error::into_task_error)
    }
}

async fn release(tx: &Transaction<'_>, input: &FailedOrder) -> Result<Output, Error> {
    let nothing = Output { pieces: 0 };
    let Some(order_id) = &input.order_id else { return Ok(nothing) };
    let params = [(order_id as _, Type::TEXT), (&input.workflow_id as _, Type::UUID)];
    let rows = RELEASE_STOCK.run_in(tx, &params).await?;
    let Some(row) = rows.first() else { return Ok(nothing) };
    let (status, owner) = (get(row, "order_status")?, get(row, "workflow_id")?);
    if input.is_foreign(status, owner, StockRelease::NAME)? {
        return Ok(nothing);
    }
    Ok(Output { pieces: get(row, "pieces")? })
}
