//! `delivery_withdrawal`: undoes `delivery_scheduling`.

use std::sync::Arc;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::OneOrder;
use crate::error::Error;
use crate::ports::{CancelRequest, Carrier};
use crate::sql::{FIND_DELIVERY_TO_CANCEL, WITHDRAW_DELIVERY, get};

/// Has the carrier not fetch an order, while the order itself is still open.
#[derive(Clone, Debug)]
pub struct DeliveryWithdrawal {
    pub(crate) pool: Pool,
    pub(crate) carrier: Arc<dyn Carrier>,
}

/// What [`DeliveryWithdrawal`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whether there was a delivery that is cancelled now.
    pub cancelled: bool,
}

impl Task for DeliveryWithdrawal {
    const NAME: &'static str = "delivery_withdrawal";
    type Input = OneOrder;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: OneOrder) -> Result<Output, TaskError> {
        let cancelled = self.withdraw(cx.idempotency_key(), input.order_id).await;
        cancelled.map(|cancelled| Output { cancelled }).map_err(Error::into_task_error)
    }
}

impl DeliveryWithdrawal {
    async fn withdraw(&self, key: &str, order_id: String) -> Result<bool, Error> {
        let rows = FIND_DELIVERY_TO_CANCEL.run(&self.pool, &[(&order_id, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        match get(row, "status")? {
            Some("PENDING" | "SCHEDULED") => {}
            Some("CANCELLED") => return Ok(true),
            _ => return Ok(false),
        }
        let booking_key = get(row, "idempotency_key")?;
        let request = CancelRequest { key: key.to_owned(), booking_key, order_id };
        let answer = self.carrier.cancel(&request).await;
        answer.map_err(|source| Error::Port { port: "carrier", source })?;
        WITHDRAW_DELIVERY.run(&self.pool, &[(&request.order_id, Type::TEXT)]).await?;
        Ok(true)
    }
}
