//! Workers that are killed while batches of transactional tasks are under way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Client;
use oms_engine::{Engine, StartRequest};
use serde_json::json;

use crate::common::{assert_nothing_stuck, database, line, until};
use crate::witness::Witness;
use crate::worker::{EFFECTS, Launch, Worker};
use crate::{PATIENCE, Random};

const RUNS: usize = 3_000;
const KILLS: usize = 10;

/// Kills a worker while transactions of its tasks are open, as another session sees them.
async fn kill_in_the_middle(client: &Client, worker: Worker) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND state <> 'idle' AND xact_start < clock_timestamp() - interval '2 ms'
            AND backend_xid IS NOT NULL";
    let begun = Instant::now();
    loop {
        worker.signal("-STOP");
        let open: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        if open > 0 {
            worker.kill();
            return open;
        }
        worker.signal("-CONT");
        assert!(begun.elapsed() < PATIENCE, "no batch is under way");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_writes_happens_once_when_workers_are_killed_in_the_middle() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(EFFECTS).await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register_workflow(&line("booked", &["book_all"; 3])).await.unwrap();
    let mut random = Random::seeded("batches");
    let launch = Launch::new(database.url(), &witness);
    let mut workers = vec![launch.start(), launch.start()];
    let mut hits = Vec::new();
    let mut started = BTreeSet::new();
    for _ in 0..KILLS {
        let request = |_| StartRequest::new("booked").input(json!({"value": 10}));
        let requests = (0..RUNS / KILLS).map(request).collect();
        started.extend(engine.start_many(requests).await.unwrap().into_iter().map(|one| one.id));
        tokio::time::sleep(random.millis(0, 100)).await;
        let victim = workers.swap_remove(usize::try_from(random.below(2)).unwrap());
        hits.push(kill_in_the_middle(&client, victim).await);
        workers.push(launch.start());
    }
    println!("transactions that were open in each kill: {hits:?}");
    assert_eq!(started.len(), RUNS);
    let ended = format!("SELECT count(*) = {RUNS} FROM oms_engine.workflows WHERE status = 2");
    until(&client, &ended).await;
    let once = format!(
        "SELECT count(*) = {tasks} AND count(DISTINCT e.task_id) = {tasks}
            AND bool_and(h.status = 0 AND h.attempt = 0 AND h.xmin::text = e.xmin::text)
        FROM public.effects e
        LEFT JOIN oms_engine.task_history h ON e.task_id
            = h.workflow_id || '.' || h.epoch || '.' || h.attempt || '.' || h.reference_name",
        tasks = RUNS * 3
    );
    assert!(client.query_one(&once, &[]).await.unwrap().get::<_, bool>(0));
    let sql = "SELECT count(*), count(DISTINCT xmin::text) FROM public.effects";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (effects, transactions): (i64, i64) = (row.get(0), row.get(1));
    println!("{effects} effects in {transactions} transactions");
    assert!(transactions * 3 < effects, "there were no batches to speak of");
    let again = witness.counts().values().filter(|times| **times > 1).count();
    println!("{again} tasks ran more than once");
    assert!(again > 0, "no kill met a body");
    assert_nothing_stuck(&client).await;
}
