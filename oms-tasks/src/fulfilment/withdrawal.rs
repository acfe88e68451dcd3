//! `delivery_withdrawal`: undoes `delivery_scheduling`.

use std::sync::Arc;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::OneOrder;
use crate::error::Error;
use crate::ports::Carrier;
use crate::shipping::call_off;
use crate::sql::FIND_DELIVERIES_TO_CANCEL;

/// Has the carrier not fetch an order, while the order itself is still open.
#[derive(Clone, Debug)]
pub struct DeliveryWithdrawal {
    pub(crate) pool: Pool,
    pub(crate) carrier: Arc<dyn Carrier>,
}

/// What [`DeliveryWithdrawal`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whether there were deliveries that are cancelled now.
    pub cancelled: bool,
}

impl Task for DeliveryWithdrawal {
    const NAME: &'static str = "delivery_withdrawal";
    type Input = OneOrder;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: OneOrder) -> Result<Output, TaskError> {
        let cancelled = self.withdraw(cx.idempotency_key(), &input.order_id).await;
        cancelled.map(|cancelled| Output { cancelled }).map_err(Error::into_task_error)
    }
}

impl DeliveryWithdrawal {
    async fn withdraw(&self, key: &str, order_id: &str) -> Result<bool, Error> {
        let rows = FIND_DELIVERIES_TO_CANCEL.run(&self.pool, &[(&order_id, Type::TEXT)]).await?;
        call_off(&self.pool, &*self.carrier, key, order_id, &rows).await
    }
}
