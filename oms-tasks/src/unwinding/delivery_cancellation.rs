//! `delivery_cancellation`: cancels the deliveries, if some were asked for.

use std::sync::Arc;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::FailedOrder;
use crate::error::Error;
use crate::ports::Carrier;
use crate::shipping::call_off;
use crate::sql::{FIND_DELIVERIES_TO_CANCEL, get};

/// The second task of `order_unwinding`.
#[derive(Clone, Debug)]
pub struct DeliveryCancellation {
    pub(crate) pool: Pool,
    pub(crate) carrier: Arc<dyn Carrier>,
}

/// What [`DeliveryCancellation`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whether there were deliveries that are cancelled now.
    pub cancelled: bool,
}

impl Task for DeliveryCancellation {
    const NAME: &'static str = "delivery_cancellation";
    type Input = FailedOrder;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: FailedOrder) -> Result<Output, TaskError> {
        let cancelled = self.cancel(cx.idempotency_key(), input).await;
        cancelled.map(|cancelled| Output { cancelled }).map_err(Error::into_task_error)
    }
}

impl DeliveryCancellation {
    async fn cancel(&self, key: &str, input: FailedOrder) -> Result<bool, Error> {
        let Some(order_id) = &input.order_id else { return Ok(false) };
        let rows = FIND_DELIVERIES_TO_CANCEL.run(&self.pool, &[(order_id, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        if input.is_foreign(get(row, "order_status")?, get(row, "workflow_id")?, Self::NAME)? {
            return Ok(false);
        }
        call_off(&self.pool, &*self.carrier, key, order_id, &rows).await
    }
}
