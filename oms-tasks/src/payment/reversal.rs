//! `payment_reversal`: voids what was authorised, or gives back all that was captured.

use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::refund::Meant;
use super::{Intent, Till, port};
use crate::error::Error;
use crate::fulfilment::UndoneOrder;
use crate::ports::{PaymentState, VoidAnswer, VoidRequest};
use crate::sql::{INTEND_REST_REFUND, INTEND_REVERSAL, ORDER_OWNER, RECORD_REVERSAL, get};

/// Undoes a payment, however far it has got: of a lost answer too.
#[derive(Clone, Debug)]
pub struct PaymentReversal {
    pub(crate) till: Till,
}

/// What [`PaymentReversal`] gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// `VOIDED`, `REFUNDED` or `DECLINED`; null when nothing was ever to be paid.
    pub status: Option<String>,
    /// All that the customer got back, in minor units.
    pub refunded_minor: i64,
    /// Of the amount; null when nothing was ever to be paid.
    pub currency: Option<String>,
}

impl Task for PaymentReversal {
    const NAME: &'static str = "payment_reversal";
    type Input = UndoneOrder;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: UndoneOrder) -> Result<Output, TaskError> {
        self.undo(cx.idempotency_key(), &input).await.map_err(Error::into_task_error)
    }
}

/// What a payment under reversal comes to at its gateway.
enum Stands {
    Nothing,
    Captured { payment_id: String, captured_minor: i64 },
}

impl PaymentReversal {
    async fn undo(&self, key: &str, input: &UndoneOrder) -> Result<Output, Error> {
        let Some(order_id) = &input.order_id else { return Ok(Output::default()) };
        let owner = [(order_id as _, Type::TEXT)];
        if input.is_foreign(ORDER_OWNER.run(&self.till.pool, &owner)).await? {
            return Ok(Output::default());
        }
        self.reverse(key, order_id).await
    }

    async fn reverse(&self, key: &str, order_id: &String) -> Result<Output, Error> {
        let params = [(order_id as _, Type::TEXT), (&key as _, Type::TEXT)];
        let rows = INTEND_REVERSAL.run(&self.till.pool, &params).await?;
        let Some(row) = rows.first() else { return Ok(Output::default()) };
        let intent = Intent::read(order_id, row)?;
        let currency = Some(intent.currency.clone());
        if intent.status != "REVERSING" {
            let refunded_minor = get(row, "refunded_minor")?;
            return Ok(Output { status: Some(intent.status), refunded_minor, currency });
        }
        let captured = self.void(&intent, get(row, "fresh")?).await?;
        if let Stands::Captured { payment_id, captured_minor } = captured {
            self.give_back_rest(&intent, &payment_id, captured_minor).await?;
        }
        let rows = RECORD_REVERSAL.run(&self.till.pool, &[(order_id, Type::TEXT)]).await?;
        // None: another attempt has recorded it, or is in the middle of a refund.
        let order_id = order_id.clone();
        let Some(row) = rows.first() else { return Err(Error::RefundUnderWay { order_id }) };
        let refunded_minor = get(row, "refunded_minor")?;
        Ok(Output { status: get(row, "status")?, refunded_minor, currency })
    }

    async fn void(&self, intent: &Intent, fresh: bool) -> Result<Stands, Error> {
        if !fresh && let Some(known) = self.till.find(intent).await? {
            match known.state {
                PaymentState::Voided => return Ok(Stands::Nothing),
                PaymentState::Captured => {
                    let captured_minor = known.captured_minor;
                    return Ok(Stands::Captured { payment_id: known.payment_id, captured_minor });
                }
                // Declined too: a void makes it sure that nothing comes later.
                PaymentState::Open | PaymentState::Authorised | PaymentState::Declined { .. } => {}
            }
        }
        let Some(key) = intent.reversal_key.clone() else {
            return Err(Error::invariant(&intent.order_id, "it is reversed without a key"));
        };
        let request = VoidRequest {
            key,
            payment_key: intent.key.clone(),
            payment_id: intent.payment_id.clone(),
            order_id: intent.order_id.clone(),
            amount_minor: intent.amount_minor,
            currency: intent.currency.clone(),
        };
        Ok(match self.till.gateway.void(&request).await.map_err(port)? {
            VoidAnswer::Voided => Stands::Nothing,
            VoidAnswer::Captured { payment_id, captured_minor } => {
                Stands::Captured { payment_id, captured_minor }
            }
        })
    }

    /// What no other refund is meant for, and the refunds that are meant and not known to be made.
    async fn give_back_rest(
        &self,
        intent: &Intent,
        payment_id: &String,
        captured_minor: i64,
    ) -> Result<(), Error> {
        let params = [
            (&intent.order_id as _, Type::TEXT),
            (payment_id as _, Type::TEXT),
            (&captured_minor as _, Type::INT8),
            (&intent.reversal_key as _, Type::TEXT),
        ];
        let rows = INTEND_REST_REFUND.run(&self.till.pool, &params).await?;
        for row in &rows {
            let meant = Meant {
                key: get(row, "idempotency_key")?,
                amount_minor: get(row, "amount_minor")?,
                fresh: get(row, "fresh")?,
            };
            self.till.give_back(intent, payment_id, meant).await?;
        }
        Ok(())
    }
}
