//! Pieces that come back after the delivery.

use oms_engine::WorkflowStatus;
use oms_tasks::Error;
use oms_tasks::order::Line;
use oms_tasks::orders::{Cancelled, Orders, PlaceOptions, Returned};
use serde_json::json;

use crate::common::{order, stock, until, with};
use crate::shop::{Shop, stages};
use crate::v2::{happened, open, placed, run, shelf};

fn lines(skus: &[(&str, i32)]) -> Vec<Line> {
    skus.iter()
        .map(|(sku, quantity)| Line { sku: (*sku).to_owned(), quantity: *quantity })
        .collect()
}

/// A delivered order of 4 tea at 250 and 2 cups at 900.
async fn delivered() -> (Shop, Orders) {
    let (shop, orders) = open().await;
    stock(&shop.client, "cup", 5, 900).await;
    let input = with(
        order("o", "tea", 3),
        "/lines",
        json!([{"sku": "tea", "quantity": 3}, {"sku": "cup", "quantity": 2}, {"sku": "tea", "quantity": 1}]),
    );
    let run = run(&shop, &orders, input, &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    (shop, orders)
}

async fn refunded(shop: &Shop, minor: i64) {
    let sql = format!("SELECT refunded_minor = {minor} FROM payment_intents WHERE order_id = 'o'");
    until(&shop.client, &sql).await;
}

#[tokio::test]
async fn pieces_that_come_back_are_on_the_shelf_and_their_price_is_given_back_once() {
    let (shop, orders) = delivered().await;
    assert_eq!((shelf(&shop, "tea").await, shelf(&shop, "cup").await), ((6, 0, 4), (3, 0, 2)));
    let some = lines(&[("tea", 1), ("cup", 1), ("tea", 1)]);
    let answer = orders.return_items("o", "r1", &some).await.unwrap();
    assert_eq!(answer, Returned::Accepted { refund_minor: 1_400 });
    let again = orders.return_items("o", "r1", &some).await.unwrap();
    assert_eq!(again, Returned::Already { refund_minor: 1_400 });
    let other = orders.return_items("o", "r1", &lines(&[("tea", 1)])).await.unwrap_err();
    assert!(matches!(&other, Error::InvalidOrder { .. }), "{other}");
    assert_eq!((shelf(&shop, "tea").await, shelf(&shop, "cup").await), ((8, 0, 2), (4, 0, 1)));
    refunded(&shop, 1_400).await;

    let beyond = orders.return_items("o", "r2", &lines(&[("tea", 3), ("cup", 1)])).await.unwrap();
    assert_eq!(beyond, Returned::Exceeds { skus: vec!["tea".to_owned()] });
    let rest = orders.return_items("o", "r2", &lines(&[("tea", 2), ("cup", 1)])).await.unwrap();
    assert_eq!(rest, Returned::Accepted { refund_minor: 1_400 });
    refunded(&shop, 2_800).await;
    let told = shop.totals("o");
    assert_eq!(
        (told.captured_minor, told.part_refunds, told.part_refunded_minor),
        (2_800, 2, 2_800)
    );
    assert_eq!((shelf(&shop, "tea").await, shelf(&shop, "cup").await), ((10, 0, 0), (5, 0, 0)));
    let nothing = orders.return_items("o", "r3", &lines(&[("tea", 1)])).await.unwrap();
    assert!(matches!(nothing, Returned::NotReturnable { .. }), "{nothing:?}");
    let order = shop.summary("o").await;
    let returns = happened(&order).into_iter().filter(|what| *what == "ITEMS_RETURNED").count();
    assert_eq!((order.status.as_str(), returns), ("COMPLETED", 2));
    let refunds = stages(&order).into_iter().filter(|stage| *stage == "REFUNDED").count();
    assert_eq!(refunds, 2, "each refund has its own message");
    assert_eq!(orders.cancel("o", "late").await.unwrap(), Cancelled::TooLate);
}

#[tokio::test]
async fn a_return_that_is_asked_for_twice_at_once_is_done_once() {
    let (shop, orders) = delivered().await;
    let some = lines(&[("tea", 2)]);
    let (one, two) =
        tokio::join!(orders.return_items("o", "r", &some), orders.return_items("o", "r", &some));
    let mut answers = [one.unwrap(), two.unwrap()];
    answers.sort_by_key(|answer| matches!(answer, Returned::Already { .. }));
    assert_eq!(answers[0], Returned::Accepted { refund_minor: 500 });
    assert_eq!(answers[1], Returned::Already { refund_minor: 500 });
    assert_eq!(shelf(&shop, "tea").await, (8, 0, 2));
    refunded(&shop, 500).await;
    assert_eq!(shop.totals("o").part_refunds, 1);
}

#[tokio::test]
async fn what_comes_back_goes_to_whoever_waits_for_it() {
    let (shop, orders) = delivered().await;
    orders.place(&placed(order("next", "tea", 8)), &PlaceOptions::default()).await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM oms_engine.open_tasks
        WHERE reference_name = 'back_order' AND state = 2)";
    until(&shop.client, waits).await;
    orders.return_items("o", "r", &lines(&[("tea", 2)])).await.unwrap();
    until(&shop.client, "SELECT status = 'COMPLETED' FROM orders WHERE order_id = 'next'").await;
    assert_eq!(shelf(&shop, "tea").await, (0, 0, 10));
}

#[tokio::test]
async fn it_is_told_clearly_when_a_return_is_too_early_or_impossible() {
    let (shop, orders) = open().await;
    let one = lines(&[("tea", 1)]);
    let mut later = PlaceOptions::default();
    later.dispatch_after_seconds = Some(3_600);
    orders.place(&placed(order("o", "tea", 1)), &later).await.unwrap();
    until(&shop.client, "SELECT count(*) = 1 FROM orders WHERE status = 'SCHEDULED'").await;
    let early = orders.return_items("o", "r", &one).await.unwrap();
    assert_eq!(early, Returned::TooEarly { status: "SCHEDULED".to_owned() });
    let declined = with(order("declined", "tea", 1), "/payment/token", "tok_declined");
    run(&shop, &orders, declined, &PlaceOptions::default()).await;
    let never = orders.return_items("declined", "r", &one).await.unwrap();
    assert_eq!(never, Returned::NotReturnable { status: "FAILED".to_owned() });
    let unknown = orders.return_items("nobody's", "r", &one).await.unwrap_err();
    assert!(matches!(unknown, Error::OrderNotFound { .. }), "{unknown}");
    let bad = orders.return_items("o", "", &lines(&[("tea", 0)])).await.unwrap_err();
    assert!(matches!(&bad, Error::InvalidOrder { faults } if faults.len() == 2), "{bad}");
    let none = orders.return_items("o", "r", &[]).await.unwrap_err();
    assert!(matches!(&none, Error::InvalidOrder { faults } if faults.len() == 1), "{none}");
}
