//! All tasks, with what they need.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use oms_engine::TaskHost;

use crate::delivery_scheduling::DeliveryScheduling;
use crate::notification::Notification;
use crate::order_acknowledgement::OrderAcknowledgement;
use crate::payment::{
    CaptureAt, PartRefund, PaymentAuthorisation, PaymentCapture, PaymentReversal, Till,
};
use crate::payment_processing::PaymentProcessing;
use crate::ports::{Carrier, PaymentGateway};
use crate::stock::{
    BackOrder, ReservationConfirmation, ReservationExpiry, ReservationRelease, StockDispatch,
    StockReservation,
};
use crate::stock_booking::StockBooking;
use crate::unwinding::delivery_cancellation::DeliveryCancellation;
use crate::unwinding::order_closure::OrderClosure;
use crate::unwinding::order_failure::OrderFailure;
use crate::unwinding::payment_refund::PaymentRefund;
use crate::unwinding::stock_release::StockRelease;

/// Makes the tasks of `order_fulfilment` and `order_unwinding`.
///
/// The transactional ones write through the engine's transaction; the others use `pool`, which
/// must lead to the same tables. They hold a connection for one statement at a time and none
/// while they call a port.
#[derive(Clone, Debug)]
pub struct OrderTasks {
    /// For tasks that call a port.
    pub pool: Pool,
    /// Where money comes from.
    pub gateway: Arc<dyn PaymentGateway>,
    /// Who delivers.
    pub carrier: Arc<dyn Carrier>,
}

impl OrderTasks {
    /// Checks, prices and writes the order.
    #[must_use]
    pub fn order_acknowledgement(&self) -> OrderAcknowledgement {
        OrderAcknowledgement
    }

    /// Charges the order.
    #[must_use]
    pub fn payment_processing(&self) -> PaymentProcessing {
        PaymentProcessing { pool: self.pool.clone(), gateway: Arc::clone(&self.gateway) }
    }

    /// Books its pieces.
    #[must_use]
    pub fn stock_booking(&self) -> StockBooking {
        StockBooking
    }

    /// Has the carrier deliver it.
    #[must_use]
    pub fn delivery_scheduling(&self) -> DeliveryScheduling {
        DeliveryScheduling { pool: self.pool.clone(), carrier: Arc::clone(&self.carrier) }
    }

    /// Completes it.
    #[must_use]
    pub fn notification(&self) -> Notification {
        Notification
    }

    /// Closes a failed order.
    #[must_use]
    pub fn order_closure(&self) -> OrderClosure {
        OrderClosure
    }

    /// Cancels its delivery.
    #[must_use]
    pub fn delivery_cancellation(&self) -> DeliveryCancellation {
        DeliveryCancellation { pool: self.pool.clone(), carrier: Arc::clone(&self.carrier) }
    }

    /// Gives its pieces back.
    #[must_use]
    pub fn stock_release(&self) -> StockRelease {
        StockRelease
    }

    /// Refunds its payment.
    #[must_use]
    pub fn payment_refund(&self) -> PaymentRefund {
        PaymentRefund { pool: self.pool.clone(), gateway: Arc::clone(&self.gateway) }
    }

    /// Marks it failed.
    #[must_use]
    pub fn order_failure(&self) -> OrderFailure {
        OrderFailure
    }

    /// Sets the order's total aside; `capture_at` says whether it is taken too.
    #[must_use]
    pub fn payment_authorisation(&self, capture_at: CaptureAt) -> PaymentAuthorisation {
        PaymentAuthorisation { till: self.till(), capture_at }
    }

    /// Takes what was authorised.
    #[must_use]
    pub fn payment_capture(&self) -> PaymentCapture {
        PaymentCapture { till: self.till() }
    }

    /// Voids what was authorised, or gives it back.
    #[must_use]
    pub fn payment_reversal(&self) -> PaymentReversal {
        PaymentReversal { till: self.till() }
    }

    /// Gives back some of what was captured.
    #[must_use]
    pub fn part_refund(&self) -> PartRefund {
        PartRefund { till: self.till() }
    }

    /// Sets all pieces of an order aside.
    #[must_use]
    pub fn stock_reservation(&self) -> StockReservation {
        StockReservation::default()
    }

    /// Waits for them; it looks by itself so often.
    #[must_use]
    pub fn back_order(&self, poll: Duration) -> BackOrder {
        BackOrder::every(poll)
    }

    /// Keeps them for good.
    #[must_use]
    pub fn reservation_confirmation(&self) -> ReservationConfirmation {
        ReservationConfirmation::default()
    }

    /// Puts them back when their time is over.
    #[must_use]
    pub fn reservation_expiry(&self) -> ReservationExpiry {
        ReservationExpiry::default()
    }

    /// Puts them back.
    #[must_use]
    pub fn reservation_release(&self) -> ReservationRelease {
        ReservationRelease::default()
    }

    /// Has them leave the house.
    #[must_use]
    pub fn stock_dispatch(&self) -> StockDispatch {
        StockDispatch::default()
    }

    fn till(&self) -> Till {
        Till { pool: self.pool.clone(), gateway: Arc::clone(&self.gateway) }
    }

    /// Runs the ten tasks of `order_fulfilment` and `order_unwinding` in the engine that is being built, or
    /// wherever else tasks run.
    #[must_use]
    pub fn register<H: TaskHost>(&self, host: H) -> H {
        host.transactional_batch_task(self.order_acknowledgement())
            .task(self.payment_processing())
            .transactional_batch_task(self.stock_booking())
            .task(self.delivery_scheduling())
            .transactional_batch_task(self.notification())
            .transactional_task(self.order_closure())
            .task(self.delivery_cancellation())
            .transactional_task(self.stock_release())
            .task(self.payment_refund())
            .transactional_task(self.order_failure())
    }
}
