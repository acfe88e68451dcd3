//! `payment_authorisation`: sets the order's total aside, and takes it where that is configured.

use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::{CaptureAt, Intent, Till, port};
use crate::error::Error;
use crate::order::Payment;
use crate::ports::{AuthoriseAnswer, ChargeRequest, PaymentState, PortError};
use crate::sql::{DECLINE_AUTHORISATION, INTEND_AUTHORISATION, RECORD_AUTHORISATION, get};
use crate::stage::{Stage, refuse_closed};

/// Sets the order's total aside.
#[derive(Clone, Debug)]
pub struct PaymentAuthorisation {
    pub(crate) till: Till,
    pub(crate) capture_at: CaptureAt,
}

/// What [`PaymentAuthorisation`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The order.
    pub order_id: String,
    /// How it is paid.
    pub payment: Payment,
}

/// What [`PaymentAuthorisation`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The gateway's id.
    pub payment_id: String,
    /// What was authorised, in minor units.
    pub amount_minor: i64,
    /// Of the amount.
    pub currency: String,
}

impl Task for PaymentAuthorisation {
    const NAME: &'static str = "payment_authorisation";
    type Input = Input;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: Input) -> Result<Output, TaskError> {
        self.authorise(cx.idempotency_key(), &input).await.map_err(Error::into_task_error)
    }
}

impl PaymentAuthorisation {
    async fn authorise(&self, key: &str, input: &Input) -> Result<Output, Error> {
        let (intent, fresh) = self.intend(key, input).await?;
        let payment_id = match &*intent.status {
            "INTENDED" => self.settle(&intent, fresh, input).await?,
            "AUTHORISED" | "CAPTURED" => intent.payment_id()?,
            _ => return Err(intent.ended(Self::NAME)),
        };
        if self.capture_at == CaptureAt::Payment {
            self.till.capture(&format!("{}/capture", intent.key), &intent.order_id).await?;
        }
        let Intent { amount_minor, currency, .. } = intent;
        Ok(Output { payment_id, amount_minor, currency })
    }

    async fn intend(&self, key: &str, input: &Input) -> Result<(Intent, bool), Error> {
        let order_id = &input.order_id;
        let params = [
            (order_id as _, Type::TEXT),
            (&key as _, Type::TEXT),
            (&input.payment.method as _, Type::TEXT),
        ];
        let rows = INTEND_AUTHORISATION.run(&self.till.pool, &params).await?;
        let Some(row) = rows.first() else {
            return Err(Error::OrderNotFound { order_id: order_id.clone() });
        };
        refuse_closed(order_id, get(row, "order_status")?)?;
        Ok((Intent::read(order_id, row)?, get(row, "fresh")?))
    }

    /// Gets the gateway's word, and writes it.
    async fn settle(&self, intent: &Intent, fresh: bool, input: &Input) -> Result<String, Error> {
        let known = if fresh { None } else { self.till.find(intent).await? };
        let known = known.map(|payment| (payment.state, payment.payment_id));
        let answer = match known {
            Some((PaymentState::Authorised | PaymentState::Captured, payment_id)) => {
                AuthoriseAnswer::Authorised { payment_id }
            }
            Some((PaymentState::Declined { code }, _)) => AuthoriseAnswer::Declined { code },
            Some((PaymentState::Voided, _)) => {
                return Err(port(PortError::KeyClosed(intent.key.clone())));
            }
            None | Some((PaymentState::Open, _)) => self.ask(intent, input).await?,
        };
        let order_id = &intent.order_id;
        match answer {
            AuthoriseAnswer::Authorised { payment_id } => {
                self.record(order_id, &payment_id).await?;
                Ok(payment_id)
            }
            AuthoriseAnswer::Declined { code } => {
                let body = Stage::Declined.body(order_id);
                let params = [
                    (order_id as _, Type::TEXT),
                    (&code as _, Type::TEXT),
                    (&body as _, Type::TEXT),
                ];
                DECLINE_AUTHORISATION.run(&self.till.pool, &params).await?;
                Err(Error::Declined { order_id: order_id.clone(), code })
            }
        }
    }

    async fn ask(&self, intent: &Intent, input: &Input) -> Result<AuthoriseAnswer, Error> {
        let request = ChargeRequest {
            key: intent.key.clone(),
            order_id: intent.order_id.clone(),
            amount_minor: intent.amount_minor,
            currency: intent.currency.clone(),
            method: input.payment.method.clone(),
            token: input.payment.token.clone(),
        };
        self.till.gateway.authorise(&request).await.map_err(port)
    }

    async fn record(&self, order_id: &String, payment_id: &String) -> Result<(), Error> {
        let body = Stage::Authorised.body(order_id);
        let params =
            [(order_id as _, Type::TEXT), (payment_id as _, Type::TEXT), (&body as _, Type::TEXT)];
        let rows = RECORD_AUTHORISATION.run(&self.till.pool, &params).await?;
        let status: Option<&str> = rows.first().map(|row| get(row, "status")).transpose()?;
        match status {
            // Not written by this call where another attempt has written the same.
            Some("INTENDED" | "AUTHORISED" | "CAPTURED") => Ok(()),
            Some("DECLINED") | None => {
                Err(Error::invariant(order_id, "authorised, but its payment is not intended"))
            }
            Some(_) => Err(Error::PaymentReversed { order_id: order_id.clone() }),
        }
    }
}
