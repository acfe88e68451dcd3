//! Stock for orders of several lines: reserved, waited for, expired, released, shipped.

use std::time::Duration;

use oms_engine::{Engine, TaskError};
use oms_tasks::Restock;
use oms_tasks::stock::{Restocked, restock_and_serve};
use serde_json::{Value, json};

use crate::world::{Placed, World};

fn lines(skus: &[(&str, i32)]) -> Value {
    skus.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect()
}

/// An acknowledged order.
pub(crate) async fn order(world: &World, id: &str, skus: &[(&str, i32)]) -> Placed {
    let order = Placed::new(id).with("/lines", lines(skus));
    world.take(&order, 1).await;
    order
}

/// One attempt of a step; `more` is added to the order's id.
pub(crate) async fn step(
    world: &World,
    order: &Placed,
    name: &str,
    more: Value,
) -> Result<Value, TaskError> {
    let (cx, tasks) = (order.context(name), &world.tasks);
    let mut input = json!({"order_id": order.id()});
    input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let task = vec![(cx.clone(), input.clone())];
    let mut all = match name {
        "stock_reservation" => world.transact_all(tasks.stock_reservation(), task).await,
        "back_order" => world.transact_all(tasks.back_order(Duration::from_secs(60)), task).await,
        "reservation_confirmation" => {
            world.transact_all(tasks.reservation_confirmation(), task).await
        }
        "stock_dispatch" => world.transact_all(tasks.stock_dispatch(), task).await,
        "reservation_release" => {
            vec![world.transact(tasks.reservation_release(), &cx, input).await]
        }
        "reservation_expiry" => vec![world.transact(tasks.reservation_expiry(), &cx, input).await],
        other => panic!("no step {other}"),
    };
    all.pop().unwrap()
}

async fn reserve(world: &World, order: &Placed) -> Result<Value, TaskError> {
    step(world, order, "stock_reservation", json!({})).await
}

fn status(answer: Result<Value, TaskError>) -> String {
    match answer {
        Ok(output) => output["status"].as_str().unwrap().to_owned(),
        Err(error) => panic!("{}", error.reason()),
    }
}

fn reason(answer: Result<Value, TaskError>) -> String {
    let error = answer.unwrap_err();
    assert!(error.is_terminal(), "{}", error.reason());
    error.reason().to_owned()
}

/// Pieces on hand, booked and shipped, of all warehouses.
pub(crate) async fn shelf(world: &World, sku: &str) -> (i64, i64, i64) {
    let sql = "SELECT sum(on_hand)::bigint, sum(booked)::bigint, sum(shipped)::bigint
               FROM warehouse_stock WHERE sku = $1";
    let row = world.client().await.query_one(sql, &[&sku]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// The reservation's past: its time to expire is over.
async fn is_late(world: &World, id: &str) {
    let sql =
        "UPDATE stock_reservations SET expires_at = now() - interval '1 s' WHERE order_id = $1";
    assert_eq!(world.client().await.execute(sql, &[&id]).await.unwrap(), 1);
}

async fn stage_count(world: &World, id: &str, stage: &str) -> usize {
    let notes = world.summary(id).await.unwrap().notifications;
    notes.iter().filter(|note| note.stage == stage).count()
}

/// Booked pieces are those of the reservations that hold some, at this moment.
pub(crate) async fn assert_booked(world: &World) {
    let sql = "SELECT count(*) FROM warehouse_stock i
               WHERE booked > on_hand OR booked <> (
                   SELECT coalesce(sum(p.quantity), 0) FROM reservation_pieces p
                   JOIN stock_reservations r ON r.order_id = p.order_id
                   WHERE (p.sku, p.warehouse) = (i.sku, i.warehouse)
                     AND r.status IN ('RESERVED', 'CONFIRMED'))
                  OR shipped <> (
                   SELECT coalesce(sum(p.quantity), 0) FROM reservation_pieces p
                   JOIN stock_reservations r ON r.order_id = p.order_id
                   WHERE (p.sku, p.warehouse) = (i.sku, i.warehouse) AND r.status = 'SHIPPED')";
    let wrong: i64 = world.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(wrong, 0);
}

/// An engine without tasks, that has runs look again.
pub(crate) async fn engine(world: &World) -> Engine {
    Engine::builder(world.url()).migrate().build().await.unwrap()
}

pub(crate) async fn restock(world: &World, engine: &Engine, sku: &str, pieces: i64) -> Restocked {
    restock_in(None, world, engine, sku, pieces).await
}

pub(crate) async fn restock_in(
    warehouse: Option<&str>,
    world: &World,
    engine: &Engine,
    sku: &str,
    pieces: i64,
) -> Restocked {
    let goods = Restock { sku, name: sku, pieces, price_minor: 250, currency: "EUR", warehouse };
    let mut client = world.client().await;
    restock_and_serve(engine, &mut client, &[goods]).await.unwrap()
}

#[tokio::test]
async fn all_lines_of_an_order_are_reserved_or_none_is() {
    let world = World::new().await;
    // There are 10 tea and 5 cups.
    let first = order(&world, "a", &[("tea", 4), ("cup", 2), ("tea", 3)]).await;
    let output = reserve(&world, &first).await.unwrap();
    assert_eq!(output, json!({"status": "RESERVED", "pieces": 9, "short": []}));
    let second = order(&world, "b", &[("cup", 1), ("tea", 4)]).await;
    let refuse = json!({"when_short": "refuse"});
    let told = reason(step(&world, &second, "stock_reservation", refuse).await);
    assert_eq!(told, "order b: out of stock: tea");
    let output = reserve(&world, &second).await.unwrap();
    assert_eq!(output, json!({"status": "BACKORDERED", "pieces": 5, "short": ["tea"]}));
    assert_eq!((shelf(&world, "tea").await, shelf(&world, "cup").await), ((10, 7, 0), (5, 2, 0)));
    assert_booked(&world).await;
}

#[tokio::test]
async fn a_repeated_step_says_what_it_said_and_changes_nothing() {
    let world = World::new().await;
    let order = order(&world, "o", &[("tea", 2)]).await;
    for (name, status) in [
        ("stock_reservation", "RESERVED"),
        ("reservation_confirmation", "CONFIRMED"),
        ("stock_dispatch", "SHIPPED"),
    ] {
        let first = step(&world, &order, name, json!({})).await.unwrap();
        assert_eq!(first["status"], status);
        let before = world.tables().await;
        assert_eq!(step(&world, &order, name, json!({})).await.unwrap(), first, "{name}");
        let again = reserve(&world, &order).await.unwrap();
        assert_eq!(again, json!({"status": "RESERVED", "pieces": 2, "short": []}), "{name}");
        assert_eq!(world.tables().await, before, "{name}");
    }
    assert_eq!(shelf(&world, "tea").await, (8, 0, 2));
    assert_eq!(stage_count(&world, "o", "BOOKED").await, 1);
    let late = step(&world, &order, "reservation_release", json!({})).await.unwrap();
    assert_eq!(late, json!({"released": false, "served": 0}), "it has left the house");
}

#[tokio::test]
async fn two_attempts_at_once_reserve_once() {
    let world = World::new().await;
    let order = order(&world, "o", &[("tea", 2), ("cup", 1)]).await;
    let (one, two, three) = tokio::join!(
        reserve(&world, &order),
        reserve(&world, &order),
        step(&world, &order, "back_order", json!({})),
    );
    assert_eq!(one.unwrap(), two.unwrap());
    three.unwrap();
    assert_eq!((shelf(&world, "tea").await, shelf(&world, "cup").await), ((10, 2, 0), (5, 1, 0)));
}

#[tokio::test]
async fn a_released_order_gives_its_pieces_back_once_and_gets_none_any_more() {
    let world = World::new().await;
    let never = order(&world, "never", &[("tea", 1)]).await;
    let held = order(&world, "held", &[("tea", 3)]).await;
    reserve(&world, &held).await.unwrap();
    for order in [&never, &held] {
        for _ in 0..2 {
            let released = step(&world, order, "reservation_release", json!({})).await.unwrap();
            assert_eq!(released, json!({"released": true, "served": 0}));
        }
        for name in
            ["stock_reservation", "back_order", "reservation_confirmation", "stock_dispatch"]
        {
            let told = reason(step(&world, order, name, json!({})).await);
            assert!(told.ends_with("its reservation has ended"), "{name}: {told}");
        }
    }
    assert_eq!(shelf(&world, "tea").await, (10, 0, 0));
}

#[tokio::test]
async fn a_closed_order_is_not_reserved_and_one_that_is_not_there_neither() {
    let world = World::new().await;
    let closed = order(&world, "o", &[("tea", 1)]).await;
    world.step(&closed, "order_closure").await.unwrap();
    assert!(reason(reserve(&world, &closed).await).contains("is UNWINDING"));
    assert!(reason(reserve(&world, &Placed::new("p")).await).contains("does not exist"));
    assert_eq!(shelf(&world, "tea").await, (10, 0, 0));
}

#[tokio::test]
async fn a_reservation_expires_when_its_time_is_over_and_not_once_it_is_confirmed() {
    let world = World::new().await;
    let hold = json!({"hold_seconds": 3600});
    let (late, kept) =
        (order(&world, "late", &[("tea", 3)]).await, order(&world, "kept", &[("tea", 2)]).await);
    for order in [&late, &kept] {
        step(&world, order, "stock_reservation", hold.clone()).await.unwrap();
        // It is called again when the time comes.
        let early = step(&world, order, "reservation_expiry", json!({})).await.unwrap_err();
        assert!(format!("{early:?}").contains("InProgress"), "{early:?}");
    }
    step(&world, &kept, "reservation_confirmation", json!({})).await.unwrap();
    is_late(&world, "late").await;
    for _ in 0..2 {
        let expired = step(&world, &late, "reservation_expiry", json!({})).await.unwrap();
        assert_eq!(expired, json!({"expired": true, "served": 0}));
    }
    let stands = step(&world, &kept, "reservation_expiry", json!({})).await.unwrap();
    assert_eq!(stands, json!({"expired": false, "served": 0}));
    assert_eq!(shelf(&world, "tea").await, (10, 2, 0));
    // One that has expired is made again where that is possible.
    let confirmed = step(&world, &late, "reservation_confirmation", json!({})).await;
    assert_eq!(status(confirmed), "CONFIRMED");
    assert_eq!(shelf(&world, "tea").await, (10, 5, 0));
    assert_eq!(stage_count(&world, "late", "BOOKED").await, 1);
}

#[tokio::test]
async fn an_expired_order_whose_pieces_are_gone_is_refused() {
    let world = World::new().await;
    let late = order(&world, "late", &[("tea", 6)]).await;
    step(&world, &late, "stock_reservation", json!({"hold_seconds": 1})).await.unwrap();
    is_late(&world, "late").await;
    step(&world, &late, "reservation_expiry", json!({})).await.unwrap();
    reserve(&world, &order(&world, "next", &[("tea", 6)]).await).await.unwrap();
    let told = reason(step(&world, &late, "reservation_confirmation", json!({})).await);
    assert_eq!(told, "order late: out of stock: tea");
    assert_booked(&world).await;
}

#[tokio::test]
async fn those_who_wait_are_served_first_come_first_served_when_pieces_come_or_are_given_back() {
    let world = World::new().await;
    let engine = engine(&world).await;
    let holder = order(&world, "holder", &[("tea", 10)]).await;
    reserve(&world, &holder).await.unwrap();
    let mut waiting = Vec::new();
    // The one that waits longest has the last name.
    for (id, tea, cups) in [("z", 8, 1), ("y", 3, 1), ("x", 2, 9), ("w", 4, 1)] {
        let order = order(&world, id, &[("tea", tea), ("cup", cups)]).await;
        assert_eq!(status(reserve(&world, &order).await), "BACKORDERED");
        waiting.push(order);
    }
    assert_eq!(stage_count(&world, "z", "BACKORDERED").await, 1);
    // z is not served with seven, which is enough for y and w.
    let served = restock(&world, &engine, "tea", 7).await;
    let ids: Vec<&str> = served.woken.iter().map(|woken| &*woken.order_id).collect();
    assert_eq!((ids, served.shelves[0].on_hand), (vec!["y", "w"], 17));
    assert_eq!(served.woken[0].workflow_id, waiting[1].workflow_id.as_uuid());
    let released = step(&world, &holder, "reservation_release", json!({})).await.unwrap();
    assert_eq!(released, json!({"released": true, "served": 1}));
    assert_eq!(status(step(&world, &waiting[0], "back_order", json!({})).await), "RESERVED");
    // x still waits for cups, of which an article of another name is no help.
    let waits = step(&world, &waiting[2], "back_order", json!({})).await.unwrap_err();
    assert!(format!("{waits:?}").contains("InProgress"), "{waits:?}");
    assert_eq!(restock(&world, &engine, "pot", 100).await.woken, []);
    assert_eq!(restock(&world, &engine, "cup", 7).await.woken.len(), 1);
    assert_eq!(
        (shelf(&world, "tea").await, shelf(&world, "cup").await),
        ((17, 17, 0), (12, 12, 0))
    );
    assert_booked(&world).await;
    engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_batch_writes_what_its_orders_write_one_by_one() {
    let (one_by_one, at_once) = (World::new().await, World::new().await);
    let wants: [&[(&str, i32)]; 3] = [&[("tea", 2)], &[("cup", 1), ("tea", 1)], &[("tea", 3)]];
    for name in ["stock_reservation", "back_order", "reservation_confirmation", "stock_dispatch"] {
        let mut answers = Vec::new();
        let mut tasks = Vec::new();
        for (n, want) in wants.iter().enumerate() {
            let id = format!("o{n}");
            let placed = Placed::new(&id).with("/lines", lines(want));
            for world in [&one_by_one, &at_once] {
                if name == "stock_reservation" {
                    world.take(&placed, 1).await;
                }
            }
            answers.push(step(&one_by_one, &placed, name, json!({})).await.unwrap());
            tasks.push((placed.context(name), json!({"order_id": id})));
        }
        for _ in 0..2 {
            let (tasks, all) = (tasks.clone(), &at_once.tasks);
            let told = match name {
                "stock_reservation" => at_once.transact_all(all.stock_reservation(), tasks).await,
                "back_order" => {
                    at_once.transact_all(all.back_order(Duration::from_secs(9)), tasks).await
                }
                "reservation_confirmation" => {
                    at_once.transact_all(all.reservation_confirmation(), tasks).await
                }
                _ => at_once.transact_all(all.stock_dispatch(), tasks).await,
            };
            let told: Vec<Value> = told.into_iter().map(Result::unwrap).collect();
            assert_eq!(told, answers, "{name}");
        }
        for world in [&one_by_one, &at_once] {
            assert_booked(world).await;
        }
        assert_eq!(shelf(&one_by_one, "tea").await, shelf(&at_once, "tea").await, "{name}");
        assert_eq!(shelf(&one_by_one, "cup").await, shelf(&at_once, "cup").await, "{name}");
    }
}

#[tokio::test]
async fn where_there_is_not_enough_for_a_whole_batch_who_comes_first_is_served_and_the_others_wait()
{
    let world = World::new().await;
    let name = "stock_reservation";
    let mut orders = Vec::new();
    for id in ["z", "y", "x"] {
        orders.push(order(&world, id, &[("cup", if id == "x" { 2 } else { 3 })]).await);
    }
    let tasks = |more: Value| {
        let task = |order: &Placed| {
            let mut input = json!({"order_id": order.id()});
            input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            (order.context(name), input)
        };
        orders.iter().map(task).collect::<Vec<_>>()
    };
    let before = world.tables().await;
    let refuse = tasks(json!({"when_short": "refuse"}));
    let answers = world.transact_all(world.tasks.stock_reservation(), refuse).await;
    let refused: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, true, false]);
    assert_eq!(world.tables().await, before, "a batch with an error in it is rolled back");
    let answers = world.transact_all(world.tasks.stock_reservation(), tasks(json!({}))).await;
    let told: Vec<String> = answers.into_iter().map(status).collect();
    assert_eq!(told, ["RESERVED", "BACKORDERED", "RESERVED"]);
    assert_eq!(shelf(&world, "cup").await, (5, 5, 0));
}
