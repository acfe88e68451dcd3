//! Version 2 of `order_fulfilment` under all the harm that the kit knows, with the books and the
//! sandbox's ledger as witnesses. Each order has a delivery from each of two warehouses.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "figures")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../faults/play.rs"]
mod play;
#[path = "../faults/subject.rs"]
mod subject;

use play::{crashes, fails, repeats};
use serde_json::json;
use subject::Order;

const DONE: &str = "an_order_bears_a_crash_at_each_commit";
const UNDONE: &str = "an_order_that_is_undone_bears_a_crash_at_each_commit";

/// Tea is in one warehouse, cups are in the other.
fn order(ends: &'static str, test: &'static str) -> Order {
    let lines = json!([{"sku": "tea", "quantity": 2}, {"sku": "cup", "quantity": 1}]);
    Order::new(2, ends, test).with("/lines", lines)
}

/// The carrier promises the first delivery, and refuses the second.
fn refused(test: &'static str) -> Order {
    order("FAILED", test).with("/ship_to/postal_code", "test_refused_from_north")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_in_each_way() {
    Box::pin(fails(order("COMPLETED", ""), 15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_repeated() {
    Box::pin(repeats(order("COMPLETED", ""), 8)).await;
    Box::pin(repeats(refused(""), 12)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_bears_a_crash_at_each_commit() {
    Box::pin(crashes(|| order("COMPLETED", DONE), 1, 60, &["COMPLETED"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_undone_bears_a_crash_at_each_commit() {
    Box::pin(crashes(|| refused(UNDONE), 1, 80, &["FAILED"])).await;
}

/// The process that is killed is that which cancels, too: its commits are among those that are counted.
/// Killed before its cancellation is committed, the order completes, as any order whose worker is killed
/// does: of those commits the last ones are enough.
async fn cancelled(status: &'static str, first_commit: usize, test: &'static str) {
    let order = || {
        let order = order("COMPLETED", test).cancelled_at(status);
        order.with("/dispatch_after_seconds", 2)
    };
    Box::pin(crashes(order, first_commit, 30, &["CANCELLED", "COMPLETED"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_while_it_is_paid_bears_a_crash_at_each_commit() {
    let test = "a_cancellation_while_it_is_paid_bears_a_crash_at_each_commit";
    cancelled("ACKNOWLEDGED", 1, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_before_its_delivery_bears_a_crash_at_each_commit() {
    let test = "a_cancellation_before_its_delivery_bears_a_crash_at_each_commit";
    cancelled("BOOKED", 12, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_before_its_dispatch_bears_a_crash_at_each_commit() {
    let test = "a_cancellation_before_its_dispatch_bears_a_crash_at_each_commit";
    cancelled("SCHEDULED", 18, test).await;
}
