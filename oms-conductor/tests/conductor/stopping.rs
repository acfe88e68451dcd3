//! A worker that is told to stop leaves nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use oms_engine::{TaskStatus, WorkflowStatus};
use serde_json::json;
use tokio::sync::Notify;

use crate::wire::Harm;
use crate::world::{World, until, work};

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_may_end_within_the_grace() {
    let world = World::new(2).await;
    let began = Arc::new(Notify::new());
    let begins = began.clone();
    let worker = world.worker().task(work(move |_| {
        began.notify_one();
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(json!({}))
        }
        .boxed()
    }));
    let worker = worker.start().unwrap();
    let id = world.start().await;
    begins.notified().await;
    worker.stop(Duration::from_secs(20)).await;
    let run = world.engine.get(id).await.unwrap();
    // The next one is nobody's: it was not taken along.
    let tasks: Vec<_> = run.tasks.iter().map(|task| (task.status, task.poll_count)).collect();
    assert_eq!(tasks[0], (TaskStatus::Completed, 1));
    assert_eq!(tasks[1].0, TaskStatus::Scheduled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_given_back_as_the_same_attempt() {
    let world = World::new(1).await;
    let began = Arc::new(Notify::new());
    let begins = began.clone();
    let never = work(move |_| {
        began.notify_one();
        std::future::pending().boxed()
    });
    let worker = world.worker().task(never).start().unwrap();
    let id = world.start().await;
    begins.notified().await;
    let begun = Instant::now();
    // Dropped, it stops all the same.
    let stopping = worker.stop(Duration::from_millis(10));
    assert!(tokio::time::timeout(Duration::from_millis(1), stopping).await.is_err());
    let given_back =
        async || world.engine.get(id).await.unwrap().tasks[0].status == TaskStatus::Scheduled;
    until("the task is given back", given_back).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "after {:?}", begun.elapsed());
    let other = world.worker().task(work(|_| async { Ok(json!({})) }.boxed())).start().unwrap();
    let run = world.end_of(id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_eq!((run.tasks.len(), run.tasks[0].retry_count), (1, 0));
    other.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_in_time_where_the_server_takes_no_results() {
    let world = World::new(1).await;
    world.wire.does(|asked| match asked.is_report() {
        true => Harm::Answer(503, ""),
        false => Harm::None,
    });
    let worker = world.worker().task(work(|_| async { Ok(json!({})) }.boxed())).start().unwrap();
    world.start().await;
    let wire = world.wire.clone();
    until("a report", async || !wire.seen(|asked| asked.is_report()).is_empty()).await;
    let begun = Instant::now();
    worker.stop(Duration::from_millis(100)).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "after {:?}", begun.elapsed());
}
