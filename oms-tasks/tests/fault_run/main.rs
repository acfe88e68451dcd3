//! Five hundred orders while worker processes and PostgreSQL are killed, or a standby takes over; the sandbox lives on in
//! a process of its own, and its ledger is the witness of what was charged and delivered.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "figures, the seed, and a worker that says it is there")]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod failover;
mod orders;
mod random;
mod storm;

use std::time::{Duration, Instant};

use oms_engine::Engine;
use oms_engine::testkit::OwnPostgres;

use common::sandbox::{Sandbox, Scratch};
use common::worker::Launch;
use common::{connect, migrations, register, stock, until};
use orders::{ARTICLES, Placed};
use random::Random;
use storm::Storm;

const ORDERS: usize = 500;
const WORKERS: usize = 3;

/// The tables, and articles on the shelves.
async fn shop_on(server: &OwnPostgres) {
    let client = connect(server.url()).await;
    client.batch_execute(&migrations()).await.unwrap();
    for (sku, pieces, price_minor) in ARTICLES {
        stock(&client, sku, pieces, price_minor).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_lost_or_doubled_when_workers_and_the_server_are_killed() {
    let begun = Instant::now();
    let mut random = Random::seeded();
    let server = OwnPostgres::create().await.unwrap();
    let url = server.url().to_owned();
    shop_on(&server).await;
    let (sandbox, messages) = (Sandbox::start(), Scratch::new("messages"));
    let launch = Launch {
        url: url.clone(),
        sandbox: sandbox.address,
        messages: Some(messages.0.clone()),
        limit: Duration::from_secs(10),
    };
    // It only places orders.
    let engine = Engine::builder(&url).build().await.unwrap();
    register(&engine).await;
    let placed: Vec<Placed> = (0..ORDERS).map(|n| Placed::random(n, &mut random)).collect();

    let storming = Instant::now();
    let workers = (0..WORKERS).map(|_| launch.start()).collect();
    let mut storm = Storm::new(server, workers, random);
    storm.rage(&engine, &launch, &placed).await;
    let client = connect(&url).await;
    let ended = "SELECT NOT EXISTS (SELECT FROM oms_engine.workflows WHERE status IN (0, 1))
        AND NOT EXISTS (SELECT FROM notifications WHERE status = 'PENDING')";
    until(&client, ended).await;
    let took = storming.elapsed();
    println!("{ORDERS} orders in {took:.1?}, {:.1} orders/s", ORDERS as f64 / took.as_secs_f64());
    println!("faults that hit work in flight: {:#?}", storm.hits);

    storm.assert_hits();
    check::engine(&client).await;
    check::orders(&client, &placed).await;
    check::stock(&client).await;
    check::batches(&client).await;
    check::money_and_deliveries(&client, &sandbox.ledger()).await;
    check::notifications(&client, &messages.0).await;
    println!("all in {:.1?}", begun.elapsed());
}
