//! `payment_processing`: charges the order's total, once.
//!
//! A row with the charge's key is written first, then the gateway is called with no transaction
//! open, then one short statement writes what came of it. Each looks at the order under its row
//! lock: an order that is being unwound is not charged, and a charge that came through all the
//! same is the unwinding's to refund by its key.

use std::sync::Arc;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::order::Payment;
use crate::ports::{ChargeAnswer, ChargeRequest, PaymentGateway};
use crate::sql::{CAPTURE_PAYMENT, DECLINE_PAYMENT, INTEND_PAYMENT, get};
use crate::stage::{Stage, refuse_closed};

/// The second of the five tasks.
#[derive(Clone, Debug)]
pub struct PaymentProcessing {
    pub(crate) pool: Pool,
    pub(crate) gateway: Arc<dyn PaymentGateway>,
}

/// What [`PaymentProcessing`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The order.
    pub order_id: String,
    /// How it is paid.
    pub payment: Payment,
}

/// What [`PaymentProcessing`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The gateway's id.
    pub charge_id: String,
    /// What was charged, in minor units.
    pub amount_minor: i64,
    /// Of the amount.
    pub currency: String,
}

impl Task for PaymentProcessing {
    const NAME: &'static str = "payment_processing";
    type Input = Input;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: Input) -> Result<Output, TaskError> {
        self.pay(cx.idempotency_key(), input).await.map_err(Error::into_task_error)
    }
}

impl PaymentProcessing {
    async fn pay(&self, key: &str, input: Input) -> Result<Output, Error> {
        let intended = self.intend(key, &input).await?;
        let order_id = input.order_id;
        let amount_minor: i64 = get(&intended, "amount_minor")?;
        let currency: String = get(&intended, "currency")?;
        match get(&intended, "status")? {
            "PENDING" => {}
            "CAPTURED" => {
                let charge_id = get(&intended, "charge_id")?;
                return Ok(Output { charge_id, amount_minor, currency });
            }
            "DECLINED" => {
                return Err(Error::Declined { order_id, code: get(&intended, "decline_code")? });
            }
            other => return Err(Error::invariant(&order_id, format!("open, but {other}"))),
        }
        let request = ChargeRequest {
            key: get(&intended, "idempotency_key")?,
            order_id,
            amount_minor,
            currency,
            method: input.payment.method,
            token: input.payment.token,
        };
        let answer = self.gateway.charge(&request).await;
        match answer.map_err(|source| Error::Port { port: "payment gateway", source })? {
            ChargeAnswer::Charged { charge_id } => self.capture(request, charge_id).await,
            ChargeAnswer::Declined { code } => {
                let order_id = request.order_id;
                DECLINE_PAYMENT
                    .run(&self.pool, &[(&order_id, Type::TEXT), (&code, Type::TEXT)])
                    .await?;
                Err(Error::Declined { order_id, code })
            }
        }
    }

    async fn intend(&self, key: &str, input: &Input) -> Result<Row, Error> {
        let order_id = &input.order_id;
        let rows = INTEND_PAYMENT
            .run(
                &self.pool,
                &[(order_id, Type::TEXT), (&key, Type::TEXT), (&input.payment.method, Type::TEXT)],
            )
            .await?;
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| Error::OrderNotFound { order_id: order_id.clone() })?;
        refuse_closed(order_id, get(&row, "order_status")?)?;
        Ok(row)
    }

    async fn capture(&self, charged: ChargeRequest, charge_id: String) -> Result<Output, Error> {
        let ChargeRequest { order_id, amount_minor, currency, .. } = charged;
        let rows = CAPTURE_PAYMENT
            .run(
                &self.pool,
                &[
                    (&order_id, Type::TEXT),
                    (&charge_id, Type::TEXT),
                    (&Stage::Paid.body(&order_id), Type::TEXT),
                ],
            )
            .await?;
        let Some(row) = rows.first() else { return Err(Error::OrderNotFound { order_id }) };
        let status: &str = get(row, "order_status")?;
        refuse_closed(&order_id, status.to_owned())?;
        if status == "ACKNOWLEDGED" && !get::<bool>(row, "written")? {
            return Err(Error::invariant(&order_id, "charged, but its payment is not pending"));
        }
        // Not written by this call: another attempt under the same key has written the same.
        Ok(Output { charge_id, amount_minor, currency })
    }
}
