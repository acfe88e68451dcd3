//! Two hundred orders on the five tasks, whose worker process is killed again and again; the sandbox's ledger
//! is the witness of what was charged and delivered.
//!
//! Against an `oms server` in this process, or against a real Conductor: `CONDUCTOR_URL=http://…` (`just
//! e2e-conductor` starts one).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "figures, and a worker that says it is there")]

mod check;
mod place;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use oms_conductor::Conductor;
use oms_tasks::sandbox::Ledger;
use serde_json::Value;

use place::{Place, order};
use worker::Launch;

const ORDERS: usize = 200;
/// Kills that find the worker at work.
const HITS: usize = 6;
/// Much longer than it takes, on a Conductor too.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// Within the response time-out, after which the server has given the task up.
const KNOWN: Duration = Duration::from_millis(2_500);

/// What the gateway does with an order's card; one in ten is declined, and undone. The slow ones take half a
/// second, so that a worker that is killed has some.
const CARDS: [&str; 10] = [
    "slow",
    "visa",
    "fail_once",
    "slow",
    "timeout_after_charge",
    "slow",
    "visa",
    "slow",
    "declined",
    "slow",
];

/// Runs as they stand, by id.
struct Runs {
    conductor: Conductor,
    /// Not ended yet, as far as is known.
    open: Vec<String>,
    ended: BTreeMap<String, Value>,
}

impl Runs {
    /// Looks at all that are open.
    async fn look(&mut self) {
        let conductor = self.conductor.clone();
        let looked = stream::iter(std::mem::take(&mut self.open)).map(|id| async {
            let run = conductor.workflow(&id).await.unwrap();
            (id, run)
        });
        for (id, run) in looked.buffered(8).collect::<Vec<_>>().await {
            if run["status"] == "RUNNING" {
                self.open.push(id);
            } else {
                self.ended.insert(id, run);
            }
        }
    }

    /// Whether the server knows of a task that a killed worker has. `oms server` knows half a second after
    /// it gave it out.
    async fn are_held_by(&self, worker: &str) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < KNOWN {
            for id in &self.open {
                let run = self.conductor.workflow(id).await.unwrap();
                let mut tasks = run["tasks"].as_array().unwrap().iter();
                if tasks.any(|task| task["status"] == "IN_PROGRESS" && task["workerId"] == worker) {
                    return true;
                }
            }
        }
        false
    }

    /// Waits until so many have ended.
    async fn until_ended(&mut self, n: usize, begun: Instant) {
        while self.ended.len() < n {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {n} ended; open: {:?}",
                self.ended.len(),
                self.open
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.look().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_ends_and_is_charged_once_when_its_worker_is_killed() {
    let begun = Instant::now();
    let place = Place::open().await;
    let conductor = Conductor::builder(&place.server).deadline(PATIENCE / 20).build().unwrap();
    let (tasks, workflows) = place::definitions();
    conductor.register(&tasks, &workflows).await.unwrap();
    let mut runs = Runs { conductor: conductor.clone(), open: Vec::new(), ended: BTreeMap::new() };
    let mut orders = BTreeMap::new();
    for n in 0..ORDERS {
        let (id, card) = (format!("{}-{n}", place.name), CARDS[n % CARDS.len()]);
        let input = order(&id, card);
        let run = conductor.start("order_fulfilment", Some(1), &input, Some(&id)).await.unwrap();
        orders.insert(run.clone(), (id, card));
        runs.open.push(run);
    }

    let launch = Launch {
        server: place.server.clone(),
        database: place.database.url().to_owned(),
        sandbox: place.sandbox.address(),
    };
    let (mut kills, mut hits) = (0, 0);
    while hits < HITS && runs.ended.len() < ORDERS {
        let worker = launch.start();
        // A share of the orders gets through between two kills.
        runs.until_ended((ORDERS * (hits + 1) / (HITS + 2)).max(runs.ended.len() + 1), begun).await;
        let name = worker.kill();
        kills += 1;
        hits += usize::from(runs.are_held_by(&name).await);
    }
    println!("{kills} kills, {hits} of them found the worker at work");
    assert_eq!(hits, HITS, "orders were through before the worker was killed often enough");
    let worker = launch.start();
    runs.until_ended(ORDERS, begun).await;
    let took = begun.elapsed();
    println!("{ORDERS} orders in {took:.1?}");

    let database = place.database.connect().await.unwrap();
    check::undone(&database, ORDERS / CARDS.len(), PATIENCE).await;
    worker.stop();
    for (run, (order, card)) in &orders {
        let status = if *card == "declined" { "FAILED" } else { "COMPLETED" };
        assert_eq!(runs.ended[run]["status"], status, "{order}: {:#}", runs.ended[run]);
    }
    check::charged_once(&database, &Ledger::read(&place.ledger).unwrap(), &orders).await;
    check::inbox(&database, ORDERS).await;
}
