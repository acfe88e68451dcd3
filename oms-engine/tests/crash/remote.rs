//! Engines that give tasks to workers outside are killed.

use std::time::{Duration, Instant};

use oms_engine::{Engine, PollRequest, StartRequest, TaskUpdate, Updated, WorkflowStatus};
use serde_json::json;

use crate::common::{assert_nothing_stuck, database, line, until, wait};
use crate::wait_until;
use crate::witness::Witness;
use crate::worker::Launch;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_claimed_and_reached_no_worker_is_handed_out_within_seconds() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let killed = Launch::new(database.url(), &witness).polls(false).start();
    let id = engine.start(StartRequest::new("one")).await.unwrap().id;
    wait_until("the task is claimed", || witness.lines().len() == 1);
    let request = PollRequest::new("work", "near").wait(Duration::from_secs(30));
    let begun = Instant::now();
    killed.kill();
    let mut tasks = engine.poll(&request).await.unwrap().delivered();
    let after = begun.elapsed();
    println!("a claim that reached no worker came back {after:?} after the kill");
    assert!(after < Duration::from_secs(5), "{after:?}");
    let task = tasks.remove(0);
    assert_eq!((task.poll_count, task.retry_count), (2, 0));
    let update = TaskUpdate::completed(json!({}));
    engine.update_task(&task.task_id.parse().unwrap(), update).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    assert_nothing_stuck(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_its_worker_has_stays_with_it_when_the_engine_is_killed() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let killed = Launch::new(database.url(), &witness).polls(true).start();
    let id = engine.start(StartRequest::new("one")).await.unwrap().id;
    wait_until("the task is claimed", || witness.lines().len() == 1);
    until(&client, "SELECT EXISTS (SELECT FROM oms_engine.open_tasks WHERE holder = -1)").await;
    killed.kill();
    until(&client, "SELECT count(*) = 1 FROM oms_engine.sessions WHERE dead_at IS NULL").await;
    let task = witness.lines()[0].task_id.parse().unwrap();
    let update = TaskUpdate::completed(json!({}));
    assert_eq!(engine.update_task(&task, update).await.unwrap(), Updated::Written);
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks[0].poll_count), (WorkflowStatus::Completed, 1));
    assert_nothing_stuck(&client).await;
}
