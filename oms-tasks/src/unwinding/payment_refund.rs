//! `payment_refund`: refunds the charge, or bars one that is still on its way.
//!
//! The refund has a key of its own, kept in the payment's row before the gateway is called, and
//! names the charge by *its* key: also a charge whose answer was lost is found by it, and one
//! that has not arrived yet is refused when it does.

use std::sync::Arc;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::FailedOrder;
use crate::error::Error;
use crate::ports::{PaymentGateway, RefundAnswer, RefundRequest};
use crate::sql::{INTEND_REFUND, RECORD_REFUND, get};

/// The fourth task of `order_unwinding`.
#[derive(Clone, Debug)]
pub struct PaymentRefund {
    pub(crate) pool: Pool,
    pub(crate) gateway: Arc<dyn PaymentGateway>,
}

/// What [`PaymentRefund`] gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// What the customer got back, in minor units.
    pub refunded_minor: i64,
    /// Of the refund; null when nothing had been charged.
    pub currency: Option<String>,
    /// The gateway's id; null when nothing had been charged.
    pub refund_id: Option<String>,
}

impl Task for PaymentRefund {
    const NAME: &'static str = "payment_refund";
    type Input = FailedOrder;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: FailedOrder) -> Result<Output, TaskError> {
        self.refund(cx.idempotency_key(), &input).await.map_err(Error::into_task_error)
    }
}

impl PaymentRefund {
    async fn refund(&self, key: &str, input: &FailedOrder) -> Result<Output, Error> {
        let Some(order_id) = &input.order_id else { return Ok(Output::default()) };
        let params = [
            (order_id as _, Type::TEXT),
            (&input.workflow_id as _, Type::UUID),
            (&key as _, Type::TEXT),
        ];
        let rows = INTEND_REFUND.run(&self.pool, &params).await?;
        let Some(row) = rows.first() else { return Ok(Output::default()) };
        if input.is_foreign(get(row, "order_status")?, get(row, "workflow_id")?, Self::NAME)? {
            return Ok(Output::default());
        }
        match get(row, "status")? {
            Some("PENDING" | "CAPTURED") => {}
            Some("REFUNDED") => {
                return Ok(Output {
                    refunded_minor: get(row, "refunded_minor")?,
                    currency: get(row, "currency")?,
                    refund_id: get(row, "refund_id")?,
                });
            }
            _ => return Ok(Output::default()),
        }
        let request = RefundRequest {
            key: get(row, "refund_key")?,
            charge_key: get(row, "idempotency_key")?,
            order_id: order_id.clone(),
            amount_minor: get(row, "amount_minor")?,
            currency: get(row, "currency")?,
        };
        let answer = self.gateway.refund(&request).await;
        let answer = answer.map_err(|source| Error::Port { port: "payment gateway", source })?;
        self.record(request, answer).await
    }

    async fn record(&self, asked: RefundRequest, answer: RefundAnswer) -> Result<Output, Error> {
        let (refund_id, charge_id) = match answer {
            RefundAnswer::Refunded { refund_id, charge_id } => (Some(refund_id), Some(charge_id)),
            RefundAnswer::NothingCharged => (None, None),
        };
        RECORD_REFUND
            .run(
                &self.pool,
                &[
                    (&asked.order_id, Type::TEXT),
                    (&refund_id, Type::TEXT),
                    (&charge_id, Type::TEXT),
                ],
            )
            .await?;
        if refund_id.is_none() {
            return Ok(Output::default());
        }
        let RefundRequest { amount_minor: refunded_minor, currency, .. } = asked;
        Ok(Output { refunded_minor, currency: Some(currency), refund_id })
    }
}
