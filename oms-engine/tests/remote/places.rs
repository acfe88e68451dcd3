//! Limits, domains, groups and namespaces, as for workers of the engine's process.

use std::time::Duration;

use oms_engine::{PollRequest, StartRequest, WorkflowStatus};

use crate::common::script::told;
use crate::common::{assert_nothing_stuck, until, wait};
use crate::{done, id_of, poll_of, stage, start, take, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_over_all_engines_that_are_asked() {
    let (database, first) = stage(&[("one", 1)]).await;
    let second = told(&database).build().await.unwrap();
    first.register_task(&work(|def| def.concurrent_exec_limit = Some(2))).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(start(&first, "one").await);
    }
    let many = |ms| PollRequest::new("work", "far").count(10).wait(Duration::from_millis(ms));
    let mut out = first.poll(&many(5_000)).await.unwrap().delivered();
    out.extend(second.poll(&many(300)).await.unwrap().delivered());
    assert_eq!(out.len(), 2);
    while let Some(task) = out.pop() {
        second.update_task(&id_of(&task), done(1)).await.unwrap();
        let next = second.poll(&many(if ids.len() > 2 { 5_000 } else { 300 })).await.unwrap();
        out.extend(next.delivered());
        assert!(out.len() <= 2);
        ids.retain(|id| *id != task.workflow_instance_id);
    }
    assert!(ids.is_empty(), "{ids:?}");
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_came_back_leaves_its_place_in_the_limit() {
    let (_database, engine) = stage(&[("one", 1)]).await;
    engine.register_task(&work(|def| def.concurrent_exec_limit = Some(1))).await.unwrap();
    start(&engine, "one").await;
    start(&engine, "one").await;
    let first = engine.poll(&poll_of("work")).await.unwrap();
    assert_eq!(first.tasks().len(), 1);
    drop(first);
    take(&engine, &poll_of("work")).await;
    let none = PollRequest::new("work", "far").wait(Duration::from_millis(200));
    assert!(engine.poll(&none).await.unwrap().tasks().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_whose_worker_asks_gets_its_tasks_and_no_others() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let of = |domain: &str| poll_of("work").domain(domain);
    // It has asked, in vain.
    let asks = PollRequest::new("work", "far").domain("eu");
    assert!(engine.poll(&asks).await.unwrap().tasks().is_empty());
    let request = || StartRequest::new("one").task_to_domain("work", "eu,us");
    let eu = engine.start(request()).await.unwrap().id;
    let plain = start(&engine, "one").await;
    let task = take(&engine, &of("eu")).await;
    assert_eq!((task.workflow_instance_id, task.domain.as_deref()), (eu, Some("eu")));
    assert_eq!(task.task_type, "work");
    engine.update_task(&id_of(&task), done(1)).await.unwrap();
    let task = take(&engine, &poll_of("work")).await;
    assert_eq!((task.workflow_instance_id, task.domain), (plain, None));
    // Another engine hears of it with the heartbeats.
    let told_of = "SELECT EXISTS (SELECT FROM oms_engine.worker_polls WHERE domain = 'eu')";
    until(&database.connect().await.unwrap(), told_of).await;
    let other = told(&database).build().await.unwrap();
    let id = other.start(request()).await.unwrap().id;
    assert_eq!(take(&engine, &of("eu")).await.workflow_instance_id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_and_a_namespace_are_asked_for_by_the_whole_name() {
    let (database, engine) = stage(&[("two", 2)]).await;
    let def = work(|def| {
        def.isolation_group_id = Some("g".to_owned());
        def.execution_name_space = Some("x".to_owned());
        def.concurrent_exec_limit = Some(1);
    });
    engine.register_task(&def).await.unwrap();
    let id = start(&engine, "two").await;
    let common = PollRequest::new("work", "far").wait(Duration::from_millis(100));
    assert!(engine.poll(&common).await.unwrap().tasks().is_empty());
    for value in 0..2 {
        let task = take(&engine, &poll_of("work@x-g")).await;
        assert_eq!((&*task.task_type, &*task.task_def_name), ("work", "work"));
        if value == 1 {
            crate::until_lent(&database, id).await;
        }
        engine.update_task(&id_of(&task), done(value)).await.unwrap();
    }
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}
