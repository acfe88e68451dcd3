//! The stages of an order: what each tells the customer, and which orders are past all of them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use crate::error::Error;
use crate::order::is_order_id;

/// Each writes one notification per order, but for a refund, which has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Acknowledged,
    Paid,
    Authorised,
    Declined,
    Booked,
    BackOrdered,
    Scheduled,
    Completed,
    Dispatched,
    /// `{order_id}` is filled in by the statement that knows it.
    Delivered,
    /// As `Delivered`.
    DeliveryFailed,
    Refunded,
    Failed,
    /// As `Failed`, where the reason is in the engine's words.
    Unfulfilled,
    Cancelled,
}

impl Stage {
    /// What the customer reads. `{reason}` is filled in by the statement that knows it.
    pub(crate) fn body(self, order_id: &str) -> String {
        match self {
            Self::Acknowledged => format!("We have received your order {order_id}."),
            Self::Paid => format!("Your payment for order {order_id} has arrived."),
            Self::Authorised => format!("Your payment for order {order_id} is accepted."),
            Self::Declined => format!("Your payment for order {order_id} was declined."),
            Self::Booked => format!("All articles of your order {order_id} are set aside."),
            Self::BackOrdered => format!(
                "Not all articles of your order {order_id} are there. We set them aside as soon as they \
                 come."
            ),
            Self::Scheduled => format!("The delivery of your order {order_id} is scheduled."),
            Self::Completed => format!("Your order {order_id} is complete and on its way."),
            Self::Dispatched => format!("Your order {order_id} is on its way."),
            Self::Delivered => format!("Your order {order_id} has arrived."),
            Self::DeliveryFailed => format!(
                "The carrier could not deliver your order {order_id}. Please get in touch with us."
            ),
            Self::Refunded => format!("We have given money for your order {order_id} back to you."),
            Self::Unfulfilled => format!(
                "We cannot fulfil your order {order_id}. Whatever you paid for it is given back."
            ),
            Self::Cancelled => format!(
                "Your order {order_id} is cancelled. Whatever you paid for it is given back."
            ),
            Self::Failed => format!(
                "We cannot fulfil your order {order_id}: {{reason}}. Whatever you paid for it is \
                 given back."
            ),
        }
    }
}

/// Refuses an order for which nothing may be done any more.
pub(crate) fn refuse_closed(order_id: &str, status: String) -> Result<(), Error> {
    if is_closed(&status) {
        return Err(Error::OrderClosed { order_id: order_id.to_owned(), status });
    }
    Ok(())
}

/// Whether an order is being unwound, has failed or was cancelled.
pub(crate) fn is_closed(status: &str) -> bool {
    matches!(status, "UNWINDING" | "FAILED" | "CANCELLED")
}

/// Refuses an order that is neither at a task's turn nor past it.
pub(crate) fn refuse_early(
    order_id: &str,
    status: String,
    task: &'static str,
    past: &[&str],
) -> Result<(), Error> {
    if past.contains(&status.as_str()) {
        return Ok(());
    }
    Err(Error::OutOfTurn { order_id: order_id.to_owned(), status, task })
}

/// An order of a failed run, as the tasks of `order_unwinding` are given it.
#[derive(Clone, Debug, Deserialize)]
pub struct FailedOrder {
    /// The order; none when the failed run's input named no possible order, which then has left
    /// nothing to undo.
    #[serde(default, deserialize_with = "possible_order_id")]
    pub order_id: Option<String>,
    /// The failed run: Conductor's `workflowId` of a failure workflow's input. Another run's
    /// order of the same id is left alone.
    pub workflow_id: Uuid,
}

fn possible_order_id<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(json)? {
        Value::String(text) if is_order_id(&text) => Some(text),
        _ => None,
    })
}

impl FailedOrder {
    /// Whether there is nothing to undo, since the order is another run's; refuses an order that
    /// is still open.
    pub(crate) fn is_foreign(
        &self,
        status: String,
        owner: Uuid,
        task: &'static str,
    ) -> Result<bool, Error> {
        if owner != self.workflow_id {
            return Ok(true);
        }
        if is_closed(&status) {
            return Ok(false);
        }
        let order_id = self.order_id.clone().unwrap_or_default();
        Err(Error::OutOfTurn { order_id, status, task })
    }
}
