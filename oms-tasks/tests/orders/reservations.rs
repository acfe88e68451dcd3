//! Stock for orders of several lines: reserved, waited for, expired, released, shipped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oms_engine::{Engine, TaskError};
use oms_tasks::Restock;
use oms_tasks::stock::{Restocked, restock_and_serve};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{Placed, World};

fn lines(skus: &[(&str, i32)]) -> Value {
    skus.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect()
}

/// An acknowledged order.
async fn order(world: &World, id: &str, skus: &[(&str, i32)]) -> Placed {
    let order = Placed::new(id).with("/lines", lines(skus));
    world.take(&order, 1).await;
    order
}

/// One attempt of a step; `more` is added to the order's id.
async fn step(world: &World, order: &Placed, name: &str, more: Value) -> Result<Value, TaskError> {
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

/// Pieces on hand, booked and shipped.
async fn shelf(world: &World, sku: &str) -> (i64, i64, i64) {
    let sql = "SELECT on_hand, booked, shipped FROM inventory WHERE sku = $1";
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
async fn assert_booked(world: &World) {
    let sql = "SELECT count(*) FROM inventory i
               WHERE booked > on_hand OR booked <> (
                   SELECT coalesce(sum(l.quantity), 0) FROM reservation_lines l
                   JOIN stock_reservations r ON r.order_id = l.order_id
                   WHERE l.sku = i.sku AND r.status IN ('RESERVED', 'CONFIRMED'))
                  OR shipped <> (
                   SELECT coalesce(sum(l.quantity), 0) FROM reservation_lines l
                   JOIN stock_reservations r ON r.order_id = l.order_id
                   WHERE l.sku = i.sku AND r.status = 'SHIPPED')";
    let wrong: i64 = world.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(wrong, 0);
}

/// An engine without tasks, that has runs look again.
async fn engine(world: &World) -> Engine {
    Engine::builder(world.url()).migrate().build().await.unwrap()
}

async fn restock(world: &World, engine: &Engine, sku: &str, pieces: i64) -> Restocked {
    let goods = Restock { sku, name: sku, pieces, price_minor: 250, currency: "EUR" };
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
async fn where_there_is_not_enough_for_a_whole_batch_each_is_told_alone_what_holds_for_it() {
    let world = World::new().await;
    let (first, second) =
        (order(&world, "a", &[("cup", 3)]).await, order(&world, "b", &[("cup", 3)]).await);
    let before = world.tables().await;
    let name = "stock_reservation";
    let tasks = [&first, &second]
        .map(|order| (order.context(name), json!({"order_id": order.id()})))
        .to_vec();
    for answer in world.transact_all(world.tasks.stock_reservation(), tasks).await {
        assert!(reason(answer).ends_with("out of stock: cup"));
    }
    assert_eq!(world.tables().await, before, "a batch with an error in it is rolled back");
    assert_eq!(status(reserve(&world, &first).await), "RESERVED");
    assert_eq!(status(reserve(&world, &second).await), "BACKORDERED");
}

/// What one of many does with its order, one after the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    Reserve,
    BackOrder,
    Confirm,
    Expire,
    Release,
    Ship,
    Restock(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Reserve),
        1 => Just(Act::BackOrder),
        3 => Just(Act::Confirm),
        2 => Just(Act::Expire),
        1 => Just(Act::Release),
        2 => Just(Act::Ship),
        1 => (0..4_u8).prop_map(Act::Restock),
    ];
    prop::collection::vec(act, 3..9)
}

/// Quantities of tea, cups and pots, and what is done.
fn orders() -> impl Strategy<Value = Vec<([i32; 3], Vec<Act>)>> {
    let wants = [0..6, 0..4, 0..3_i32].prop_filter("an order has lines", |w| *w != [0; 3]);
    prop::collection::vec((wants, acts()), 12..28)
}

const SKUS: [&str; 3] = ["tea", "cup", "pot"];

async fn act(world: &World, engine: &Engine, order: &Placed, act: Act) -> Option<(usize, i64)> {
    let name = match act {
        Act::Reserve => "stock_reservation",
        Act::BackOrder => "back_order",
        Act::Confirm => "reservation_confirmation",
        Act::Expire => {
            let sql = "UPDATE stock_reservations SET expires_at = now() - interval '1 s'
                       WHERE order_id = $1 AND expires_at IS NOT NULL";
            world.client().await.execute(sql, &[&order.id()]).await.unwrap();
            "reservation_expiry"
        }
        Act::Release => "reservation_release",
        Act::Ship => "stock_dispatch",
        Act::Restock(n) => {
            let at = usize::from(n) % SKUS.len();
            restock(world, engine, SKUS[at], i64::from(n)).await;
            return Some((at, i64::from(n)));
        }
    };
    let more = match act {
        Act::Reserve => json!({"hold_seconds": 600}),
        _ => json!({}),
    };
    if let Err(error) = step(world, order, name, more).await {
        let told = error.reason();
        // A database error, a deadlock for example, is none of what an order is told.
        assert!(!told.contains("SQLSTATE"), "{name}: {told}");
    }
    None
}

/// Many orders at once: pieces are conserved at all times, nobody has more than there is, and in the
/// end nobody waits for whom there is enough.
async fn fight(given: Vec<([i32; 3], Vec<Act>)>) {
    let world = Arc::new(World::new().await);
    world.restock("pot", 6, 1_100).await;
    let engine = engine(&world).await;
    let mut running = JoinSet::new();
    for (n, (wants, acts)) in given.into_iter().enumerate() {
        let (world, engine) = (Arc::clone(&world), engine.clone());
        running.spawn(async move {
            let wants: Vec<(&str, i32)> =
                SKUS.into_iter().zip(wants).filter(|(_, quantity)| *quantity > 0).collect();
            let order = order(&world, &format!("o{n}"), &wants).await;
            let mut came = [0_i64; 3];
            for one in acts {
                if let Some((at, pieces)) = act(&world, &engine, &order, one).await {
                    came[at] += pieces;
                }
                assert_booked(&world).await;
            }
            came
        });
    }
    let mut all = BTreeMap::from([("tea", 10_i64), ("cup", 5), ("pot", 6)]);
    for came in running.join_all().await {
        for (sku, pieces) in SKUS.into_iter().zip(came) {
            *all.get_mut(sku).unwrap() += pieces;
        }
    }
    for (sku, pieces) in all {
        let (on_hand, booked, shipped) = shelf(&world, sku).await;
        assert_eq!(on_hand + shipped, pieces, "{sku}");
        assert!(booked <= on_hand, "{sku}");
    }
    // Those who were passed by look for themselves, as their runs do; then nobody waits in vain.
    let sql = "SELECT order_id FROM stock_reservations WHERE status = 'BACKORDERED'
               ORDER BY queue_number";
    for row in world.client().await.query(sql, &[]).await.unwrap() {
        let order = Placed::new(row.get(0));
        let waits = step(&world, &order, "back_order", json!({})).await;
        assert!(waits.is_ok() || format!("{waits:?}").contains("InProgress"), "{waits:?}");
    }
    let sql = "SELECT count(*) FROM stock_reservations r
               WHERE status = 'BACKORDERED' AND NOT EXISTS (
                   SELECT FROM reservation_lines l JOIN inventory i ON i.sku = l.sku
                   WHERE l.order_id = r.order_id AND i.on_hand - i.booked < l.quantity)";
    let in_vain: i64 = world.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(in_vain, 0);
    assert_booked(&world).await;
    engine.shutdown(Duration::from_secs(5)).await;
}

/// Each case has a database of its own, so there are few; `PROPTEST_CASES` asks for more.
#[test]
fn pieces_are_conserved_whatever_many_orders_do_at_once() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut config = ProptestConfig::default();
    config.cases = if config.cases == 256 { 6 } else { config.cases };
    config.max_shrink_iters = 0;
    let mut runner = TestRunner::new(config);
    let ended = runner.run(&orders(), |given| {
        let fought = runtime.block_on(async { tokio::spawn(fight(given)).await });
        fought.map_err(|error| TestCaseError::fail(error.to_string()))
    });
    if let Err(error) = ended {
        panic!("{error}");
    }
}
