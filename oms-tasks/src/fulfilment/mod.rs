//! The tasks that version 2 of `order_fulfilment` has beside those of [`payment`](crate::payment) and
//! [`stock`](crate::stock), and `order_closing`, which undoes an order of either version.

mod confirmation;
mod dispatch;
mod ending;
mod withdrawal;

use std::time::Duration;

use oms_engine::TaskHost;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

pub use confirmation::{OrderConfirmation, Output as ConfirmationOutput};
pub use dispatch::{OrderDispatch, Output as DispatchOutput};
pub use ending::{OrderEnding, Output as EndingOutput};
pub use withdrawal::{DeliveryWithdrawal, Output as WithdrawalOutput};

use crate::error::Error;
use crate::order::is_order_id;
use crate::payment::CaptureAt;
use crate::sql::get;
use crate::tasks::OrderTasks;

/// How the tasks of version 2 work.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FulfilmentOptions {
    /// When an authorised amount is taken.
    pub capture_at: CaptureAt,
    /// How often an order that waits for pieces looks by itself.
    pub back_order_poll: Duration,
}

impl Default for FulfilmentOptions {
    fn default() -> Self {
        Self { capture_at: CaptureAt::default(), back_order_poll: Duration::from_secs(60) }
    }
}

/// An order, as the tasks of version 2 are given it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OneOrder {
    /// The order.
    pub order_id: String,
}

/// An order whose steps are undone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UndoneOrder {
    /// The order; none when the run's input named no possible order, which then has left nothing.
    #[serde(default, deserialize_with = "possible_order_id")]
    pub order_id: Option<String>,
    /// The run that it must belong to; another run's order of the same id is left alone. None for a step
    /// that its own run undoes.
    #[serde(default)]
    pub workflow_id: Option<Uuid>,
}

fn possible_order_id<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(json)? {
        Value::String(text) if is_order_id(&text) => Some(text),
        _ => None,
    })
}

impl UndoneOrder {
    /// Whether the order is another run's. `owner` gives its row of `order_owner`, if it has one.
    pub(crate) async fn is_foreign(
        &self,
        owner: impl Future<Output = Result<Vec<Row>, Error>>,
    ) -> Result<bool, Error> {
        let Some(workflow_id) = self.workflow_id else { return Ok(false) };
        let owner: Option<Uuid> =
            owner.await?.first().map(|row| get(row, "workflow_id")).transpose()?;
        Ok(owner.is_some_and(|owner| owner != workflow_id))
    }
}

impl OrderTasks {
    /// Confirms orders that are paid and reserved.
    #[must_use]
    pub fn order_confirmation(&self) -> OrderConfirmation {
        OrderConfirmation::default()
    }

    /// Has the pieces of orders leave the house.
    #[must_use]
    pub fn order_dispatch(&self) -> OrderDispatch {
        OrderDispatch::default()
    }

    /// Has the carrier not fetch an order.
    #[must_use]
    pub fn delivery_withdrawal(&self) -> DeliveryWithdrawal {
        DeliveryWithdrawal { pool: self.pool.clone(), carrier: self.carrier.clone() }
    }

    /// Marks an order failed or cancelled.
    #[must_use]
    pub fn order_ending(&self) -> OrderEnding {
        OrderEnding::default()
    }

    /// Runs the tasks of both versions in the engine that is being built, or wherever else tasks run.
    #[must_use]
    pub fn register_v2<H: TaskHost>(&self, host: H, options: &FulfilmentOptions) -> H {
        self.register(host)
            .task(self.payment_authorisation(options.capture_at))
            .task(self.payment_capture())
            .task(self.payment_reversal())
            .task(self.part_refund())
            .transactional_batch_task(self.stock_reservation())
            .transactional_batch_task(self.back_order(options.back_order_poll))
            .transactional_batch_task(self.reservation_confirmation())
            .transactional_task(self.reservation_release())
            .transactional_task(self.reservation_expiry())
            .transactional_batch_task(self.stock_dispatch())
            .transactional_batch_task(self.order_confirmation())
            .transactional_batch_task(self.order_dispatch())
            .task(self.delivery_withdrawal())
            .transactional_task(self.order_ending())
    }
}
