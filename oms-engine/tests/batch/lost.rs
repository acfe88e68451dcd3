//! Tasks that are taken out of a batch while it is under way.

use std::time::Duration;

use oms_engine::definition::TimeoutPolicy;
use oms_engine::{TaskDef, WorkflowDef, WorkflowId, WorkflowStatus};
use serde_json::json;

use crate::common::script::{told, until_task};
use crate::common::{until, wait};
use crate::{World, fine, step, world};

/// Runs whose tasks are in one batch that is held: the first of them is to be struck.
async fn held(world: &World) -> Vec<WorkflowId> {
    let mut hows = fine(6);
    hows.push(json!("hold"));
    let ids = world.start_together("order", &hows).await;
    world.book.gate.entered().await;
    assert!(!world.batches(ids[0]).is_empty(), "it is not in the batch that is held");
    ids
}

#[tokio::test]
async fn a_run_that_is_terminated_while_its_batch_is_under_way_leaves_no_write() {
    let world = world().await;
    let ids = held(&world).await;
    world.engine.terminate(ids[0], "not wanted").await.unwrap();
    // Once more for the rest.
    world.book.gate.open(2);
    for id in &ids[1..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    assert_eq!(world.engine.get(ids[0]).await.unwrap().status, WorkflowStatus::Terminated);
    world.check(7).await;
}

#[tokio::test]
async fn a_run_that_is_paused_while_its_batch_is_under_way_keeps_its_outcome() {
    let world = world().await;
    let ids = held(&world).await;
    world.engine.pause(ids[0]).await.unwrap();
    world.book.gate.open(2);
    for id in &ids[1..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    until_task(&world.engine, ids[0], "b", "COMPLETED").await;
    world.engine.resume(ids[0]).await.unwrap();
    assert_eq!(wait(&world.engine, ids[0]).await.status, WorkflowStatus::Completed);
    world.check(8).await;
}

#[tokio::test]
async fn a_lease_that_another_has_taken_leaves_no_write_of_the_batch_that_lost_it() {
    let world = world().await;
    let ids = held(&world).await;
    // As a rescue does it: the same attempt, under another token.
    let sql = "UPDATE oms_engine.open_tasks SET id = nextval('oms_engine.token_ids'), state = 0,
        holder = NULL WHERE workflow_id = $1::text::uuid";
    assert_eq!(world.client.execute(sql, &[&ids[0].to_string()]).await.unwrap(), 1);
    world.book.gate.open(2);
    for id in &ids[1..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    // Nobody was told of the ready task but the next who asks.
    world.start("order", &fine(1)).await;
    let beside = told(&world.database).pumps(1).transactional_batch_task(world.book.clone());
    let beside = beside.build().await.unwrap();
    assert_eq!(wait(&beside, ids[0]).await.status, WorkflowStatus::Completed);
    world.check(9).await;
}

#[tokio::test]
async fn a_task_whose_time_is_up_takes_its_hanging_batch_with_it_and_the_others_run_again() {
    let world = world().await;
    let policy = TaskDef::new("book").retry_count(0);
    let second = Duration::from_secs(1);
    let policy = policy.timeout(second, TimeoutPolicy::TimeOutWorkflow).response_timeout(second);
    let hasty = step("b").definition(policy);
    let def = WorkflowDef::builder("hasty").task(hasty).build().unwrap();
    world.engine.register_workflow(&def).await.unwrap();
    // They meet in a batch: those of the one workflow wait while the other's is under way.
    let first = world.start("order", &[json!("hold")]).await;
    world.book.gate.entered().await;
    let patient = world.start("order", &fine(3)).await;
    let hasty = world.start("hasty", &[json!("hang")]).await;
    until(&world.client, "SELECT count(*) = 5 FROM oms_engine.open_tasks WHERE state = 1").await;
    world.book.gate.open(1);
    world.book.gate.entered().await;
    assert_eq!(wait(&world.engine, hasty[0]).await.status, WorkflowStatus::TimedOut);
    for id in first.iter().chain(&patient) {
        let run = wait(&world.engine, *id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    }
    world.check(4).await;
}
