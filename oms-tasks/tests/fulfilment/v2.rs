//! Version 2 of `order_fulfilment` on the engine, by the façade of a shop.

use std::time::{Duration, Instant};

use oms_engine::{Execution, StartRequest, WorkflowId, WorkflowStatus};
use oms_tasks::fulfilment::FulfilmentOptions;
use oms_tasks::order::Order;
use oms_tasks::orders::{Cancelled, ListFilter, Orders, PlaceOptions};
use oms_tasks::payment::CaptureAt;
use oms_tasks::stock::{WhenShort, restock_and_serve};
use oms_tasks::{Error, OrderSummary, Restock, definitions};
use serde_json::{Value, json};

use crate::common::{order, until, wait, with};
use crate::shop::{Shop, stages};

pub(crate) async fn open() -> (Shop, Orders) {
    open_with(FulfilmentOptions::default()).await
}

async fn open_with(options: FulfilmentOptions) -> (Shop, Orders) {
    let shop = Shop::open_with(|_, tasks, builder| tasks.register_v2(builder, &options)).await;
    let tasks = definitions::v2::task_definitions().unwrap();
    let workflows = definitions::v2::workflow_definitions().unwrap();
    let registered = shop.engine.register(&tasks, &workflows).await.unwrap();
    // The delivery is the last step: once it has completed, the order has left the house.
    let noticed: Vec<&str> = registered.notices.iter().map(|notice| &*notice.path).collect();
    assert_eq!(noticed, ["$.tasks[4]"], "{:?}", registered.notices);
    let orders = Orders::new(shop.engine.clone(), shop.tasks.pool.clone());
    (shop, orders)
}

pub(crate) fn placed(input: Value) -> Order {
    serde_json::from_value(input).unwrap()
}

/// Places the order; gives its run at its end, and of a failed one the end of what undid it.
pub(crate) async fn run(
    shop: &Shop,
    orders: &Orders,
    input: Value,
    options: &PlaceOptions,
) -> Execution {
    let placed = orders.place(&placed(input), options).await.unwrap();
    let run = wait(&shop.engine, placed.workflow_id).await;
    if let Some(closing) = run.failure_workflow_id {
        let closing = wait(&shop.engine, closing).await;
        assert_eq!(
            closing.status,
            WorkflowStatus::Completed,
            "{:?}",
            closing.reason_for_incompletion
        );
    }
    run
}

pub(crate) fn happened(order: &OrderSummary) -> Vec<&str> {
    order.history.iter().map(|event| event.what.as_str()).collect()
}

/// Pieces on hand, booked and shipped, of all warehouses.
pub(crate) async fn shelf(shop: &Shop, sku: &str) -> (i64, i64, i64) {
    let sql = "SELECT sum(on_hand)::bigint, sum(booked)::bigint, sum(shipped)::bigint
               FROM warehouse_stock WHERE sku = $1";
    let row = shop.client.query_one(sql, &[&sku]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// Every run has ended but the timers of reservations, and nothing of any is left over.
pub(crate) async fn assert_ended(shop: &Shop) {
    let sql = "SELECT reason FROM oms_engine.stuck_workflows
        UNION ALL SELECT name FROM oms_engine.workflows
        WHERE status IN (0, 1) AND name <> 'reservation_expiry'";
    let rows = shop.client.query(sql, &[]).await.unwrap();
    let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What must hold of an order of which nothing stands any more, by the tables and by the ledger.
pub(crate) async fn assert_undone(shop: &Shop, id: &str, status: &str) -> OrderSummary {
    let order = shop.summary(id).await;
    assert_eq!(order.status, status, "{:?}", order.failure_reason);
    let told = shop.totals(id);
    assert_eq!(told.captured_minor, told.part_refunded_minor, "{told:?}");
    assert_eq!(told.authorisations, told.captures + told.voids, "{told:?}");
    assert_eq!(told.bookings, told.cancellations, "{told:?}");
    if let Some(payment) = &order.authorisation {
        assert!(["DECLINED", "VOIDED", "REFUNDED"].contains(&&*payment.status), "{payment:?}");
    }
    if let Some(reservation) = &order.reservation {
        assert_eq!(reservation.status, "RELEASED");
    }
    for delivery in &order.deliveries {
        assert!(["REFUSED", "CANCELLED"].contains(&&*delivery.status), "{delivery:?}");
    }
    let ends = order.notifications.iter().filter(|note| note.stage == status).count();
    assert_eq!((ends, stages(&order).contains(&"DISPATCHED")), (1, false));
    order
}

#[tokio::test]
async fn an_order_is_paid_and_reserved_side_by_side_then_delivered() {
    let (shop, orders) = open().await;
    let run = run(&shop, &orders, order("o", "tea", 2), &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    assert_eq!(run.workflow_version, 2);
    assert_eq!(run.output["order_status"], "COMPLETED");
    let order = orders.status("o").await.unwrap().unwrap();
    assert_eq!(order.status, "COMPLETED");
    assert_eq!(run.output["tracking_number"], json!(order.deliveries[0].tracking_number));
    let mut happened = happened(&order);
    assert_eq!(happened[0], "ACKNOWLEDGED");
    assert_eq!(happened[3..5], ["DELIVERY_SCHEDULED", "PAYMENT_CAPTURED"]);
    happened.sort_unstable();
    let all = [
        "ACKNOWLEDGED",
        "COMPLETED",
        "DELIVERY_SCHEDULED",
        "PAYMENT_AUTHORISED",
        "PAYMENT_CAPTURED",
        "STOCK_RESERVED",
        "STOCK_SHIPPED",
    ];
    assert_eq!(happened, all);
    let mut stages = stages(&order);
    stages.sort_unstable();
    assert_eq!(stages, ["ACKNOWLEDGED", "BOOKED", "DISPATCHED", "PAID", "SCHEDULED"]);
    let told = shop.totals("o");
    assert_eq!((told.authorisations, told.captures, told.captured_minor), (1, 1, 500));
    assert_eq!((told.charges, told.bookings, told.part_refunds), (0, 1, 0));
    assert_eq!(shelf(&shop, "tea").await, (8, 0, 2));
    assert_ended(&shop).await;
}

#[tokio::test]
async fn the_money_is_taken_at_payment_where_that_is_configured() {
    let mut options = FulfilmentOptions::default();
    options.capture_at = CaptureAt::Payment;
    let (shop, orders) = open_with(options).await;
    let run = run(&shop, &orders, order("o", "tea", 1), &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let order = orders.status("o").await.unwrap().unwrap();
    let payment = order.authorisation.unwrap();
    assert!(payment.captured_at < order.deliveries[0].scheduled_at);
    assert_eq!(shop.totals("o").captures, 1);
}

#[tokio::test]
async fn whichever_step_fails_for_good_all_is_undone_and_the_customer_told_once() {
    let (shop, orders) = open().await;
    let refuse = {
        let mut options = PlaceOptions::default();
        options.when_short = WhenShort::Refuse;
        options
    };
    for (id, input, reason) in [
        ("sku", order("sku", "cocoa", 1), "unknown sku cocoa"),
        (
            "card",
            with(order("card", "tea", 2), "/payment/token", "tok_declined"),
            "payment declined: card_declined",
        ),
        ("short", order("short", "tea", 11), "out of stock: tea"),
        (
            "carrier",
            with(order("carrier", "tea", 2), "/ship_to/postal_code", "test_refused"),
            "delivery refused: address_not_served",
        ),
        (
            "capture",
            with(order("capture", "tea", 2), "/payment/token", "tok_capture_refused"),
            "capture refused",
        ),
    ] {
        let run = run(&shop, &orders, input, &refuse).await;
        assert_eq!(run.status, WorkflowStatus::Failed, "{id}");
        let told = run.reason_for_incompletion.unwrap();
        assert!(told.contains(reason), "{id}: {told}");
        let order = assert_undone(&shop, id, "FAILED").await;
        assert!(order.failure_reason.unwrap().contains(reason), "{id}");
        assert_eq!(shelf(&shop, "tea").await, (10, 0, 0), "{id}");
    }
    assert_ended(&shop).await;
}

#[tokio::test]
async fn calls_that_fail_or_are_not_answered_are_made_again_and_done_once() {
    let (shop, orders) = open().await;
    let mut ids = Vec::new();
    for (n, token) in ["tok_fail_once", "tok_timeout_after_charge", "tok_capture_timeout_after"]
        .iter()
        .enumerate()
    {
        let id = format!("o{n}");
        let input = with(order(&id, "tea", 1), "/payment/token", *token);
        let input = with(input, "/ship_to/postal_code", "test_timeout_after_booking");
        let placed = orders.place(&placed(input), &PlaceOptions::default()).await.unwrap();
        ids.push((id, placed.workflow_id));
    }
    for (id, run) in ids {
        let run = wait(&shop.engine, run).await;
        assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
        let told = shop.totals(&id);
        assert_eq!((told.authorisations, told.captures, told.bookings), (1, 1, 1), "{id}");
    }
    assert_eq!(shelf(&shop, "tea").await, (7, 0, 3));
}

#[tokio::test]
async fn an_order_that_waits_for_pieces_goes_on_as_soon_as_they_come() {
    let (shop, orders) = open().await;
    let placed = orders.place(&placed(order("o", "tea", 12)), &PlaceOptions::default()).await;
    let placed = placed.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM oms_engine.open_tasks
        WHERE reference_name = 'back_order' AND state = 2)";
    until(&shop.client, waits).await;
    assert_eq!(shop.summary("o").await.reservation.unwrap().status, "BACKORDERED");
    let begun = Instant::now();
    let goods = [Restock {
        sku: "tea",
        name: "tea",
        pieces: 5,
        price_minor: 250,
        currency: "EUR",
        warehouse: None,
    }];
    let mut client = shop.database.connect().await.unwrap();
    let served = restock_and_serve(&shop.engine, &mut client, &goods).await.unwrap();
    assert_eq!(served.woken.len(), 1);
    let run = wait(&shop.engine, placed.workflow_id).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    // By itself it looks once a minute.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let order = shop.summary("o").await;
    assert!(happened(&order).contains(&"BACKORDERED"));
    assert!(stages(&order).contains(&"BACKORDERED"));
    assert_eq!(shelf(&shop, "tea").await, (3, 0, 12));
}

#[tokio::test]
async fn a_reservation_that_nobody_confirms_goes_back_to_the_shelf_by_a_durable_timer() {
    let (shop, _) = open().await;
    let sql = "INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email,
            ship_to, currency, total_minor, acknowledged_at)
        VALUES ('o', gen_random_uuid(), 'ACKNOWLEDGED', 'Ada', 'ada@example.com', '{}', 'EUR', 500, now());
        INSERT INTO stock_reservations (order_id, status, reserved_at, hold_seconds, expires_at)
        VALUES ('o', 'RESERVED', now(), 2, now() + interval '2 s');
        INSERT INTO reservation_lines VALUES ('o', 'tea', 3);
        INSERT INTO reservation_pieces VALUES ('o', 'tea', 'main', 3);
        UPDATE warehouse_stock SET booked = 3 WHERE sku = 'tea'";
    shop.client.batch_execute(sql).await.unwrap();
    let request = StartRequest::new("reservation_expiry").input(json!({"order_id": "o"}));
    let id = shop.engine.start(request).await.unwrap().id;
    let run = wait(&shop.engine, id).await;
    assert_eq!((run.status, &run.output["expired"]), (WorkflowStatus::Completed, &json!(true)));
    assert_eq!(shelf(&shop, "tea").await, (10, 0, 0));
    assert_eq!(shop.summary("o").await.reservation.unwrap().status, "EXPIRED");
}

#[tokio::test]
async fn orders_are_placed_once_refused_with_all_faults_and_listed_in_pages() {
    let (shop, orders) = open().await;
    let options = PlaceOptions::default();
    let first = orders.place(&placed(order("a", "tea", 1)), &options).await.unwrap();
    let again = orders.place(&placed(order("a", "tea", 1)), &options).await.unwrap();
    assert_eq!((again.workflow_id, again.existed), (first.workflow_id, true));
    let bad = with(order("bad", "tea", 0), "/currency", "Taler");
    let refused = orders.place(&placed(bad), &options).await.unwrap_err();
    assert!(matches!(&refused, Error::InvalidOrder { faults } if faults.len() == 2), "{refused}");
    for id in ["b", "c"] {
        let input = with(order(id, "tea", 1), "/customer/email", "bob@example.com");
        run(&shop, &orders, input, &options).await;
    }
    wait(&shop.engine, first.workflow_id).await;
    let ids = async |filter: ListFilter| -> Vec<String> {
        orders.list(&filter).await.unwrap().into_iter().map(|order| order.order_id).collect()
    };
    let mut filter = ListFilter::default();
    filter.limit = 2;
    assert_eq!(ids(filter.clone()).await, ["a", "b"]);
    filter.after = Some("b".to_owned());
    assert_eq!(ids(filter.clone()).await, ["c"]);
    filter = ListFilter::default();
    filter.customer_email = Some("bob@example.com".to_owned());
    assert_eq!(ids(filter.clone()).await, ["b", "c"]);
    filter.status = Some("FAILED".to_owned());
    assert!(ids(filter).await.is_empty());
    assert!(orders.status("bad").await.unwrap().is_none());
}

#[tokio::test]
async fn a_second_run_of_an_order_leaves_the_first_one_s_alone() {
    let (shop, orders) = open().await;
    run(&shop, &orders, order("o", "tea", 2), &PlaceOptions::default()).await;
    let before = (shop.summary("o").await, shop.totals("o"));
    let request = StartRequest::new("order_fulfilment").version(2).input(order("o", "tea", 2));
    let second = wait(&shop.engine, shop.engine.start(request).await.unwrap().id).await;
    assert_eq!(second.status, WorkflowStatus::Failed);
    let closing = wait(&shop.engine, second.failure_workflow_id.unwrap()).await;
    assert_eq!(closing.status, WorkflowStatus::Completed);
    assert_eq!((shop.summary("o").await, shop.totals("o")), before);
}

#[tokio::test]
async fn a_run_of_version_one_ends_as_such_and_can_be_cancelled() {
    let (shop, orders) = open().await;
    let start = async |id: &str, place: &str| -> WorkflowId {
        let input = with(order(id, "tea", 1), "/ship_to/postal_code", place);
        let request = StartRequest::new("order_fulfilment").version(1).input(input);
        shop.engine.start(request).await.unwrap().id
    };
    let run = wait(&shop.engine, start("one", "53111").await).await;
    assert_eq!((run.status, run.workflow_version), (WorkflowStatus::Completed, 1));
    assert_eq!(shop.summary("one").await.status, "COMPLETED");
    // The carrier does not answer, so that the order is on its way for a while.
    start("two", "test_timeout_after_booking").await;
    until(&shop.client, "SELECT count(*) = 1 FROM delivery_schedule WHERE status = 'PENDING'")
        .await;
    assert_eq!(orders.cancel("two", "no").await.unwrap(), Cancelled::Cancelled);
    until(&shop.client, "SELECT status = 'CANCELLED' FROM orders WHERE order_id = 'two'").await;
    let told = shop.totals("two");
    assert_eq!((told.charged_minor, told.refunded_minor), (250, 250));
    assert_eq!(told.bookings, told.cancellations);
    assert_eq!(shelf(&shop, "tea").await, (10, 1, 0));
}
