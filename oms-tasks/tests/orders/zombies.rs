//! Attempts that outlive their lease: the order is unwound while they are in the middle.

use std::sync::Arc;

use async_trait::async_trait;
use oms_engine::TaskError;
use oms_tasks::OrderTasks;
use oms_tasks::ports::{
    BookingAnswer, BookingRequest, CancelAnswer, CancelRequest, Carrier, ChargeAnswer,
    ChargeRequest, PaymentGateway, PortError, RefundAnswer, RefundRequest,
};
use oms_tasks::sandbox::SandboxClient;
use serde_json::Value;
use tokio::sync::Notify;

use crate::world::{Placed, STEPS, World};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hold {
    /// The request has not arrived when the order is unwound.
    Before,
    /// The request was answered, and the answer is not written yet.
    After,
}

/// Stops each charge and booking on its way until told to go on.
#[derive(Debug)]
struct Held {
    inner: Arc<SandboxClient>,
    hold: Hold,
    stopped: Notify,
    go_on: Notify,
}

impl Held {
    async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        if self.hold == Hold::Before {
            self.stopped.notify_one();
            self.go_on.notified().await;
            return call.await;
        }
        let answer = call.await;
        self.stopped.notify_one();
        self.go_on.notified().await;
        answer
    }
}

#[async_trait]
impl PaymentGateway for Held {
    async fn charge(&self, request: &ChargeRequest) -> Result<ChargeAnswer, PortError> {
        self.pass(self.inner.charge(request)).await
    }

    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, PortError> {
        self.inner.refund(request).await
    }
}

#[async_trait]
impl Carrier for Held {
    async fn book(&self, request: &BookingRequest) -> Result<BookingAnswer, PortError> {
        self.pass(self.inner.book(request)).await
    }

    async fn cancel(&self, request: &CancelRequest) -> Result<CancelAnswer, PortError> {
        self.inner.cancel(request).await
    }
}

/// Runs a step whose call is held while the order is unwound; gives what it reports too late.
async fn unwound_meanwhile(world: &World, step: &str, hold: Hold) -> Result<Value, TaskError> {
    let order = Placed::new("o");
    let steps = STEPS.iter().position(|name| *name == step).unwrap();
    world.take(&order, steps).await;
    let held = Arc::new(Held {
        inner: Arc::clone(&world.port),
        hold,
        stopped: Notify::new(),
        go_on: Notify::new(),
    });
    let zombies = OrderTasks {
        pool: world.tasks.pool.clone(),
        gateway: Arc::clone(&held) as Arc<dyn PaymentGateway>,
        carrier: Arc::clone(&held) as Arc<dyn Carrier>,
    };
    let (cx, input) = (order.context(step), order.input(step));
    let late = async {
        match step {
            "payment_processing" => world.call(zombies.payment_processing(), &cx, input).await,
            _ => world.call(zombies.delivery_scheduling(), &cx, input).await,
        }
    };
    let (reported, tables) = tokio::join!(late, async {
        held.stopped.notified().await;
        world.unwind(&order).await;
        let tables = world.tables().await;
        held.go_on.notify_one();
        tables
    });
    assert_eq!(world.tables().await, tables, "the late attempt wrote");
    assert_eq!(world.status("o").await, "FAILED");
    reported
}

fn reason(reported: Result<Value, TaskError>) -> String {
    let error = reported.unwrap_err();
    assert!(error.is_terminal());
    error.reason().to_owned()
}

#[tokio::test]
async fn a_charge_that_arrives_after_the_refund_is_refused() {
    let world = World::new().await;
    let reported = unwound_meanwhile(&world, "payment_processing", Hold::Before).await;
    assert!(reason(reported).contains("is closed"));
    let totals = world.totals("o");
    assert_eq!((totals.charge_calls, totals.charges, totals.closed_keys), (1, 0, 1));
    let payment = world.summary("o").await.unwrap().payment.unwrap();
    assert_eq!((payment.status.as_str(), payment.refunded_minor), ("VOIDED", 0));
}

#[tokio::test]
async fn a_charge_whose_answer_comes_after_the_refund_is_not_written_as_paid() {
    let world = World::new().await;
    let reported = unwound_meanwhile(&world, "payment_processing", Hold::After).await;
    assert!(reason(reported).contains("order o is FAILED"));
    let totals = world.totals("o");
    assert_eq!((totals.charged_minor, totals.refunded_minor), (500, 500));
    let payment = world.summary("o").await.unwrap().payment.unwrap();
    assert_eq!((payment.status.as_str(), payment.refunded_minor), ("REFUNDED", 500));
}

#[tokio::test]
async fn a_booking_that_arrives_after_the_cancellation_is_refused() {
    let world = World::new().await;
    let reported = unwound_meanwhile(&world, "delivery_scheduling", Hold::Before).await;
    assert!(reason(reported).contains("is closed"));
    assert_eq!((world.totals("o").bookings, world.totals("o").closed_keys), (0, 1));
}

#[tokio::test]
async fn a_booking_whose_answer_comes_after_the_cancellation_is_not_written() {
    let world = World::new().await;
    let reported = unwound_meanwhile(&world, "delivery_scheduling", Hold::After).await;
    assert!(reason(reported).contains("order o is FAILED"));
    let totals = world.totals("o");
    assert_eq!((totals.bookings, totals.cancellations), (1, 1));
    let delivery = &world.summary("o").await.unwrap().deliveries[0];
    assert_eq!(delivery.status, "CANCELLED");
}
