//! Deliveries: their numbers, and how they go on.

mod calling_off;
mod s10;

use serde::{Deserialize, Serialize};

pub(crate) use calling_off::call_off;
pub use s10::{InvalidTrackingNumber, SERIALS, TrackingNumber};

/// How far a delivery is, by its carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// The carrier has taken it on.
    Booked,
    /// It has left the house.
    Dispatched,
    /// It is on the last part of its way.
    OutForDelivery,
    /// It has arrived.
    Delivered,
    /// It will not arrive.
    Failed,
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Booked, Self::Dispatched, Self::OutForDelivery, Self::Delivered, Self::Failed];

    /// As in the table `delivery_updates`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "BOOKED",
            Self::Dispatched => "DISPATCHED",
            Self::OutForDelivery => "OUT_FOR_DELIVERY",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
        }
    }
}

/// What came of an update from the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryUpdated {
    /// The delivery has moved on to it.
    Applied,
    /// It was heard of before.
    Already,
    /// The delivery is further, or has ended otherwise: this is kept as something that happened, and
    /// changes nothing.
    Behind,
    /// The delivery was called off: this is kept, and changes nothing.
    CalledOff,
}
