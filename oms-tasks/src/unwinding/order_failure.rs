//! `order_failure`: marks the order failed once all is undone, and tells the customer.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::FailedOrder;
use crate::error::Error;
use crate::sql::{FAIL_ORDER, get};
use crate::stage::Stage;

/// The last task of `order_unwinding`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OrderFailure;

/// What [`OrderFailure`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The order's status: `FAILED`; null when the failed run left no order.
    pub status: Option<String>,
}

impl TransactionalTask for OrderFailure {
    const NAME: &'static str = "order_failure";
    type Input = FailedOrder;
    type Output = Output;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: FailedOrder,
    ) -> Result<Output, TaskError> {
        let failed = fail(tx, &input).await.map_err(Error::into_task_error)?;
        Ok(Output { status: failed.then(|| "FAILED".to_owned()) })
    }
}

async fn fail(tx: &Transaction<'_>, input: &FailedOrder) -> Result<bool, Error> {
    let Some(order_id) = &input.order_id else { return Ok(false) };
    let rows = FAIL_ORDER
        .run_in(
            tx,
            &[
                (order_id, Type::TEXT),
                (&input.workflow_id, Type::UUID),
                (&Stage::Failed.body(order_id), Type::TEXT),
            ],
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let (status, owner) = (get(row, "order_status")?, get(row, "workflow_id")?);
    if input.is_foreign(status, owner, OrderFailure::NAME)? {
        return Ok(false);
    }
    let live: Vec<String> = get(row, "live")?;
    if !live.is_empty() {
        return Err(Error::NotUndone { order_id: order_id.clone(), live });
    }
    Ok(true)
}
