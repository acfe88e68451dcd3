//! What the tasks ask of a payment gateway.
//!
//! A payment goes by the idempotency key that it was asked for under (`payment_key`): it is charged at
//! once, or authorised, captured, voided and given back in parts. Its gateway's id is handed over
//! where it is known, and is not where the answer that told it was lost.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::order::CardToken;

/// Takes money once, or sets it aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRequest {
    /// Idempotency key of the charge.
    pub key: String,
    /// The order.
    pub order_id: String,
    /// Minor units of the currency.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Such as `card`.
    pub method: String,
    /// What the gateway knows the means of payment by.
    pub token: CardToken,
}

/// What came of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ChargeAnswer {
    /// The money was taken.
    Charged {
        /// The gateway's id.
        charge_id: String,
    },
    /// The money was not and will not be taken under this key.
    Declined {
        /// The gateway's code.
        code: String,
    },
}

/// Gives back all that was taken under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// Idempotency key of the refund.
    pub key: String,
    /// Idempotency key of the charge.
    pub charge_key: String,
    /// The order.
    pub order_id: String,
    /// Minor units of the currency: what the charge was to be.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What came of a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum RefundAnswer {
    /// The charge was given back in full, now or before.
    Refunded {
        /// The gateway's id of the refund.
        refund_id: String,
        /// The gateway's id of the charge.
        charge_id: String,
    },
    /// Nothing had been charged under the key, and nothing will be.
    NothingCharged,
}

/// What came of an authorisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum AuthoriseAnswer {
    /// The amount is set aside, and taken when it is captured.
    Authorised {
        /// The gateway's id of the payment.
        payment_id: String,
    },
    /// Nothing is and nothing will be set aside under this key.
    Declined {
        /// The gateway's code.
        code: String,
    },
}

/// Takes what was authorised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// Idempotency key of the capture.
    pub key: String,
    /// Idempotency key of the authorisation.
    pub payment_key: String,
    /// The gateway's id of the payment.
    pub payment_id: String,
    /// The order.
    pub order_id: String,
    /// Minor units of the currency, at most what was authorised.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What came of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum CaptureAnswer {
    /// The money was taken, now or before.
    Captured {
        /// Minor units taken.
        captured_minor: i64,
    },
    /// It was not and will not be taken: the authorisation ran out, or was voided.
    Refused {
        /// The gateway's code.
        code: String,
    },
}

/// Gives up what was authorised under a key, or closes that key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidRequest {
    /// Idempotency key of the void.
    pub key: String,
    /// Idempotency key of the authorisation.
    pub payment_key: String,
    /// The gateway's id of the payment, where its answer came.
    pub payment_id: Option<String>,
    /// The order.
    pub order_id: String,
    /// Minor units of the currency: what was to be authorised.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What came of a void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum VoidAnswer {
    /// Nothing is set aside under the key, and nothing will be.
    Voided,
    /// It is too late: the money was taken. It can be given back.
    Captured {
        /// The gateway's id of the payment.
        payment_id: String,
        /// Minor units taken.
        captured_minor: i64,
    },
}

/// Gives back some of what was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRefundRequest {
    /// Idempotency key of this refund.
    pub key: String,
    /// Idempotency key of the authorisation.
    pub payment_key: String,
    /// The gateway's id of the payment.
    pub payment_id: String,
    /// The order.
    pub order_id: String,
    /// Minor units of the currency.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What came of a partial refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum PartRefundAnswer {
    /// The amount was given back, now or before.
    Refunded {
        /// The gateway's id of the refund.
        refund_id: String,
    },
    /// It was not and will not be given back under this key.
    Refused {
        /// The gateway's code.
        code: String,
    },
}

/// Asks what became of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindRequest {
    /// Idempotency key of the authorisation.
    pub payment_key: String,
    /// The gateway's id of the payment, where its answer came.
    pub payment_id: Option<String>,
    /// The order.
    pub order_id: String,
    /// Minor units of the currency: what was to be authorised.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// How far a payment has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PaymentState {
    /// Nothing was decided; the authorisation may be asked for again.
    Open,
    /// The amount is set aside.
    Authorised,
    /// It was taken.
    Captured,
    /// The gateway declined.
    Declined {
        /// The gateway's code.
        code: String,
    },
    /// It was given up, or ran out.
    Voided,
}

/// A payment as its gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPayment {
    /// The gateway's id.
    pub payment_id: String,
    /// How far it has got.
    pub state: PaymentState,
    /// Minor units taken.
    pub captured_minor: i64,
    /// What was given back.
    pub refunds: Vec<GatewayRefund>,
}

/// A refund as its gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRefund {
    /// The idempotency key that it was asked for under.
    pub key: String,
    /// The gateway's id.
    pub refund_id: String,
    /// Minor units.
    pub amount_minor: i64,
}

/// Where money comes from.
///
/// A gateway that charges at once has [`charge`](Self::charge) and [`refund`](Self::refund), which is
/// all that `order_fulfilment` version 1 asks for; the others refuse unless they are written.
#[async_trait]
pub trait PaymentGateway: fmt::Debug + Send + Sync + 'static {
    /// Takes the amount, once per key.
    async fn charge(&self, request: &ChargeRequest) -> Result<ChargeAnswer, PortError>;
    /// Gives back what was charged under the charge's key, once per charge, or closes that key.
    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, PortError>;

    /// Sets the amount aside, once per key.
    async fn authorise(&self, _request: &ChargeRequest) -> Result<AuthoriseAnswer, PortError> {
        Err(lacks("authorise"))
    }
    /// Takes what was authorised, once per payment.
    async fn capture(&self, _request: &CaptureRequest) -> Result<CaptureAnswer, PortError> {
        Err(lacks("capture"))
    }
    /// Gives up what was authorised, or closes its key; takes nothing back that was captured.
    async fn void(&self, _request: &VoidRequest) -> Result<VoidAnswer, PortError> {
        Err(lacks("void"))
    }
    /// Gives back some of what was captured, once per key. All parts together never exceed it.
    async fn refund_part(
        &self,
        _request: &PartRefundRequest,
    ) -> Result<PartRefundAnswer, PortError> {
        Err(lacks("refund_part"))
    }
    /// What became of a payment, and of its refunds; none when its key was never seen. Moves no
    /// money.
    async fn find(&self, _request: &FindRequest) -> Result<Option<GatewayPayment>, PortError> {
        Err(lacks("find"))
    }
}

fn lacks(what: &str) -> PortError {
    PortError::Invalid(format!("this gateway does not know how to {what}"))
}
