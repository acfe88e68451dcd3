//! Orders that are to be delivered between two days, in both versions.

use chrono::{Days, NaiveDate};
use oms_engine::{StartRequest, WorkflowStatus};
use oms_tasks::Error;
use oms_tasks::order::DeliveryWindow;
use oms_tasks::orders::PlaceOptions;
use serde_json::{Value, json};

use crate::common::{order, wait, with};
use crate::shop::Shop;
use crate::v2::{assert_undone, open, placed, run, shelf};

/// From so many days after today to so many; today is the database's, by UTC.
async fn window(shop: &Shop, from: u64, to: u64) -> DeliveryWindow {
    let sql = "SELECT (now() AT TIME ZONE 'UTC')::date";
    let today: NaiveDate = shop.client.query_one(sql, &[]).await.unwrap().get(0);
    DeliveryWindow { from: today + Days::new(from), to: today + Days::new(to) }
}

fn within(id: &str, window: DeliveryWindow, postal_code: &str) -> Value {
    let mut input = with(order(id, "tea", 2), "/ship_to/postal_code", postal_code);
    input["delivery_window"] = json!(window);
    input
}

#[tokio::test]
async fn a_delivery_is_scheduled_within_the_window_in_both_versions() {
    let (shop, orders) = open().await;
    // The sandbox's carrier needs two days.
    let windows = [window(&shop, 9, 9).await, window(&shop, 0, 2).await];
    for (n, window) in windows.into_iter().enumerate() {
        let (one, two) = (format!("one{n}"), format!("two{n}"));
        let input = within(&one, window, "53111");
        let request = StartRequest::new("order_fulfilment").version(1).input(input);
        let id = shop.engine.start(request).await.unwrap().id;
        let v1 = wait(&shop.engine, id).await;
        let v2 = run(&shop, &orders, within(&two, window, "53111"), &PlaceOptions::default()).await;
        for (run, id) in [(v1, one), (v2, two)] {
            assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
            let order = orders.status(&id).await.unwrap().unwrap();
            assert_eq!(order.delivery_window, Some(window));
            let day = order.deliveries[0].delivery_date.unwrap();
            assert_eq!(day, if n == 0 { window.from } else { window.to });
        }
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_delivered_in_time_is_told_so_and_undone() {
    let (shop, orders) = open().await;
    let (soon, late) = (window(&shop, 0, 1).await, window(&shop, 7, 8).await);
    for (id, window, place, wanted) in [
        ("none", soon, "53111", "delivery refused: no_slot_in_window".to_owned()),
        ("other", late, "test_elsewhen", format!("not from {} to {}", late.from, late.to)),
    ] {
        let run = run(&shop, &orders, within(id, window, place), &PlaceOptions::default()).await;
        assert_eq!(run.status, WorkflowStatus::Failed);
        let order = assert_undone(&shop, id, "FAILED").await;
        let reason = order.failure_reason.unwrap();
        assert!(reason.contains(&wanted), "{reason}");
        assert_eq!(shelf(&shop, "tea").await, (10, 0, 0));
        let told = shop.totals(id);
        assert_eq!((told.bookings, told.cancellations), if id == "none" { (0, 0) } else { (1, 1) });
    }
    let input = within("one", late, "test_elsewhen");
    let request = StartRequest::new("order_fulfilment").version(1).input(input);
    let failed = wait(&shop.engine, shop.engine.start(request).await.unwrap().id).await;
    wait(&shop.engine, failed.failure_workflow_id.unwrap()).await;
    assert_eq!(orders.status("one").await.unwrap().unwrap().status, "FAILED");
    let told = shop.totals("one");
    assert_eq!((told.charged_minor, told.refunded_minor), (500, 500));
    assert_eq!((told.bookings, told.cancellations), (1, 1));
}

#[tokio::test]
async fn a_window_that_is_no_window_or_over_is_refused_and_an_order_that_is_there_is_found() {
    let (shop, orders) = open().await;
    let good = window(&shop, 1, 5).await;
    let over = DeliveryWindow { from: good.from - Days::new(9), to: good.from - Days::new(2) };
    let turned = DeliveryWindow { from: good.to, to: good.from };
    let options = PlaceOptions::default();
    for (window, fault) in [(over, "is past"), (turned, "not before")] {
        let refused =
            orders.place(&placed(within("o", window, "53111")), &options).await.unwrap_err();
        let Error::InvalidOrder { faults } = &refused else { panic!("{refused}") };
        assert!(faults[0].starts_with("$.delivery_window.to: ") && faults[0].contains(fault));
        // Started without the façade it is refused by the first step.
        for version in [1, 2] {
            let input = within(&format!("{fault}{version}"), window, "53111");
            let request = StartRequest::new("order_fulfilment").version(version).input(input);
            let run = wait(&shop.engine, shop.engine.start(request).await.unwrap().id).await;
            let reason = run.reason_for_incompletion.unwrap();
            assert!(reason.contains(fault) && reason.contains("$.delivery_window.to"), "{reason}");
        }
    }
    // As the façade does it, when the window was not over yet.
    let mut input = within("there", over, "53111");
    input["when_short"] = json!("back_order");
    let request = StartRequest::new("order_fulfilment").version(2).input(input);
    let request = request.correlation_id("there").idempotency_key("there");
    let run = wait(&shop.engine, shop.engine.start(request).await.unwrap().id).await;
    wait(&shop.engine, run.failure_workflow_id.unwrap()).await;
    let again = orders.place(&placed(within("there", over, "53111")), &options).await.unwrap();
    assert!(again.existed, "an order that is there is found, though its window is over by now");
}
