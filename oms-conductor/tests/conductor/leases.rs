//! A task that takes long is kept; one that the server has given up is not gone on with.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use oms_engine::WorkflowStatus;
use serde_json::json;
use tokio::sync::Notify;

use crate::world::{World, work, work_def};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_longer_than_the_response_time_out_is_kept() {
    let world = World::with(1, work_def(1)).await;
    let slow = work(|_| {
        async {
            tokio::time::sleep(Duration::from_millis(3_500)).await;
            Ok(json!({}))
        }
        .boxed()
    });
    let worker = world.worker().task(slow).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let attempts: Vec<_> =
        run.tasks.iter().map(|task| (task.retry_count, task.poll_count)).collect();
    assert_eq!(attempts, [(0, 1)]);
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_thread_is_blocked_is_kept() {
    let world = World::with(1, work_def(1)).await;
    let blocks = work(|_| {
        async {
            std::thread::sleep(Duration::from_millis(2_500));
            Ok(json!({}))
        }
        .boxed()
    });
    let worker = world.worker().task(blocks).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.tasks.len(), 1, "{:?}", run.tasks);
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_run_was_ended_is_canceled() {
    let world = World::with(1, work_def(1)).await;
    let (began, canceled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, cancels) = (began.clone(), canceled.clone());
    let worker = world.worker().task(work(move |cx| {
        let (began, canceled) = (began.clone(), canceled.clone());
        async move {
            began.notify_one();
            cx.cancelled().await;
            canceled.notify_one();
            assert!(cx.heartbeat().await.is_err());
            Ok(json!({}))
        }
        .boxed()
    }));
    let worker = worker.start().unwrap();
    let id = world.start().await;
    begins.notified().await;
    world.engine.terminate(id, "no longer wanted").await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), cancels.notified()).await.unwrap();
    worker.stop(Duration::from_secs(5)).await;
    assert_eq!(world.end_of(id).await.status, WorkflowStatus::Terminated);
}
