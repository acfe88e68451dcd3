//! Customers who cancel.

use oms_engine::WorkflowStatus;
use oms_tasks::orders::{Cancelled, PlaceOptions};
use oms_tasks::stock::restock_and_serve;
use oms_tasks::{Error, OrderSummary, Restock};

use crate::common::{order, until, wait, with};
use crate::shop::Shop;
use crate::v2::{assert_ended, assert_undone, happened, open, placed, run, shelf};

/// Waits until what undoes a cancelled order has ended.
async fn cancelled(shop: &Shop, id: &str) -> OrderSummary {
    let sql = format!("SELECT status = 'CANCELLED' FROM orders WHERE order_id = '{id}'");
    until(&shop.client, &sql).await;
    let ended = "SELECT NOT EXISTS (SELECT FROM oms_engine.workflows WHERE status IN (0, 1)
        AND name <> 'reservation_expiry')";
    until(&shop.client, ended).await;
    assert_undone(shop, id, "CANCELLED").await
}

#[tokio::test]
async fn an_order_is_cancelled_before_its_dispatch_and_everything_is_undone_in_order() {
    let (shop, orders) = open().await;
    let mut options = PlaceOptions::default();
    options.dispatch_after_seconds = Some(3_600);
    orders.place(&placed(order("o", "tea", 2)), &options).await.unwrap();
    until(&shop.client, "SELECT count(*) = 1 FROM payment_intents WHERE status = 'CAPTURED'").await;
    assert_eq!(shelf(&shop, "tea").await, (10, 2, 0));
    assert_eq!(orders.cancel("o", "too expensive").await.unwrap(), Cancelled::Cancelled);
    assert_eq!(orders.cancel("o", "again").await.unwrap(), Cancelled::Already);
    let order = cancelled(&shop, "o").await;
    assert_eq!(order.failure_reason.as_deref(), Some("too expensive"));
    let happened = happened(&order);
    let undone = [
        "CANCELLATION_ASKED_FOR",
        "DELIVERY_CANCELLED",
        "STOCK_RELEASED",
        "PART_REFUNDED",
        "PAYMENT_REFUNDED",
        "CANCELLED",
    ];
    assert!(happened.ends_with(&undone), "{happened:?}");
    let told = shop.totals("o");
    assert_eq!((told.captured_minor, told.part_refunded_minor), (500, 500));
    assert_eq!(shelf(&shop, "tea").await, (10, 0, 0));
    assert_eq!(orders.cancel("o", "again").await.unwrap(), Cancelled::Already);
    assert_eq!(shop.totals("o"), told);
}

#[tokio::test]
async fn an_order_that_waits_is_cancelled_and_its_hold_on_the_card_given_up() {
    let (shop, orders) = open().await;
    orders.place(&placed(order("o", "tea", 99)), &PlaceOptions::default()).await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM oms_engine.open_tasks
        WHERE reference_name = 'back_order' AND state = 2)
        AND EXISTS (SELECT FROM payment_intents WHERE status = 'AUTHORISED')";
    until(&shop.client, waits).await;
    assert_eq!(orders.cancel("o", "takes too long").await.unwrap(), Cancelled::Cancelled);
    let order = cancelled(&shop, "o").await;
    assert_eq!(order.authorisation.unwrap().status, "VOIDED");
    // Pieces that come now are nobody's.
    let goods = [Restock {
        sku: "tea",
        name: "tea",
        pieces: 99,
        price_minor: 250,
        currency: "EUR",
        warehouse: None,
    }];
    let mut client = shop.database.connect().await.unwrap();
    let served = restock_and_serve(&shop.engine, &mut client, &goods).await.unwrap();
    assert_eq!(served.woken.len(), 0);
}

#[tokio::test]
async fn it_is_told_clearly_when_a_cancellation_is_too_late_or_for_nothing() {
    let (shop, orders) = open().await;
    run(&shop, &orders, order("o", "tea", 1), &PlaceOptions::default()).await;
    let before = (shop.summary("o").await, shop.totals("o"));
    assert_eq!(orders.cancel("o", "late").await.unwrap(), Cancelled::TooLate);
    assert_eq!((shop.summary("o").await, shop.totals("o")), before);
    let declined = with(order("declined", "tea", 1), "/payment/token", "tok_declined");
    run(&shop, &orders, declined, &PlaceOptions::default()).await;
    assert_eq!(orders.cancel("declined", "late").await.unwrap(), Cancelled::Failed);
    let unknown = orders.cancel("nobody's", "why").await.unwrap_err();
    assert!(matches!(unknown, Error::OrderNotFound { .. }), "{unknown}");
    assert_ended(&shop).await;
}

/// The process dies between the commit that closes an order and the end of its run.
#[tokio::test]
async fn a_cancelled_order_whose_run_was_not_told_is_undone_all_the_same() {
    let (shop, orders) = open().await;
    let mut options = PlaceOptions::default();
    options.dispatch_after_seconds = Some(3);
    let placed = orders.place(&placed(order("o", "tea", 2)), &options).await.unwrap();
    until(&shop.client, "SELECT count(*) = 1 FROM payment_intents WHERE status = 'CAPTURED'").await;
    let sql =
        "UPDATE orders SET status = 'UNWINDING', cancelled_at = now(), failure_reason = 'mine'";
    shop.client.batch_execute(sql).await.unwrap();
    // The dispatch is refused, and the run undoes itself.
    let run = wait(&shop.engine, placed.workflow_id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    wait(&shop.engine, run.failure_workflow_id.unwrap()).await;
    assert_undone(&shop, "o", "CANCELLED").await;
    assert_eq!(shelf(&shop, "tea").await, (10, 0, 0));
}
