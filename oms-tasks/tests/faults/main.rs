//! Version 1 of `order_fulfilment` under all the harm that the kit knows, with the books and the
//! sandbox's ledger as witnesses.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "figures")]

#[path = "../common/mod.rs"]
mod common;
mod play;
mod subject;

use play::{crashes, fails, repeats};
use subject::Order;

const DONE: &str = "an_order_bears_a_crash_at_each_commit";
const UNDONE: &str = "an_order_that_is_undone_bears_a_crash_at_each_commit";

fn refused(test: &'static str) -> Order {
    Order::new(1, "FAILED", test).with("/ship_to/postal_code", "test_refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_in_each_way() {
    Box::pin(fails(Order::new(1, "COMPLETED", ""), 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_repeated() {
    Box::pin(repeats(Order::new(1, "COMPLETED", ""), 5)).await;
    Box::pin(repeats(refused(""), 9)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_bears_a_crash_at_each_commit() {
    Box::pin(crashes(|| Order::new(1, "COMPLETED", DONE), 1, 20, &["COMPLETED"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_undone_bears_a_crash_at_each_commit() {
    Box::pin(crashes(|| refused(UNDONE), 1, 40, &["FAILED"])).await;
}
