//! Version 2 of `order_fulfilment` under all the harm that the kit knows, with the books and the
//! sandbox's ledger as witnesses.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "figures")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../faults/play.rs"]
mod play;
#[path = "../faults/subject.rs"]
mod subject;

use play::{crashes, fails, refused, repeats};
use subject::Order;

const DONE: &str = "an_order_bears_a_crash_at_each_commit";
const UNDONE: &str = "an_order_that_is_undone_bears_a_crash_at_each_commit";

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_in_each_way() {
    Box::pin(fails(Order::new(2, "COMPLETED", ""), 15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_repeated() {
    Box::pin(repeats(Order::new(2, "COMPLETED", ""), 8)).await;
    Box::pin(repeats(refused(Order::new(2, "FAILED", "")), 12)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_bears_a_crash_at_each_commit() {
    Box::pin(crashes(|| Order::new(2, "COMPLETED", DONE), 60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_undone_bears_a_crash_at_each_commit() {
    Box::pin(crashes(|| refused(Order::new(2, "FAILED", UNDONE)), 80)).await;
}

/// The process that is killed is that which cancels, too: its commits are among those that are counted.
/// Killed before its cancellation is committed, the order completes.
async fn cancelled(status: &'static str, test: &'static str) {
    let order = || {
        let order = Order::new(2, "COMPLETED", test).cancelled_at(status);
        order.with("/dispatch_after_seconds", 2)
    };
    Box::pin(crashes(order, 30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_while_it_is_paid_bears_a_crash_at_each_commit() {
    let test = "a_cancellation_while_it_is_paid_bears_a_crash_at_each_commit";
    cancelled("ACKNOWLEDGED", test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_before_its_delivery_bears_a_crash_at_each_commit() {
    let test = "a_cancellation_before_its_delivery_bears_a_crash_at_each_commit";
    cancelled("BOOKED", test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_before_its_dispatch_bears_a_crash_at_each_commit() {
    let test = "a_cancellation_before_its_dispatch_bears_a_crash_at_each_commit";
    cancelled("SCHEDULED", test).await;
}
