//! `part_refund`: gives back some of what was captured.

use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::refund::Meant;
use super::{Intent, Till};
use crate::error::Error;
use crate::sql::{INTEND_PART_REFUND, get};

/// Gives back some of what was captured. All parts together never exceed it.
#[derive(Clone, Debug)]
pub struct PartRefund {
    pub(crate) till: Till,
}

/// What [`PartRefund`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The order.
    pub order_id: String,
    /// Minor units of the order's currency.
    pub amount_minor: i64,
}

/// What [`PartRefund`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The gateway's id of the refund.
    pub refund_id: String,
    /// Minor units given back.
    pub refunded_minor: i64,
    /// Of the amount.
    pub currency: String,
}

impl Task for PartRefund {
    const NAME: &'static str = "part_refund";
    type Input = Input;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: Input) -> Result<Output, TaskError> {
        self.refund(cx.idempotency_key(), &input).await.map_err(Error::into_task_error)
    }
}

impl PartRefund {
    async fn refund(&self, key: &str, input: &Input) -> Result<Output, Error> {
        let mut row = self.intend(key, input).await?;
        if get::<Option<&str>>(&row, "refund_status")?.is_none() {
            // Written by another attempt while this one waited for its lock, perhaps.
            row = self.intend(key, input).await?;
        }
        let intent = Intent::read(&input.order_id, &row)?;
        let Some(status) = get::<Option<&str>>(&row, "refund_status")? else {
            return Err(refused(&intent, input, get(&row, "left_minor")?));
        };
        let (of_order, refunded_minor): (&str, i64) =
            (get(&row, "of_order")?, get(&row, "refund_minor")?);
        if (of_order, refunded_minor) != (&*input.order_id, input.amount_minor) {
            return Err(Error::invariant(&input.order_id, "another refund has this one's key"));
        }
        let refund_id = match status {
            "REFUNDED" => get(&row, "refund_id")?,
            "REFUSED" => {
                let (order_id, code) = (intent.order_id, get(&row, "refusal_code")?);
                return Err(Error::RefundRefused { order_id, code });
            }
            _ => {
                let fresh = get(&row, "fresh")?;
                let meant = Meant { key: key.to_owned(), amount_minor: refunded_minor, fresh };
                self.till.give_back(&intent, &intent.payment_id()?, meant).await?
            }
        };
        Ok(Output { refund_id, refunded_minor, currency: intent.currency })
    }

    async fn intend(&self, key: &str, input: &Input) -> Result<Row, Error> {
        let Input { order_id, amount_minor } = input;
        let params =
            [(order_id as _, Type::TEXT), (&key as _, Type::TEXT), (amount_minor as _, Type::INT8)];
        let rows = INTEND_PART_REFUND.run(&self.till.pool, &params).await?;
        rows.into_iter().next().ok_or_else(|| Error::OrderNotFound { order_id: order_id.clone() })
    }
}

fn refused(intent: &Intent, input: &Input, left_minor: i64) -> Error {
    match &*intent.status {
        "CAPTURED" | "REFUNDED" => Error::RefundExceeds {
            order_id: input.order_id.clone(),
            asked_minor: input.amount_minor,
            left_minor,
        },
        _ => intent.ended(PartRefund::NAME),
    }
}
