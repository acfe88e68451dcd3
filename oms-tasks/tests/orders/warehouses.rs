//! Orders whose pieces come from several warehouses, task by task.

use std::time::Duration;

use oms_engine::testkit::TestDatabase;
use serde_json::{Value, json};

use crate::batches::without_chance;
use crate::reservations::{assert_booked, engine, order, restock_in, step};
use crate::world::{Placed, World};

/// 10 tea and 5 cups in the main one, 2 tea and 9 cups in the north, 6 pots and 3 tea in the south.
async fn world() -> World {
    let world = World::new().await;
    for (warehouse, sku, pieces, price) in [
        ("north", "tea", 2, 250),
        ("north", "cup", 9, 900),
        ("south", "pot", 6, 1_100),
        ("south", "tea", 3, 250),
    ] {
        world.restock_in(Some(warehouse), sku, pieces, price).await;
    }
    world
}

/// Where the pieces of an order come from.
async fn pieces(world: &World, id: &str) -> Vec<(String, String, i64)> {
    let reservation = world.summary(id).await.unwrap().reservation.unwrap();
    reservation.pieces.into_iter().map(|one| (one.sku, one.warehouse, one.quantity)).collect()
}

fn from(all: &[(&str, &str, i64)]) -> Vec<(String, String, i64)> {
    all.iter().map(|(sku, from, n)| ((*sku).to_owned(), (*from).to_owned(), *n)).collect()
}

/// On hand, booked and shipped on one shelf.
async fn shelf(world: &World, sku: &str, warehouse: &str) -> (i64, i64, i64) {
    let sql =
        "SELECT on_hand, booked, shipped FROM warehouse_stock WHERE sku = $1 AND warehouse = $2";
    let row = world.client().await.query_one(sql, &[&sku, &warehouse]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

async fn reserve(world: &World, order: &Placed) -> String {
    let told = step(world, order, "stock_reservation", json!({})).await.unwrap();
    told["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_order_comes_from_one_warehouse_that_has_all_lines_and_else_from_as_few_as_can_be() {
    let world = world().await;
    // Both the main one and the south have tea, only the south pots too.
    let one = order(&world, "one", &[("tea", 3), ("pot", 1)]).await;
    assert_eq!(reserve(&world, &one).await, "RESERVED");
    assert_eq!(pieces(&world, "one").await, from(&[("pot", "south", 1), ("tea", "south", 3)]));
    // 8 cups are in the north, pots in the south: nobody else is asked, though 2 tea are in the main one.
    let two = order(&world, "two", &[("tea", 2), ("cup", 8), ("pot", 2)]).await;
    assert_eq!(reserve(&world, &two).await, "RESERVED");
    let wanted = from(&[("cup", "north", 8), ("pot", "south", 2), ("tea", "north", 2)]);
    assert_eq!(pieces(&world, "two").await, wanted);
    // Nobody has 6 cups any more: the fullest shelf gives first.
    let split = order(&world, "split", &[("cup", 6)]).await;
    assert_eq!(reserve(&world, &split).await, "RESERVED");
    assert_eq!(pieces(&world, "split").await, from(&[("cup", "main", 5), ("cup", "north", 1)]));
    let none = order(&world, "none", &[("cup", 1)]).await;
    assert_eq!(reserve(&world, &none).await, "BACKORDERED");
    assert_eq!(pieces(&world, "none").await, []);
    assert_booked(&world).await;
}

#[tokio::test]
async fn pieces_go_back_to_the_shelves_that_they_came_from_and_to_those_who_wait() {
    let world = world().await;
    let engine = engine(&world).await;
    let first = order(&world, "first", &[("cup", 12)]).await;
    step(&world, &first, "stock_reservation", json!({"hold_seconds": 600})).await.unwrap();
    assert_eq!(pieces(&world, "first").await, from(&[("cup", "main", 3), ("cup", "north", 9)]));
    let waits = order(&world, "waits", &[("cup", 4), ("pot", 1)]).await;
    assert_eq!(reserve(&world, &waits).await, "BACKORDERED");
    // A warehouse that had none: one house for each article then.
    let served = restock_in(Some("east"), &world, &engine, "cup", 4).await;
    assert_eq!(served.woken.len(), 1);
    assert_eq!(pieces(&world, "waits").await, from(&[("cup", "east", 4), ("pot", "south", 1)]));
    let late = "UPDATE stock_reservations SET expires_at = now() - interval '1 s' WHERE order_id = 'first'";
    world.client().await.execute(late, &[]).await.unwrap();
    let expired = step(&world, &first, "reservation_expiry", json!({})).await.unwrap();
    assert_eq!(expired["expired"], true);
    assert_eq!(pieces(&world, "first").await, []);
    assert_eq!(shelf(&world, "cup", "main").await, (5, 0, 0));
    assert_eq!(shelf(&world, "cup", "north").await, (9, 0, 0));
    // What was free has changed meanwhile, and the choice with it.
    world.restock_in(Some("south"), "cup", 12, 900).await;
    step(&world, &first, "reservation_confirmation", json!({})).await.unwrap();
    assert_eq!(pieces(&world, "first").await, from(&[("cup", "south", 12)]));
    step(&world, &first, "stock_dispatch", json!({})).await.unwrap();
    assert_eq!(shelf(&world, "cup", "south").await, (0, 0, 12));
    step(&world, &waits, "reservation_release", json!({})).await.unwrap();
    assert_eq!(shelf(&world, "cup", "east").await, (4, 0, 0));
    assert_booked(&world).await;
    engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_batch_chooses_and_has_wait_as_its_orders_do_one_by_one() {
    let (one_by_one, at_once) = (world().await, world().await);
    let wants: [&[(&str, i32)]; 5] = [
        &[("tea", 12), ("cup", 1)],
        &[("cup", 12)],
        &[("tea", 1), ("pot", 2)],
        &[("cup", 2), ("pot", 9)],
        &[("tea", 2), ("cup", 1), ("pot", 1)],
    ];
    let orders: Vec<Placed> = wants
        .iter()
        .enumerate()
        // Those who are asked for first have the last names.
        .map(|(n, lines)| Placed::new(&format!("o{}", 9 - n)).with("/lines", crate::batches::lines(lines)))
        .collect();
    for world in [&one_by_one, &at_once] {
        for order in &orders {
            world.take(order, 1).await;
        }
    }
    let mut answers: Vec<Value> = Vec::new();
    for order in &orders {
        answers.push(step(&one_by_one, order, "stock_reservation", json!({})).await.unwrap());
    }
    let tasks: Vec<_> = orders
        .iter()
        .map(|order| (order.context("stock_reservation"), json!({"order_id": order.id()})))
        .collect();
    for again in ["first", "again"] {
        let told = at_once.transact_all(at_once.tasks.stock_reservation(), tasks.clone()).await;
        let told: Vec<Value> = told.into_iter().map(Result::unwrap).collect();
        assert_eq!(told, answers, "{again}");
    }
    let waiting = answers.iter().filter(|told| told["status"] == "BACKORDERED").count();
    assert_eq!(waiting, 1, "{answers:?}");
    let (mut here, mut there) = (one_by_one.tables().await, at_once.tables().await);
    for tables in [&mut here, &mut there] {
        without_chance(tables);
    }
    assert_eq!(here, there);
}

/// An order of version 2 that is booked: tea from the south with a pot, cups from the north.
async fn booked(world: &World, postal_code: &str) -> Placed {
    let lines = json!([{"sku": "cup", "quantity": 8}, {"sku": "pot", "quantity": 2}]);
    let order =
        Placed::new("o").with("/lines", lines).with("/ship_to/postal_code", json!(postal_code));
    world.take(&order, 1).await;
    let booked = "UPDATE orders SET status = 'BOOKED'";
    step(world, &order, "reservation_confirmation", json!({})).await.unwrap();
    world.client().await.batch_execute(booked).await.unwrap();
    order
}

#[tokio::test]
async fn each_warehouse_of_an_order_has_a_delivery_of_its_own_and_all_are_scheduled_at_once() {
    let world = world().await;
    let order = booked(&world, "test_timeout_after_booking").await;
    // The first call of each is done, and not answered.
    for _ in 0..2 {
        world.failed(&order, "delivery_scheduling").await;
        assert_eq!(world.status("o").await, "BOOKED");
    }
    let told = world.step(&order, "delivery_scheduling").await.unwrap();
    assert_eq!(world.step(&order, "delivery_scheduling").await.unwrap(), told);
    let summary = world.summary("o").await.unwrap();
    assert_eq!(summary.status, "SCHEDULED");
    let deliveries: Vec<(&str, &str)> =
        summary.deliveries.iter().map(|one| (&*one.warehouse, &*one.status)).collect();
    assert_eq!(deliveries, [("north", "SCHEDULED"), ("south", "SCHEDULED")]);
    let numbers: Vec<&String> =
        summary.deliveries.iter().filter_map(|one| one.tracking_number.as_ref()).collect();
    assert_ne!(numbers[0], numbers[1]);
    assert_eq!(told["tracking_number"], json!(numbers[0]));
    assert_eq!(told["deliveries"][1]["tracking_number"], json!(numbers[1]));
    let totals = world.totals("o");
    assert_eq!((totals.booking_calls, totals.bookings, totals.cancellations), (5, 2, 0));
    let notes = summary.notifications.iter().filter(|note| note.stage == "SCHEDULED");
    assert_eq!(notes.count(), 1);
}

#[tokio::test]
async fn where_one_warehouse_is_refused_the_other_s_delivery_is_called_off() {
    let world = world().await;
    let order = booked(&world, "test_refused_from_south").await;
    let reason = world.refused(&order, "delivery_scheduling").await;
    assert!(reason.contains("delivery refused: warehouse_not_served"), "{reason}");
    world.step(&order, "order_closure").await.unwrap();
    for _ in 0..2 {
        let told = world.step(&order, "delivery_cancellation").await.unwrap();
        assert_eq!(told, json!({"cancelled": true}));
    }
    let deliveries = world.summary("o").await.unwrap().deliveries;
    let deliveries: Vec<(&str, &str)> =
        deliveries.iter().map(|one| (&*one.warehouse, &*one.status)).collect();
    assert_eq!(deliveries, [("north", "CANCELLED"), ("south", "REFUSED")]);
    let totals = world.totals("o");
    assert_eq!((totals.bookings, totals.cancellations), (1, 1));
}

#[tokio::test]
async fn tables_of_one_warehouse_are_migrated_into_the_main_one() {
    let database = TestDatabase::empty().await.unwrap();
    let mut client = database.connect().await.unwrap();
    let all = oms_tasks::migration_sql();
    let (before, _) =
        all.split_once("-- Stock, the pieces of reservations and deliveries").unwrap();
    client.batch_execute(before).await.unwrap();
    let rows = "
        INSERT INTO inventory (sku, name, on_hand, booked, shipped, price_minor, currency)
        VALUES ('tea', 'tea', 8, 3, 2, 250, 'EUR');
        INSERT INTO orders (order_id, workflow_id, status, failure_reason)
        SELECT id, gen_random_uuid(), 'UNWINDING', 'why' FROM unnest(ARRAY['sent', 'held', 'waits']) id;
        INSERT INTO stock_reservations (order_id, status, reserved_at, ended_at)
        VALUES ('sent', 'SHIPPED', now(), now()), ('held', 'CONFIRMED', now(), NULL),
            ('waits', 'BACKORDERED', NULL, NULL);
        INSERT INTO reservation_lines (order_id, sku, quantity, returned)
        VALUES ('sent', 'tea', 4, 2), ('held', 'tea', 3, 0), ('waits', 'tea', 9, 0);
        INSERT INTO delivery_schedule (order_id, idempotency_key, status, tracking_number, delivery_date,
            scheduled_at)
        VALUES ('sent', 'k', 'SCHEDULED', 'RR1', now(), now());
        INSERT INTO delivery_updates (order_id, status, happened_at) VALUES ('sent', 'DISPATCHED', now())";
    client.batch_execute(rows).await.unwrap();
    oms_tasks::migrate(&mut client).await.unwrap();
    let sql = "SELECT jsonb_build_array(
        (SELECT jsonb_agg(to_jsonb(s) - 'updated_at') FROM warehouse_stock s),
        (SELECT jsonb_agg(to_jsonb(p) ORDER BY order_id) FROM reservation_pieces p),
        (SELECT jsonb_agg(jsonb_build_array(d.idempotency_key, d.warehouse, u.warehouse, u.status))
         FROM delivery_schedule d JOIN delivery_updates u USING (order_id)))";
    let found: Value = client.query_one(sql, &[]).await.unwrap().get(0);
    let wanted = json!([
        [{"sku": "tea", "warehouse": "main", "on_hand": 8, "booked": 3, "shipped": 2}],
        [
            {"order_id": "held", "sku": "tea", "warehouse": "main", "quantity": 3, "returned": 0},
            {"order_id": "sent", "sku": "tea", "warehouse": "main", "quantity": 4, "returned": 2},
        ],
        [["k", "main", "main", "DISPATCHED"]],
    ]);
    assert_eq!(found, wanted);
}
