//! `delivery_cancellation`: cancels the delivery, if one was asked for.

use std::sync::Arc;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::FailedOrder;
use crate::error::Error;
use crate::ports::{CancelRequest, Carrier};
use crate::sql::{CANCEL_DELIVERY, FIND_DELIVERY_TO_CANCEL, get};

/// The second task of `order_unwinding`.
#[derive(Clone, Debug)]
pub struct DeliveryCancellation {
    pub(crate) pool: Pool,
    pub(crate) carrier: Arc<dyn Carrier>,
}

/// What [`DeliveryCancellation`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whether there was a delivery that is cancelled now.
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
        let rows = FIND_DELIVERY_TO_CANCEL.run(&self.pool, &[(order_id, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        if input.is_foreign(get(row, "order_status")?, get(row, "workflow_id")?, Self::NAME)? {
            return Ok(false);
        }
        match get(row, "status")? {
            Some("PENDING" | "SCHEDULED") => {}
            Some("CANCELLED") => return Ok(true),
            _ => return Ok(false),
        }
        let request = CancelRequest {
            key: key.to_owned(),
            booking_key: get(row, "idempotency_key")?,
            order_id: order_id.clone(),
        };
        let answer = self.carrier.cancel(&request).await;
        answer.map_err(|source| Error::Port { port: "carrier", source })?;
        CANCEL_DELIVERY.run(&self.pool, &[(order_id, Type::TEXT)]).await?;
        Ok(true)
    }
}
