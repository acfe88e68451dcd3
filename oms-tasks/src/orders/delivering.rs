//! What the carrier says of a delivery.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::Orders;
use crate::error::Error;
use crate::shipping::{DeliveryStatus, DeliveryUpdated};
use crate::sql::{MOVE_DELIVERY, get};
use crate::stage::Stage;

impl Orders {
    /// Writes what the carrier says of a delivery, by the tracking number: in one transaction, so that it may
    /// be called for whatever a carrier sends, in any order and as often as it comes. A delivery moves
    /// forward alone, by `BOOKED`, `DISPATCHED` and `OUT_FOR_DELIVERY` to `DELIVERED` or `FAILED`, whichever
    /// of these is heard of first. The customer is told once when the last delivery of the order has arrived, or
    /// the first has failed.
    ///
    /// # Errors
    /// [`Error::DeliveryNotFound`] for a number that no order has; database errors.
    ///
    /// # Cancel safety
    /// Whether it was written is unknown when the future is dropped; update it again.
    pub async fn delivery_update(
        &self,
        tracking_number: &str,
        status: DeliveryStatus,
        happened_at: DateTime<Utc>,
    ) -> Result<DeliveryUpdated, Error> {
        let params = [
            (&tracking_number as _, Type::TEXT),
            (&status.as_str() as _, Type::TEXT),
            (&happened_at as _, Type::TIMESTAMPTZ),
            (&Stage::Delivered.body("{order_id}") as _, Type::TEXT),
            (&Stage::DeliveryFailed.body("{order_id}") as _, Type::TEXT),
        ];
        let rows = MOVE_DELIVERY.run(&self.pool, &params).await?;
        let Some(row) = rows.first() else {
            return Err(Error::DeliveryNotFound { tracking_number: tracking_number.to_owned() });
        };
        Ok(if !get::<bool>(row, "heard")? {
            DeliveryUpdated::Already
        } else if get::<bool>(row, "moved")? {
            DeliveryUpdated::Applied
        } else if get::<&str>(row, "status")? == "SCHEDULED" {
            DeliveryUpdated::Behind
        } else {
            DeliveryUpdated::CalledOff
        })
    }
}
