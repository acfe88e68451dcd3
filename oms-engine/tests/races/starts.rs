//! Starts against each other, and against commits that come late.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::{Error, StartRequest, WorkflowStatus};
use serde_json::json;

use crate::common::{assert_nothing_stuck, database, engine, line, wait};
use crate::session::{Session, Step};
use crate::tasks::Quick;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_committed_late_under_a_lower_id_is_claimed_and_its_commit_wakes_the_engine() {
    let database = database().await;
    let builder = engine(&database).poll_interval(Duration::from_secs(3_600));
    let engine = builder.task(Quick).build().await.unwrap();
    engine.register_workflow(&line("w", &["quick", "quick"])).await.unwrap();
    let mut client = database.connect().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let late = engine.start_in(&tx, StartRequest::new("w")).await.unwrap().id;
    for _ in 0..5 {
        let id = engine.start(StartRequest::new("w")).await.unwrap().id;
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    }
    tx.commit().await.unwrap();
    let begun = Instant::now();
    assert_eq!(wait(&engine, late).await.status, WorkflowStatus::Completed);
    assert!(begun.elapsed() < Duration::from_secs(5), "woken by nobody: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_starts_under_one_key_start_one_workflow() {
    let database = database().await;
    let engines = [
        engine(&database).task(Quick).build().await.unwrap(),
        engine(&database).task(Quick).build().await.unwrap(),
    ];
    engines[0].register_workflow(&line("w", &["quick"])).await.unwrap();
    for key in 0..10 {
        let calls = (0..64).map(|n| {
            let engine = engines[n % 2].clone();
            let request = StartRequest::new("w").idempotency_key(format!("key {key}"));
            tokio::spawn(async move { engine.start(request.input(json!({"n": key}))).await })
        });
        let mut ids = BTreeSet::new();
        let mut new = 0;
        for call in calls.collect::<Vec<_>>() {
            let started = call.await.unwrap().unwrap();
            ids.insert(started.id);
            new += usize::from(!started.existed);
        }
        assert_eq!((ids.len(), new), (1, 1));
        let other = StartRequest::new("w").idempotency_key(format!("key {key}"));
        let refused = engines[1].start(other).await.unwrap_err();
        assert!(matches!(refused, Error::IdempotencyConflict { .. }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_concurrent_one_of_the_same_key_and_gives_its_run() {
    let database = database().await;
    let engine = engine(&database).task(Quick).build().await.unwrap();
    engine.register_workflow(&line("w", &["quick"])).await.unwrap();
    let b = Session::on(&database).await;
    let mut client = database.connect().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let request = StartRequest::new("w").idempotency_key("k");
    let first = engine.start_in(&tx, request.clone()).await.unwrap();
    let second = tokio::spawn({
        let engine = engine.clone();
        async move { engine.start(request).await }
    });
    b.somebody_waits().await;
    tx.commit().await.unwrap();
    let second = second.await.unwrap().unwrap();
    assert_eq!((second.id, second.existed), (first.id, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_share_keys_in_opposite_orders_meet_no_deadlock() {
    let database = database().await;
    let engine = engine(&database).build().await.unwrap();
    engine.register_workflow(&line("w", &["elsewhere"])).await.unwrap();
    let requests = |keys: Vec<usize>| -> Vec<StartRequest> {
        keys.iter().map(|n| StartRequest::new("w").idempotency_key(format!("k{n}"))).collect()
    };
    for round in 0..5 {
        let there: Vec<usize> = (round * 300..(round + 1) * 300).collect();
        let back: Vec<usize> = there.iter().rev().copied().collect();
        let calls = [there, back].map(|keys| {
            let (engine, requests) = (engine.clone(), requests(keys));
            tokio::spawn(async move { engine.start_many(requests).await })
        });
        let mut new = 0;
        for call in calls {
            new += call.await.unwrap().unwrap().iter().filter(|run| !run.existed).count();
        }
        assert_eq!(new, 300);
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_that_of_the_statement_and_not_of_the_transaction() {
    let database = database().await;
    let engine = engine(&database).build().await.unwrap();
    engine.register_workflow(&line("w", &["a", "b"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let b = Session::on(&database).await;
    let holder = b.holder().await;
    b.claim("a", holder).await;
    let (token, _) = b.token(id).await;
    b.run("BEGIN; SELECT pg_sleep(0.05)").await;
    b.advance(
        &[Step { token, holder, opens: Some(("b_1", "b")), ends: None, container: None }],
        0,
        &[],
    )
    .await
    .unwrap();
    let late = "SELECT count(*) FROM oms_engine.task_history h, oms_engine.open_tasks t
        WHERE h.ended_at >= now() + interval '50 ms' AND t.scheduled_at >= now() + interval '50 ms'";
    assert_eq!(b.number(late).await, 1);
    b.run("COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_numbered_in_the_order_in_which_they_were_opened_in_one_batch() {
    let database = database().await;
    let engine = engine(&database).build().await.unwrap();
    engine.register_workflow(&line("w", &["a", "b"])).await.unwrap();
    let requests = (0..50).map(|_| StartRequest::new("w")).collect();
    let runs = engine.start_many(requests).await.unwrap();
    let b = Session::on(&database).await;
    let holder = b.holder().await;
    b.claim("a", holder).await;
    let mut steps = Vec::new();
    // Neither by token nor by run: the order of the batch alone.
    for run in runs.iter().rev() {
        let (token, _) = b.token(run.id).await;
        steps.push(Step { token, holder, opens: Some(("b_1", "b")), ends: None, container: None });
    }
    b.advance(&steps, 0, &[]).await.unwrap();
    let sql = "SELECT workflow_id::text FROM oms_engine.open_tasks ORDER BY seq";
    let rows = b.0.query(sql, &[]).await.unwrap();
    let order: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let asked: Vec<String> = runs.iter().rev().map(|run| run.id.to_string()).collect();
    assert_eq!(order, asked);
}
