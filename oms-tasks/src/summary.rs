//! What the tables say of an order.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::error::{Doing as _, Error};
use crate::order::DeliveryWindow;
use crate::sql::{ORDER_SUMMARY, get};

/// An order with all that was done for it. Statuses as in `docs/order-tables.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct OrderSummary {
    pub order_id: String,
    pub workflow_id: Uuid,
    pub status: String,
    pub customer_name: Option<String>,
    pub customer_email: Option<String>,
    pub currency: Option<String>,
    pub total_minor: Option<i64>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub failed_at: Option<DateTime<Utc>>,
    pub failure_reason: Option<String>,
    pub cancelled_at: Option<DateTime<Utc>>,
    /// When it is to be delivered.
    pub delivery_window: Option<DeliveryWindow>,
    pub items: Vec<ItemSummary>,
    /// Of an order that is charged at once.
    pub payment: Option<PaymentSummary>,
    /// Of an order that is authorised first.
    pub authorisation: Option<AuthorisationSummary>,
    /// Parts of its payment that are meant to be given back, or were, in their order.
    pub refunds: Vec<RefundSummary>,
    pub reservation: Option<ReservationSummary>,
    pub bookings: Vec<BookingSummary>,
    /// One for each warehouse that has pieces of it, by warehouse.
    pub deliveries: Vec<DeliverySummary>,
    /// In the order in which they were written.
    pub notifications: Vec<NotificationSummary>,
    /// What happened, in its order.
    pub history: Vec<OrderEvent>,
}

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OrderEvent {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Such as `PAYMENT_CAPTURED`.
    pub what: String,
}

/// Its payment, where that is authorised first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct AuthorisationSummary {
    pub status: String,
    pub method: String,
    pub amount_minor: i64,
    pub payment_id: Option<String>,
    pub decline_code: Option<String>,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub authorised_at: Option<DateTime<Utc>>,
    pub captured_at: Option<DateTime<Utc>>,
    pub reversed_at: Option<DateTime<Utc>>,
}

/// A part of its payment that is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct RefundSummary {
    pub status: String,
    pub amount_minor: i64,
    pub refund_id: Option<String>,
    pub refusal_code: Option<String>,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// The reservation of its pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct ReservationSummary {
    pub status: String,
    pub created_at: DateTime<Utc>,
    pub reserved_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Those that are set aside or shipped, and from where.
    pub pieces: Vec<PiecesSummary>,
}

/// Pieces of one article from one warehouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct PiecesSummary {
    pub sku: String,
    pub warehouse: String,
    pub quantity: i64,
    pub returned: i64,
}

/// A line of the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct ItemSummary {
    pub line_no: i32,
    pub sku: String,
    pub quantity: i32,
    pub unit_price_minor: i64,
}

/// Its payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct PaymentSummary {
    pub status: String,
    pub method: String,
    pub amount_minor: i64,
    pub charge_id: Option<String>,
    pub captured_at: Option<DateTime<Utc>>,
    pub decline_code: Option<String>,
    pub refund_id: Option<String>,
    pub refunded_minor: i64,
    pub refunded_at: Option<DateTime<Utc>>,
}

/// Pieces of one article booked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct BookingSummary {
    pub sku: String,
    pub quantity: i64,
    pub status: String,
    pub booked_at: DateTime<Utc>,
    pub released_at: Option<DateTime<Utc>>,
}

/// What is delivered of it from one warehouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct DeliverySummary {
    pub warehouse: String,
    pub status: String,
    pub tracking_number: Option<String>,
    pub delivery_date: Option<NaiveDate>,
    pub refusal_code: Option<String>,
    pub scheduled_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    /// How far it is by its carrier.
    pub progress: Option<String>,
    pub progress_at: Option<DateTime<Utc>>,
    /// All that the carrier said, by when it happened.
    pub updates: Vec<UpdateSummary>,
}

/// What a carrier said of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct UpdateSummary {
    pub status: String,
    pub happened_at: DateTime<Utc>,
}

/// A notification of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of docs/order-tables.md, by their names")]
#[non_exhaustive]
pub struct NotificationSummary {
    pub stage: String,
    pub status: String,
    pub recipient: String,
    pub body: String,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
}

/// Reads an order with all that was done for it, as of one moment; none when there is no such
/// order.
///
/// # Errors
/// Database errors.
///
/// # Cancel safety
/// Safe to drop.
pub async fn order_summary(client: &Client, order_id: &str) -> Result<Option<OrderSummary>, Error> {
    let row = client
        .query_typed_opt(ORDER_SUMMARY.text, &[(&order_id, Type::TEXT)])
        .await
        .doing(ORDER_SUMMARY.name)?;
    let Some(row) = row else { return Ok(None) };
    let json: Value = get(&row, "summary")?;
    serde_json::from_value(json)
        .map(Some)
        .map_err(|source| Error::Json { place: format!("summary of order {order_id}"), source })
}
