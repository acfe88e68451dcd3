//! Five hundred orders while the primary of two servers is killed and its standby takes over; then
//! the old one comes back, and a worker that sees nothing else.

use std::time::{Duration, Instant};

use oms_engine::Engine;
use oms_engine::testkit::OwnPostgres;
use tokio_postgres::Client;

use crate::common::sandbox::{Sandbox, Scratch};
use crate::common::worker::{Launch, Worker};
use crate::common::{connect, register, until};
use crate::orders::Placed;
use crate::random::Random;
use crate::storm::place;
use crate::{WORKERS, check, shop_on};

const ORDERS: usize = 500;
/// Placed before the fall, while it lasts, and after it.
const PLACED_AT_ONCE: usize = 25;

/// A connection string for whichever of them can be written to. Their users are the same, since one
/// is a copy of the other.
fn both(first: &OwnPostgres, second: &OwnPostgres) -> String {
    let (user, first) = first.url().split_once('@').unwrap();
    let (_, second) = second.url().split_once('@').unwrap();
    let (host, database) = first.rsplit_once('/').unwrap();
    let (other, _) = second.rsplit_once('/').unwrap();
    format!("{user}@{host},{other}/{database}?target_session_attrs=read-write")
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Kills the primary while workers hold tasks, and promotes the other. Out: how long after that the
/// first task was claimed.
async fn fail_over(primary: &OwnPostgres, standby: &OwnPostgres) -> Duration {
    let client = connect(primary.url()).await;
    let busy = "SELECT count(*) > 5 FROM oms_engine.open_tasks WHERE state = 1";
    until(&client, busy).await;
    primary.kill_postmaster().unwrap();
    standby.promote().await.unwrap();
    let client = connect(standby.url()).await;
    let promoted = "CREATE TEMPORARY TABLE promoted AS SELECT clock_timestamp() AS at";
    client.batch_execute(promoted).await.unwrap();
    let open = number(&client, "SELECT count(*) FROM oms_engine.workflows WHERE status = 0").await;
    assert!(open > 0, "the fall met no work in flight");
    println!("{open} runs were open at the fall");
    let claimed = "SELECT min(started_at) AS at FROM (
            SELECT started_at FROM oms_engine.open_tasks WHERE state = 1
            UNION ALL SELECT started_at FROM oms_engine.task_history
        ) AS tasks, promoted WHERE started_at > promoted.at";
    until(&client, &format!("SELECT at IS NOT NULL FROM ({claimed}) AS claimed")).await;
    let sql = format!(
        "SELECT ceil(extract(epoch FROM claimed.at - promoted.at) * 1000)::bigint
        FROM ({claimed}) AS claimed, promoted"
    );
    Duration::from_millis(u64::try_from(number(&client, &sql).await).unwrap())
}

/// The old primary comes back as it was, and the worker that knows no other goes on there. It must
/// wait for a standby that does not come. Out: what had ended there when it fell.
async fn the_dead_return(primary: &mut OwnPostgres) -> (Client, i64) {
    primary.start().await.unwrap();
    let client = connect(primary.url()).await;
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')";
    until(&client, waits).await;
    let ended = number(&client, ENDED).await;
    (client, ended)
}

const ENDED: &str = "SELECT count(*) FROM oms_engine.task_history";

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_lost_or_doubled_when_the_primary_dies_and_a_standby_takes_over() {
    let mut random = Random::seeded();
    let mut primary = OwnPostgres::create().await.unwrap();
    shop_on(&primary).await;
    let standby = primary.standby().await.unwrap();
    // In this order, so that nobody but the lonely one meets the old primary when it is back.
    let url = both(&standby, &primary);
    let (sandbox, messages) = (Sandbox::start(), Scratch::new("messages"));
    let launch = Launch {
        url: url.clone(),
        sandbox: sandbox.address,
        messages: Some(messages.0.clone()),
        limit: Duration::from_secs(10),
    };
    let engine = Engine::builder(&url).build().await.unwrap();
    register(&engine).await;
    let placed: Vec<Placed> = (0..ORDERS).map(|n| Placed::random(n, &mut random)).collect();
    let workers: Vec<Worker> = (0..WORKERS).map(|_| launch.start()).collect();
    // It sees the first server alone.
    let lonely = Launch { url: primary.url().to_owned(), messages: None, ..launch.clone() }.start();

    let begun = Instant::now();
    let (before, rest) = placed.split_at(ORDERS / 2);
    let (meanwhile, after) = rest.split_at(rest.len() / 2);
    for orders in before.chunks(PLACED_AT_ONCE) {
        let unanswered = place(engine.clone(), orders).await;
        assert_eq!(unanswered, 0, "before anything happened");
    }
    let placing = tokio::spawn(place(engine.clone(), meanwhile));
    let claimed = fail_over(&primary, &standby).await;
    println!("first claim {claimed:?} after the promotion");
    let unanswered = placing.await.unwrap();
    println!("orders had to be placed again {unanswered} times");
    let (old, ended_there) = the_dead_return(&mut primary).await;
    for orders in after.chunks(PLACED_AT_ONCE) {
        place(engine.clone(), orders).await;
    }

    let client = connect(standby.url()).await;
    let ended = "SELECT NOT EXISTS (SELECT FROM oms_engine.workflows WHERE status IN (0, 1))
        AND NOT EXISTS (SELECT FROM notifications WHERE status = 'PENDING')";
    until(&client, ended).await;
    println!("{ORDERS} orders in {:.1?}", begun.elapsed());
    check::engine(&client).await;
    check::orders(&client, &placed).await;
    check::stock(&client).await;
    check::money_and_deliveries(&client, &sandbox.ledger()).await;
    check::notifications(&client, &messages.0).await;
    let sql = "SELECT array_agg(name) FROM oms_engine.sessions WHERE dead_at IS NOT NULL";
    let buried: Option<Vec<String>> = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(buried, Some(vec![lonely.name()]), "who was taken for dead");
    assert_eq!(number(&old, ENDED).await, ended_there, "the old server went on");
    // The goal is two seconds; a busy machine gets more.
    assert!(claimed < Duration::from_secs(6), "first claim after {claimed:?}");
    drop(workers);
}
