//! Many orders that reserve, expire, are released and shipped at once, at random.

use std::sync::Arc;
use std::time::Duration;

use oms_engine::Engine;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tokio::task::JoinSet;

use crate::reservations::{assert_booked, engine, order, restock_in, step};
use crate::world::{Placed, World};

/// What one of many does with its order, one after the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    Reserve,
    BackOrder,
    Confirm,
    Expire,
    Release,
    Ship,
    /// An article in a warehouse.
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
        1 => (0..8_u8).prop_map(Act::Restock),
    ];
    prop::collection::vec(act, 3..9)
}

/// Quantities of tea, cups and pots, and what is done.
fn orders() -> impl Strategy<Value = Vec<([i32; 3], Vec<Act>)>> {
    let wants = [0..6, 0..4, 0..3_i32].prop_filter("an order has lines", |w| *w != [0; 3]);
    prop::collection::vec((wants, acts()), 12..28)
}

const SKUS: [&str; 3] = ["tea", "cup", "pot"];
const WAREHOUSES: [Option<&str>; 3] = [None, Some("north"), Some("south")];

/// Pieces that came to each warehouse, of each article.
type Came = [[i64; 3]; 3];

async fn act(world: &World, engine: &Engine, order: &Placed, act: Act, came: &mut Came) {
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
            let (sku, at) = (usize::from(n) % SKUS.len(), usize::from(n / 3) % WAREHOUSES.len());
            restock_in(WAREHOUSES[at], world, engine, SKUS[sku], i64::from(n)).await;
            came[at][sku] += i64::from(n);
            return;
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
}

/// On each shelf the pieces are there that came, but for those that left.
async fn assert_conserved(world: &World, all: &Came) {
    let sql = "SELECT on_hand + shipped, booked <= on_hand FROM warehouse_stock
               WHERE warehouse = $1 AND sku = $2";
    for (warehouse, came) in WAREHOUSES.into_iter().zip(all) {
        for (sku, pieces) in SKUS.into_iter().zip(came) {
            let warehouse = warehouse.unwrap_or("main");
            let row = world.client().await.query_one(sql, &[&warehouse, &sku]).await.unwrap();
            assert_eq!((row.get(0), row.get(1)), (*pieces, true), "{sku} in {warehouse}");
        }
    }
}

/// Many orders at once, from three warehouses: pieces are conserved at all times, nobody has more than there is,
/// and in the end nobody waits for whom there is enough.
async fn fight(given: Vec<([i32; 3], Vec<Act>)>) {
    let world = Arc::new(World::new().await);
    // The first has 10 tea and 5 cups.
    let mut all = [[10, 5, 0], [3, 0, 4], [2, 3, 2]];
    for (warehouse, came) in WAREHOUSES.into_iter().zip(all) {
        for (sku, pieces) in SKUS.into_iter().zip(came) {
            let pieces = if warehouse.is_some() || sku == "pot" { pieces } else { 0 };
            world.restock_in(warehouse, sku, pieces, 250).await;
        }
    }
    let engine = engine(&world).await;
    let mut running = JoinSet::new();
    for (n, (wants, acts)) in given.into_iter().enumerate() {
        let (world, engine) = (Arc::clone(&world), engine.clone());
        running.spawn(async move {
            let wants: Vec<(&str, i32)> =
                SKUS.into_iter().zip(wants).filter(|(_, quantity)| *quantity > 0).collect();
            let order = order(&world, &format!("o{n}"), &wants).await;
            let mut came = Came::default();
            for one in acts {
                act(&world, &engine, &order, one, &mut came).await;
                assert_booked(&world).await;
            }
            came
        });
    }
    for came in running.join_all().await {
        for (all, came) in all.as_flattened_mut().iter_mut().zip(came.as_flattened()) {
            *all += came;
        }
    }
    assert_conserved(&world, &all).await;
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
                   SELECT FROM reservation_lines l
                   WHERE l.order_id = r.order_id AND l.quantity > (
                       SELECT sum(s.on_hand - s.booked) FROM warehouse_stock s
                       WHERE s.sku = l.sku))";
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
