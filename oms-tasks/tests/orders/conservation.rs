//! Random orders, side by side: pieces and money are conserved.

use std::sync::Arc;

use oms_engine::WorkflowId;
use oms_tasks::sandbox::Ledger;
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Placed, STEPS, World};

const ORDERS: u64 = 60;
const SIDE_BY_SIDE: usize = 6;

/// A small generator (splitmix64), so that a seed gives the same orders everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    fn pick(&mut self, choice: &[&'static str]) -> &'static str {
        let at = self.below(u64::try_from(choice.len()).unwrap());
        choice[usize::try_from(at).unwrap()]
    }
}

fn random_order(i: u64, dice: &mut Dice) -> Placed {
    let lines: Vec<_> = (0..=dice.below(3))
        .map(|_| {
            let (sku, quantity) = (dice.pick(&["tea", "cup", "pot"]), 1 + dice.below(4));
            json!({"sku": sku, "quantity": quantity})
        })
        .collect();
    let token = dice.pick(&["tok_visa", "tok_visa", "tok_visa", "tok_declined", "tok_fail_once"]);
    let place = dice.pick(&["53111", "53111", "test_refused", "test_fail_once"]);
    Placed::new(&format!("o{i}"))
        .with("/lines", json!(lines))
        .with("/payment/token", json!(token))
        .with("/ship_to/postal_code", json!(place))
}

/// Takes an order some way, repeating steps and failing at random; unwinds what did not complete,
/// and some that did.
async fn live(world: &World, order: &Placed, dice: &mut Dice) {
    // Mostly none of the five.
    let stop_at = usize::try_from(dice.below(9)).unwrap();
    let mut completed = true;
    'steps: for (i, step) in STEPS.iter().enumerate() {
        if i == stop_at {
            completed = false;
            break;
        }
        let mut tries = 0;
        loop {
            match world.step(order, step).await {
                Ok(_) if dice.below(4) > 0 => break,
                Ok(_) => {}
                Err(error) if error.is_terminal() => {
                    completed = false;
                    break 'steps;
                }
                Err(_) => {}
            }
            tries += 1;
            assert!(tries < 20, "{step} of {} does not end", order.id());
        }
        assert_within(world).await;
    }
    if !completed || dice.below(5) == 0 {
        world.unwind(order).await;
        if dice.below(2) == 0 {
            world.unwind(order).await;
        }
    }
}

/// Booked pieces are those of the live bookings, at this moment, and never more than there are.
async fn assert_within(world: &World) {
    let sql = "SELECT count(*) FROM warehouse_stock i
               WHERE booked > on_hand OR booked <> (
                   SELECT coalesce(sum(b.quantity), 0) FROM stock_bookings b
                   WHERE b.sku = i.sku AND b.status = 'BOOKED')";
    let wrong: i64 = world.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(wrong, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_and_money_are_conserved() {
    let (_, seed) = WorkflowId::new().as_uuid().as_u64_pair();
    println!("seed {seed}");
    let world = Arc::new(World::new().await);
    world.restock("tea", 40, 250).await;
    world.restock("pot", 15, 1_100).await;
    let mut running = JoinSet::new();
    for i in 0..ORDERS {
        if running.len() == SIDE_BY_SIDE {
            running.join_next().await.unwrap().unwrap();
        }
        let world = Arc::clone(&world);
        running.spawn(async move {
            let mut dice = Dice(seed ^ i.wrapping_mul(0x1234_5678_9abc_def1));
            let order = random_order(i, &mut dice);
            live(&world, &order, &mut dice).await;
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    assert_within(&world).await;
    let ledger = Ledger::read(&world.ledger.0).unwrap().by_order();
    let (mut failed, mut live_pieces) = (0, 0);
    for i in 0..ORDERS {
        let id = format!("o{i}");
        let summary = world.summary(&id).await.unwrap();
        let totals = ledger.get(&id).copied().unwrap_or_default();
        assert!(totals.charges <= 1 && totals.bookings <= 1, "{id}: {totals:?}");
        let kept = totals.charged_minor - totals.refunded_minor;
        let booked: i64 = summary
            .bookings
            .iter()
            .filter(|booking| booking.status == "BOOKED")
            .map(|booking| booking.quantity)
            .sum();
        if summary.status == "FAILED" {
            failed += 1;
            assert_eq!((kept, booked), (0, 0), "{id}");
            assert_eq!(totals.bookings, totals.cancellations, "{id}");
        } else {
            assert_eq!(summary.status, "COMPLETED", "{id}");
            assert_eq!(Some(kept), summary.total_minor, "{id}");
            live_pieces += booked;
        }
    }
    println!("{failed} of {ORDERS} orders failed, {live_pieces} pieces are booked");
    assert!(failed > 0 && failed < ORDERS, "the seed gave no mixture");
}
