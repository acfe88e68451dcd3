//! `payment_capture`: takes what was authorised.

use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::{Intent, PaidOrder, Till, port};
use crate::error::Error;
use crate::ports::{CaptureAnswer, CaptureRequest, PaymentState};
use crate::sql::{INTEND_CAPTURE, RECORD_CAPTURE, get};

/// Takes what was authorised.
#[derive(Clone, Debug)]
pub struct PaymentCapture {
    pub(crate) till: Till,
}

/// What [`PaymentCapture`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The gateway's id.
    pub payment_id: String,
    /// What was taken, in minor units.
    pub captured_minor: i64,
    /// Of the amount.
    pub currency: String,
}

impl Task for PaymentCapture {
    const NAME: &'static str = "payment_capture";
    type Input = PaidOrder;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: PaidOrder) -> Result<Output, TaskError> {
        let captured = self.till.capture(cx.idempotency_key(), &input.order_id).await;
        captured.map_err(Error::into_task_error)
    }
}

impl Till {
    /// Takes all that was authorised, once, whoever asks for it.
    pub(super) async fn capture(&self, key: &str, order_id: &String) -> Result<Output, Error> {
        let params = [(order_id as _, Type::TEXT), (&key as _, Type::TEXT)];
        let rows = INTEND_CAPTURE.run(&self.pool, &params).await?;
        let Some(row) = rows.first() else {
            return Err(Error::OrderNotFound { order_id: order_id.clone() });
        };
        let intent = Intent::read(order_id, row)?;
        let captured_minor = match &*intent.status {
            "AUTHORISED" => {
                let (fresh, key) = (get(row, "fresh")?, get(row, "capture_key")?);
                let captured_minor = self.take(&intent, fresh, key).await?;
                self.record_capture(order_id, captured_minor).await?;
                captured_minor
            }
            "CAPTURED" => intent.captured_minor,
            _ => return Err(intent.ended(PaymentCapture::NAME)),
        };
        let payment_id = intent.payment_id()?;
        Ok(Output { payment_id, captured_minor, currency: intent.currency })
    }

    async fn take(&self, intent: &Intent, fresh: bool, key: String) -> Result<i64, Error> {
        if !fresh
            && let Some(known) = self.find(intent).await?
            && known.state == PaymentState::Captured
        {
            return Ok(known.captured_minor);
        }
        let request = CaptureRequest {
            key,
            payment_key: intent.key.clone(),
            payment_id: intent.payment_id()?,
            order_id: intent.order_id.clone(),
            amount_minor: intent.amount_minor,
            currency: intent.currency.clone(),
        };
        match self.gateway.capture(&request).await.map_err(port)? {
            CaptureAnswer::Captured { captured_minor } => Ok(captured_minor),
            CaptureAnswer::Refused { code } => {
                Err(Error::CaptureRefused { order_id: request.order_id, code })
            }
        }
    }

    async fn record_capture(&self, order_id: &String, captured_minor: i64) -> Result<(), Error> {
        let params = [(order_id as _, Type::TEXT), (&captured_minor as _, Type::INT8)];
        let rows = RECORD_CAPTURE.run(&self.pool, &params).await?;
        let status: Option<&str> = rows.first().map(|row| get(row, "status")).transpose()?;
        match status {
            Some("AUTHORISED" | "CAPTURED") => Ok(()),
            Some("INTENDED" | "DECLINED") | None => {
                Err(Error::invariant(order_id, "captured, but its payment is not authorised"))
            }
            Some(_) => Err(Error::PaymentReversed { order_id: order_id.clone() }),
        }
    }
}
