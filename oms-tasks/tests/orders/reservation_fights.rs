//! Many orders that reserve, expire, are released and shipped at once, at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oms_engine::Engine;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tokio::task::JoinSet;

use crate::reservations::{assert_booked, engine, order, restock, shelf, step};
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
