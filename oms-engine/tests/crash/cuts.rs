//! Connections that are cut around the answer of a commit: nothing is lost, nothing is doubled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Client;
use oms_engine::{Engine, Error, StartRequest, WorkflowId};
use serde_json::json;

use crate::PATIENCE;
use crate::common::{assert_nothing_stuck, database, line, until};
use crate::proxy::Proxy;
use crate::witness::Witness;
use crate::worker::{EFFECTS, with_tasks};

const ROUND: usize = 100;

/// Starts under a key until there is an answer.
async fn start(engine: &Engine, key: usize) -> WorkflowId {
    loop {
        let request = StartRequest::new("cut").idempotency_key(format!("key {key}"));
        match engine.start(request.input(json!({"value": 5}))).await {
            Ok(started) => return started.id,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

/// What stands still, and why.
async fn open_tasks(client: &Client) -> Vec<String> {
    let sql = "SELECT t::text || coalesce(s::text, '') FROM oms_engine.open_tasks t
        LEFT JOIN oms_engine.holders h ON h.id = t.holder
        LEFT JOIN oms_engine.sessions s ON s.id = h.session_id LIMIT 5";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

fn through(url: &str, witness: &Witness) -> oms_engine::EngineBuilder {
    let builder = Engine::builder(url)
        .deadline(Duration::from_millis(700))
        .poll_interval(Duration::from_millis(500))
        .heartbeat(Duration::from_millis(300), Duration::from_secs(5))
        .concurrency(8);
    with_tasks(builder, witness.path())
}

/// Starts a round of workflows under keys of its own.
async fn round(engine: &Engine, number: usize) -> BTreeSet<WorkflowId> {
    let starts = (0..ROUND).map(|key| {
        let engine = engine.clone();
        tokio::spawn(async move { start(&engine, number * ROUND + key).await })
    });
    let mut ids = BTreeSet::new();
    for start in starts.collect::<Vec<_>>() {
        ids.insert(start.await.unwrap());
    }
    assert_eq!(ids.len(), ROUND);
    ids
}

/// Waits until fewer than so many workflows run.
async fn fewer_run(client: &Client, than: i64) {
    let running = "SELECT count(*) FROM oms_engine.workflows WHERE status = 0";
    let begun = Instant::now();
    while client.query_one(running, &[]).await.unwrap().get::<_, i64>(0) >= than {
        let still = begun.elapsed() < PATIENCE;
        assert!(still, "still open: {:#?}", open_tasks(client).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_answers_are() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(EFFECTS).await.unwrap();
    let (proxy, url) = Proxy::before(database.url()).await;
    let engine = through(&url, &witness).name("harmed").build().await.unwrap();
    engine.register_workflow(&line("cut", &["work", "book", "work", "book_all"])).await.unwrap();
    proxy.harm_one_in(25);
    let mut rounds = 0;
    loop {
        round(&engine, rounds).await;
        rounds += 1;
        // The harm is done while work is in flight.
        fewer_run(&client, 20).await;
        let (done, commits) = proxy.done();
        if done.iter().all(|&n| n > 0) && commits >= 3 {
            break;
        }
    }
    let beside = through(database.url(), &witness).name("beside").build().await.unwrap();
    round(&engine, rounds).await;
    rounds += 1;
    fewer_run(&client, 20).await;
    proxy.harm_one_in(0);
    fewer_run(&client, 1).await;
    let (workflows, tasks) = (rounds * ROUND, i64::try_from(rounds * ROUND * 4).unwrap());
    until(
        &client,
        &format!("SELECT count(*) = {workflows} FROM oms_engine.workflows WHERE status = 2"),
    )
    .await;
    let history = "SELECT count(*), count(*) FILTER (WHERE status = 0 AND attempt = 0)
        FROM oms_engine.task_history";
    let history = client.query_one(history, &[]).await.unwrap();
    assert_eq!((history.get::<_, i64>(0), history.get::<_, i64>(1)), (tasks, tasks));
    let effects = format!(
        "SELECT count(*) = count(DISTINCT task_id) AND count(*) = {} FROM public.effects",
        tasks / 2
    );
    assert!(client.query_one(&effects, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(witness.counts().len(), rounds * ROUND * 4);
    assert_nothing_stuck(&client).await;
    // Healed, the harmed engine works on alone.
    beside.shutdown(Duration::from_secs(5)).await;
    let last = start(&engine, workflows).await;
    until(&client, &format!("SELECT status = 2 FROM oms_engine.workflows WHERE id = '{last}'"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_was_lost_is_found_under_its_key() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    let (proxy, url) = Proxy::before(database.url()).await;
    let engine = through(&url, &witness).build().await.unwrap();
    engine.register_workflow(&line("cut", &["work"])).await.unwrap();
    let mut lost = 0;
    for key in 0..60 {
        let request = StartRequest::new("cut").idempotency_key(format!("many {key}"));
        proxy.harm_one_in(3);
        // In a transaction of the pool: the caller is told that it does not know.
        let first = engine.start_many(vec![request.clone()]).await;
        proxy.harm_one_in(0);
        let again = loop {
            match engine.start_many(vec![request.clone()]).await {
                Ok(started) => break started[0],
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        match first {
            Ok(started) => assert_eq!((started[0].id, again.existed), (again.id, true)),
            Err(Error::InvalidInput { .. } | Error::Conflict { .. }) => panic!("{first:?}"),
            Err(_) => lost += usize::from(again.existed),
        }
    }
    println!("{lost} starts had happened though their answer was lost; {:?}", proxy.done());
    assert!(lost > 0, "no answer of a start that had happened was lost");
    until(&client, "SELECT count(*) = 60 FROM oms_engine.workflows WHERE status = 2").await;
    assert_eq!(witness.counts().len(), 60);
}
