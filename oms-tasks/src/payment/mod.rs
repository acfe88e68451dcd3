//! Payments that are authorised first, captured once the order goes out, and given back in parts.
//!
//! What is meant to be done is a committed row before the gateway is called. Whoever finds such a row
//! that somebody else wrote asks the gateway what became of it ([`PaymentGateway::find`]) before
//! anything is asked for again. A payment that is being reversed is closed first: what comes back late
//! is not written, and the gateway refuses what comes late to it.
//!
//! An order is paid once: after its payment was declined or reversed, no other is taken for it.

mod authorisation;
mod capture;
mod part_refund;
mod refund;
mod reversal;

use std::sync::Arc;

use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

pub use authorisation::{
    Input as AuthorisationInput, Output as AuthorisationOutput, PaymentAuthorisation,
};
pub use capture::{Output as CaptureOutput, PaymentCapture};
pub use part_refund::{Input as PartRefundInput, Output as PartRefundOutput, PartRefund};
pub use reversal::{Output as ReversalOutput, PaymentReversal};

use crate::error::Error;
use crate::ports::{FindRequest, GatewayPayment, PaymentGateway, PortError};
use crate::sql::get;

/// When an authorised amount is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureAt {
    /// By the authorisation itself, which then succeeds only once the money is taken.
    Payment,
    /// By the step `payment_capture`, which stands where the delivery is scheduled.
    #[default]
    Scheduling,
}

/// The order of a payment, as the tasks after the authorisation are given it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaidOrder {
    /// The order.
    pub order_id: String,
}

/// What every task of a payment needs.
#[derive(Clone, Debug)]
pub(crate) struct Till {
    pub(crate) pool: Pool,
    pub(crate) gateway: Arc<dyn PaymentGateway>,
}

/// A payment as its row says.
#[derive(Debug)]
struct Intent {
    order_id: String,
    key: String,
    status: String,
    amount_minor: i64,
    currency: String,
    payment_id: Option<String>,
    captured_minor: i64,
    decline_code: Option<String>,
    reversal_key: Option<String>,
}

impl Intent {
    fn read(order_id: &str, row: &Row) -> Result<Self, Error> {
        Ok(Self {
            order_id: order_id.to_owned(),
            key: get(row, "idempotency_key")?,
            status: get(row, "status")?,
            amount_minor: get(row, "amount_minor")?,
            currency: get(row, "currency")?,
            payment_id: get(row, "payment_id")?,
            captured_minor: get(row, "captured_minor")?,
            decline_code: get(row, "decline_code")?,
            reversal_key: get(row, "reversal_key")?,
        })
    }

    /// The gateway's id, which every payment from AUTHORISED on has.
    fn payment_id(&self) -> Result<String, Error> {
        let lacks = || Error::invariant(&self.order_id, format!("{} without an id", self.status));
        self.payment_id.clone().ok_or_else(lacks)
    }

    /// Why nothing more is taken for it.
    fn ended(&self, task: &'static str) -> Error {
        let order_id = self.order_id.clone();
        match (&*self.status, &self.decline_code) {
            ("DECLINED", Some(code)) => Error::Declined { order_id, code: code.clone() },
            ("INTENDED" | "AUTHORISED" | "CAPTURED", _) => {
                let status = format!("{} (payment)", self.status);
                Error::OutOfTurn { order_id, status, task }
            }
            _ => Error::PaymentReversed { order_id },
        }
    }
}

impl Till {
    async fn find(&self, intent: &Intent) -> Result<Option<GatewayPayment>, Error> {
        let asked = FindRequest {
            payment_key: intent.key.clone(),
            payment_id: intent.payment_id.clone(),
            order_id: intent.order_id.clone(),
            amount_minor: intent.amount_minor,
            currency: intent.currency.clone(),
        };
        self.gateway.find(&asked).await.map_err(port)
    }
}

fn port(source: PortError) -> Error {
    Error::Port { port: "payment gateway", source }
}
