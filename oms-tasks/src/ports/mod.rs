//! What the tasks ask of the outside world: a payment gateway, a carrier, a notifier.
//!
//! Every request carries an idempotency key. An implementation answers a repeated key with the
//! first answer, has no second effect under it, and refuses it with another body
//! ([`PortError::KeyReused`]).
//!
//! Undoing names the key of what is to be undone, since the answer that would have told its id
//! may be lost. A key that was never seen is closed for good: a request that comes late under it
//! is refused ([`PortError::KeyClosed`]), so that nothing can be done after it was undone.

use std::fmt;

use async_trait::async_trait;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::inventory::MAIN_WAREHOUSE;
use crate::order::{Address, DeliveryWindow};

mod gateway;

pub use gateway::{
    AuthoriseAnswer, CaptureAnswer, CaptureRequest, ChargeAnswer, ChargeRequest, FindRequest,
    GatewayPayment, GatewayRefund, PartRefundAnswer, PartRefundRequest, PaymentGateway,
    PaymentState, RefundAnswer, RefundRequest, VoidAnswer, VoidRequest,
};

/// Why a port did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PortError {
    /// It cannot be reached, did not answer in time or failed. Whether the request took effect is
    /// unknown; asking again under the same key is safe.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The key was used with another body.
    #[error("idempotency key {0} was used with another request")]
    KeyReused(String),
    /// What the key stands for was undone before the request came.
    #[error("idempotency key {0} is closed: what it stands for was undone")]
    KeyClosed(String),
    /// The request can never succeed.
    #[error("refused: {0}")]
    Invalid(String),
}

impl PortError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Has what a warehouse has of an order fetched and delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingRequest {
    /// Idempotency key of the booking.
    pub key: String,
    /// The order.
    pub order_id: String,
    /// From which warehouse it is fetched.
    #[serde(default = "main_warehouse")]
    pub warehouse: String,
    /// Who gets it.
    pub recipient: String,
    /// Where to.
    pub ship_to: Address,
    /// How many pieces.
    pub pieces: i64,
    /// When it is to arrive; whenever the carrier can, unless this says so. A carrier that has no slot then
    /// refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<DeliveryWindow>,
}

fn main_warehouse() -> String {
    MAIN_WAREHOUSE.to_owned()
}

/// What came of a booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum BookingAnswer {
    /// The order will be delivered.
    Booked {
        /// The carrier's tracking number.
        tracking_number: String,
        /// The day of delivery.
        delivery_date: NaiveDate,
    },
    /// The carrier does not and will not deliver it under this key.
    Refused {
        /// The carrier's code.
        code: String,
    },
}

/// Calls off what was booked under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Idempotency key of the cancellation.
    pub key: String,
    /// Idempotency key of the booking.
    pub booking_key: String,
    /// The order.
    pub order_id: String,
}

/// What came of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum CancelAnswer {
    /// The booking was called off, now or before.
    Cancelled,
    /// Nothing had been booked under the key, and nothing will be.
    NothingBooked,
}

/// Who delivers.
#[async_trait]
pub trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// Books the delivery, once per key.
    async fn book(&self, request: &BookingRequest) -> Result<BookingAnswer, PortError>;
    /// Calls the delivery off that was booked under the booking's key, or closes that key.
    async fn cancel(&self, request: &CancelRequest) -> Result<CancelAnswer, PortError>;
}

/// A message to a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `order:stage`, of a refund with its key behind it; the same whenever the message is delivered again.
    pub message_id: String,
    /// The order.
    pub order_id: String,
    /// The stage that wrote it, such as `PAID`.
    pub stage: String,
    /// E-mail address.
    pub recipient: String,
    /// The text.
    pub body: String,
}

/// Who tells the customer.
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync + 'static {
    /// Delivers a message. It may come again under the same `message_id` when the sender died
    /// before it could write that it was sent.
    async fn deliver(&self, message: &Message) -> Result<(), PortError>;
}
