//! Tasks that come while a batch is under way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::definition::WorkflowTask;
use oms_engine::{EngineBuilder, Error, WorkflowDef, WorkflowId, WorkflowStatus};
use serde_json::{Value, json};

use crate::common::script::{Gate, Notes, told};
use crate::common::{database, until, wait};
use crate::{Book, World, fine, step, world, world_with};

#[tokio::test]
async fn tasks_that_wait_for_a_batch_are_the_next_and_end_in_one_transaction() {
    let world = world().await;
    for id in world.start_together("order", &fine(20)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        let of = run.tasks[0].output_data["of"].as_u64().unwrap();
        assert!(of > 1, "it went alone");
    }
    world.check(21).await;
    until(&world.client, "SELECT count(*) = 21 FROM oms_engine.task_logs").await;
    let sql = "SELECT count(DISTINCT xmin::text) FROM effects";
    let transactions: i64 = world.client.query_one(sql, &[]).await.unwrap().get(0);
    assert!((2..20).contains(&transactions), "{transactions}");
}

#[tokio::test]
async fn a_task_that_comes_alone_goes_alone_at_once() {
    let world = world().await;
    let id = world.start("order", &fine(1)).await[0];
    assert_eq!(wait(&world.engine, id).await.tasks[0].output_data, json!({"of": 1}));
    world.check(1).await;
}

#[tokio::test]
async fn a_step_that_memory_cannot_decide_ends_alone_and_completes() {
    let world = world().await;
    let def = WorkflowDef::builder("told").task(step("b"));
    let def = def.task(WorkflowTask::event("e", "conductor:booked")).build().unwrap();
    world.engine.register_workflow(&def).await.unwrap();
    for id in world.start_together("told", &fine(6)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 2));
    }
    world.check(7).await;
}

#[tokio::test]
async fn branches_of_one_run_end_in_one_batch_and_their_join_goes_on_once() {
    let world = world().await;
    let branches = (0..10).map(|n| vec![step(&format!("b{n}"))]);
    let def = WorkflowDef::builder("wide").task(WorkflowTask::fork("f", branches));
    let def = def.task(WorkflowTask::join("j", (0..10).map(|n| format!("b{n}"))));
    let def = def.task(step("last")).build().unwrap();
    world.engine.register_workflow(&def).await.unwrap();
    for id in world.start("wide", &fine(5)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 13));
    }
    world.check(55).await;
}

#[tokio::test]
async fn three_hundred_runs_of_three_steps_write_each_row_once_in_batches_of_the_size_allowed() {
    let world = world_with(|builder| builder.pumps(2).task_batch_size("book", 16)).await;
    let steps = ["one", "two", "three"];
    let def = steps.iter().fold(WorkflowDef::builder("three"), |def, name| def.task(step(name)));
    world.engine.register_workflow(&def.build().unwrap()).await.unwrap();
    let mut sizes = BTreeSet::new();
    for id in world.start("three", &fine(300)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 3));
        sizes.extend(run.tasks.iter().map(|task| task.output_data["of"].as_u64().unwrap()));
    }
    assert!(*sizes.last().unwrap() <= 16 && sizes.len() > 1, "{sizes:?}");
    world.check(900).await;
}

#[tokio::test]
async fn a_batch_that_may_wait_goes_when_it_is_full_or_its_time_is_up() {
    let second = Duration::from_secs(1);
    let wait =
        |builder: EngineBuilder| builder.task_batch_size("book", 5).task_batch_wait("book", second);
    let world = world_with(wait).await;
    let begun = Instant::now();
    let ids = world.start("order", &fine(5)).await;
    for id in ids {
        assert_eq!(wait_for(&world, id).await, json!({"of": 5}));
    }
    assert!(begun.elapsed() < second, "a full batch waited");
    let begun = Instant::now();
    let ids = [world.start("order", &fine(1)).await[0], world.start("order", &fine(1)).await[0]];
    for id in ids {
        assert_eq!(wait_for(&world, id).await, json!({"of": 2}));
    }
    assert!(begun.elapsed() >= second, "nobody waited");
    world.check(7).await;
}

async fn wait_for(world: &World, id: WorkflowId) -> Value {
    wait(&world.engine, id).await.tasks[0].output_data.clone()
}

#[tokio::test]
async fn a_batch_size_is_one_of_a_task_that_does_many_at_once() {
    let database = database().await;
    let book = Book { gate: Gate::new(), notes: Notes::default() };
    for (name, size) in [("book", 0), ("book", 501), ("bok", 10)] {
        let builder = told(&database).transactional_batch_task(book.clone());
        let refused = builder.task_batch_size(name, size).build().await.unwrap_err();
        assert!(matches!(&refused, Error::Config(why) if why.contains("1 to 500")), "{refused}");
    }
}
