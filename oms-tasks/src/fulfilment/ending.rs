//! `order_ending`: marks an order failed or cancelled once nothing of it stands, and tells the customer.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::sql::{END_ORDER, get};
use crate::stage::{FailedOrder, Stage};

/// The last task of `order_closing`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OrderEnding;

/// What [`OrderEnding`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The order's status: `FAILED` or `CANCELLED`; null when the run left no order.
    pub status: Option<String>,
}

impl TransactionalTask for OrderEnding {
    const NAME: &'static str = "order_ending";
    type Input = FailedOrder;
    type Output = Output;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: FailedOrder,
    ) -> Result<Output, TaskError> {
        let status = end(tx, &input).await.map_err(Error::into_task_error)?;
        Ok(Output { status })
    }
}

async fn end(tx: &Transaction<'_>, input: &FailedOrder) -> Result<Option<String>, Error> {
    let Some(order_id) = &input.order_id else { return Ok(None) };
    let params = [
        (order_id as _, Type::TEXT),
        (&input.workflow_id as _, Type::UUID),
        (&Stage::Unfulfilled.body(order_id) as _, Type::TEXT),
        (&Stage::Cancelled.body(order_id) as _, Type::TEXT),
    ];
    let rows = END_ORDER.run_in(tx, &params).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (status, owner) = (get(row, "order_status")?, get(row, "workflow_id")?);
    if input.is_foreign(status, owner, OrderEnding::NAME)? {
        return Ok(None);
    }
    let live: Vec<String> = get(row, "live")?;
    if !live.is_empty() {
        return Err(Error::NotUndone { order_id: order_id.clone(), live });
    }
    get(row, "status_after").map(Some)
}
