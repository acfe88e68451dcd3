//! Orders that several warehouses have a share in, on the engine.

use chrono::{DateTime, Utc};
use oms_engine::WorkflowStatus;
use oms_tasks::OrderSummary;
use oms_tasks::order::Line;
use oms_tasks::orders::{Cancelled, Orders, PlaceOptions, Returned};
use oms_tasks::sandbox::Entry;
use oms_tasks::shipping::DeliveryStatus::{Delivered, Dispatched, Failed};
use oms_tasks::shipping::{DeliveryStatus, DeliveryUpdated};
use serde_json::{Value, json};

use crate::common::{order, stock_in, until, with};
use crate::shop::{Shop, stages};
use crate::v2::{assert_ended, assert_undone, happened, open, placed, run};

/// 10 tea in the main warehouse, 5 cups and 3 tea in the north, 4 pots in the south.
async fn open_three() -> (Shop, Orders) {
    let (shop, orders) = open().await;
    for (warehouse, sku, pieces) in [("north", "cup", 5), ("north", "tea", 3), ("south", "pot", 4)]
    {
        stock_in(Some(warehouse), &shop.client, sku, pieces, 250).await;
    }
    (shop, orders)
}

fn wanting(id: &str, lines: &[(&str, i32)]) -> Value {
    let lines: Value =
        lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    with(order(id, "tea", 1), "/lines", lines)
}

/// Of each warehouse that has a share in an order, how its delivery is.
fn deliveries(order: &OrderSummary) -> Vec<(&str, &str)> {
    order.deliveries.iter().map(|one| (&*one.warehouse, &*one.status)).collect()
}

fn numbers(order: &OrderSummary) -> Vec<String> {
    order.deliveries.iter().filter_map(|one| one.tracking_number.clone()).collect()
}

/// On hand, booked and shipped on each shelf of an article, by warehouse.
async fn shelves(shop: &Shop, sku: &str) -> Vec<(String, i64, i64, i64)> {
    let sql = "SELECT warehouse, on_hand, booked, shipped FROM warehouse_stock WHERE sku = $1
               ORDER BY warehouse";
    let rows = shop.client.query(sql, &[&sku]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

fn shelf(warehouse: &str, on_hand: i64, booked: i64, shipped: i64) -> (String, i64, i64, i64) {
    (warehouse.to_owned(), on_hand, booked, shipped)
}

/// An order of which all three have a share, on its way.
async fn on_its_way(shop: &Shop, orders: &Orders) -> OrderSummary {
    let input = wanting("o", &[("tea", 8), ("cup", 2), ("pot", 1)]);
    let run = run(shop, orders, input, &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let order = shop.summary("o").await;
    assert_eq!(run.output["deliveries"].as_array().unwrap().len(), 3);
    assert_eq!(run.output["tracking_number"], json!(numbers(&order)[0]));
    let all = [("main", "SCHEDULED"), ("north", "SCHEDULED"), ("south", "SCHEDULED")];
    assert_eq!(deliveries(&order), all);
    order
}

#[tokio::test]
async fn an_order_that_no_warehouse_has_is_delivered_from_as_few_as_can_be() {
    let (shop, orders) = open_three().await;
    let input = wanting("two", &[("tea", 2), ("cup", 5), ("pot", 4)]);
    let run = run(&shop, &orders, input, &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let order = shop.summary("two").await;
    assert_eq!(deliveries(&order), [("north", "SCHEDULED"), ("south", "SCHEDULED")]);
    assert_eq!(shop.totals("two").bookings, 2);
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 10, 0, 0), shelf("north", 1, 0, 2)]);
    assert_eq!(shelves(&shop, "cup").await, [shelf("north", 0, 0, 5)]);
    for stage in ["SCHEDULED", "DISPATCHED"] {
        assert_eq!(stages(&order).iter().filter(|one| **one == stage).count(), 1, "{stage}");
    }
    assert_ended(&shop).await;
}

/// What a carrier says, of several deliveries at once: none is looked at before all wait for the order's row.
async fn said_at_once(shop: &Shop, orders: &Orders, said: &[(String, DeliveryStatus)]) {
    let mut holder = shop.database.connect().await.unwrap();
    let held = holder.transaction().await.unwrap();
    held.execute("SELECT FROM orders FOR NO KEY UPDATE", &[]).await.unwrap();
    let updates = said.iter().map(|(number, status)| {
        let (orders, number, status) = (orders.clone(), number.clone(), *status);
        let at = DateTime::<Utc>::UNIX_EPOCH;
        tokio::spawn(async move { orders.delivery_update(&number, status, at).await.unwrap() })
    });
    let updates: Vec<_> = updates.collect();
    let wait = format!(
        "SELECT count(*) >= {} FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
        said.len()
    );
    until(&shop.client, &wait).await;
    held.commit().await.unwrap();
    for update in updates {
        assert_eq!(update.await.unwrap(), DeliveryUpdated::Applied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_deliveries_that_arrive_at_once_the_last_is_noticed_and_the_customer_told_once() {
    let (shop, orders) = open_three().await;
    let order = on_its_way(&shop, &orders).await;
    let all = numbers(&order);
    for (first, at_once) in [(0, [1, 2]), (2, [0, 1])] {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        orders.delivery_update(&all[first], Delivered, at).await.unwrap();
        assert!(!stages(&shop.summary("o").await).contains(&"DELIVERED"), "two are on their way");
        said_at_once(&shop, &orders, &at_once.map(|n| (all[n].clone(), Delivered))).await;
        let order = shop.summary("o").await;
        let told = stages(&order).into_iter().filter(|stage| *stage == "DELIVERED").count();
        assert_eq!(told, 1);
        assert!(order.deliveries.iter().all(|one| one.progress.as_deref() == Some("DELIVERED")));
        let reset = "DELETE FROM delivery_updates; UPDATE delivery_schedule SET progress = NULL,
            progress_at = NULL; DELETE FROM notifications WHERE stage LIKE 'DELIVER%'";
        shop.client.batch_execute(reset).await.unwrap();
    }
    let said = [(all[0].clone(), Failed), (all[1].clone(), Delivered), (all[2].clone(), Failed)];
    said_at_once(&shop, &orders, &said).await;
    let order = shop.summary("o").await;
    let told = |stage: &str| stages(&order).into_iter().filter(|one| *one == stage).count();
    assert_eq!((told("DELIVERY_FAILED"), told("DELIVERED")), (1, 0));
}

#[tokio::test]
async fn deliveries_of_one_order_go_on_each_by_itself() {
    let (shop, orders) = open_three().await;
    let all = numbers(&on_its_way(&shop, &orders).await);
    let at = DateTime::<Utc>::UNIX_EPOCH;
    for (number, status) in [(&all[1], Dispatched), (&all[0], Dispatched), (&all[1], Delivered)] {
        let answer = orders.delivery_update(number, status, at).await.unwrap();
        assert_eq!(answer, DeliveryUpdated::Applied, "{status:?}");
    }
    assert_eq!(
        orders.delivery_update(&all[1], Dispatched, at).await.unwrap(),
        DeliveryUpdated::Already
    );
    let order = shop.summary("o").await;
    let progress: Vec<_> = order.deliveries.iter().map(|one| one.progress.as_deref()).collect();
    assert_eq!(progress, [Some("DISPATCHED"), Some("DELIVERED"), None]);
    assert_eq!(order.deliveries[1].updates.len(), 2);
}

#[tokio::test]
async fn a_cancellation_calls_each_delivery_off_in_order_and_puts_pieces_back_where_they_were() {
    let (shop, orders) = open_three().await;
    let mut options = PlaceOptions::default();
    options.dispatch_after_seconds = Some(3_600);
    let input = wanting("o", &[("tea", 11), ("pot", 1)]);
    orders.place(&placed(input), &options).await.unwrap();
    until(&shop.client, "SELECT count(*) = 1 FROM payment_intents WHERE status = 'CAPTURED'").await;
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 10, 10, 0), shelf("north", 3, 1, 0)]);
    let booked = numbers(&shop.summary("o").await);
    assert_eq!(booked.len(), 3);
    assert_eq!(orders.cancel("o", "no").await.unwrap(), Cancelled::Cancelled);
    until(&shop.client, "SELECT status = 'CANCELLED' FROM orders").await;
    let order = assert_undone(&shop, "o", "CANCELLED").await;
    let off = happened(&order).into_iter().filter(|what| *what == "DELIVERY_CANCELLED").count();
    assert_eq!(off, 3);
    let called_off: Vec<String> = shop
        .sandbox
        .ledger()
        .entries()
        .iter()
        .filter_map(|entry| match entry {
            Entry::Cancelled { tracking_number, .. } => Some(tracking_number.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(called_off, booked);
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 10, 0, 0), shelf("north", 3, 0, 0)]);
    assert_eq!(shelves(&shop, "pot").await, [shelf("south", 4, 0, 0)]);
}

#[tokio::test]
async fn an_order_whose_second_delivery_is_refused_is_undone_with_the_first() {
    let (shop, orders) = open_three().await;
    let input = wanting("o", &[("tea", 4), ("pot", 1)]);
    let input = with(input, "/ship_to/postal_code", "test_refused_from_south");
    let run = run(&shop, &orders, input, &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    let order = assert_undone(&shop, "o", "FAILED").await;
    assert_eq!(deliveries(&order), [("main", "CANCELLED"), ("south", "REFUSED")]);
    let told = shop.totals("o");
    assert_eq!((told.bookings, told.cancellations), (1, 1));
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 10, 0, 0), shelf("north", 3, 0, 0)]);
    assert_ended(&shop).await;
}

#[tokio::test]
async fn pieces_that_come_back_are_where_they_came_from() {
    let (shop, orders) = open_three().await;
    let input = wanting("o", &[("tea", 12), ("pot", 2)]);
    let run = run(&shop, &orders, input, &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 0, 0, 10), shelf("north", 1, 0, 2)]);
    let back = async |id: &str, lines: &[(&str, i32)]| {
        let line =
            |(sku, quantity): &(&str, i32)| Line { sku: (*sku).to_owned(), quantity: *quantity };
        let lines: Vec<Line> = lines.iter().map(line).collect();
        orders.return_items("o", id, &lines).await.unwrap()
    };
    let answer = back("r1", &[("tea", 3), ("pot", 1)]).await;
    assert_eq!(answer, Returned::Accepted { refund_minor: 1_000 });
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 3, 0, 7), shelf("north", 1, 0, 2)]);
    assert_eq!(shelves(&shop, "pot").await, [shelf("south", 3, 0, 1)]);
    let answer = back("r2", &[("tea", 8)]).await;
    assert_eq!(answer, Returned::Accepted { refund_minor: 2_000 });
    assert_eq!(shelves(&shop, "tea").await, [shelf("main", 10, 0, 0), shelf("north", 2, 0, 1)]);
    let beyond = back("r3", &[("tea", 2)]).await;
    assert_eq!(beyond, Returned::Exceeds { skus: vec!["tea".to_owned()] });
    assert!(matches!(back("r4", &[("tea", 1), ("pot", 1)]).await, Returned::Accepted { .. }));
    let order = shop.summary("o").await;
    let pieces = order.reservation.unwrap().pieces;
    assert!(pieces.iter().all(|one| one.returned == one.quantity), "{pieces:?}");
}
