//! How long a worker outside may be silent, and what its engine's end means for it.

use std::time::{Duration, Instant};

use oms_engine::definition::TimeoutPolicy;
use oms_engine::{TaskStatus, TaskUpdate, Updated, WorkflowStatus};

use crate::common::script::{told, until_task};
use crate::common::{assert_nothing_stuck, until, wait};
use crate::{done, id_of, poll_of, stage, start, take, until_lent, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_on_when_the_engine_that_gave_it_out_is_gone() {
    let (database, other) = stage(&[("two", 2)]).await;
    let engine = told(&database).build().await.unwrap();
    let id = start(&other, "two").await;
    let task = take(&engine, &poll_of("work")).await;
    until_lent(&database, id).await;
    // As if it were killed: nothing is given back.
    drop(engine);
    let client = database.connect().await.unwrap();
    until(&client, "SELECT count(*) = 1 FROM oms_engine.sessions WHERE dead_at IS NULL").await;
    assert_eq!(other.update_task(&id_of(&task), done(1)).await.unwrap(), Updated::Written);
    let next = take(&other, &poll_of("work")).await;
    other.update_task(&id_of(&next), done(2)).await.unwrap();
    let run = wait(&other, id).await;
    assert_eq!((run.status, run.tasks[0].poll_count), (WorkflowStatus::Completed, 1));
    assert_eq!(run.tasks[0].worker_id.as_deref(), Some("far"));
    assert_nothing_stuck(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_leaves_tasks_with_their_workers_and_gives_back_what_reached_none() {
    let (database, other) = stage(&[("one", 1)]).await;
    let engine = told(&database).build().await.unwrap();
    let ids = [start(&other, "one").await, start(&other, "one").await];
    let had = take(&engine, &poll_of("work")).await;
    let on_its_way = engine.poll(&poll_of("work")).await.unwrap();
    assert_eq!(on_its_way.tasks().len(), 1);
    let begun = Instant::now();
    engine.shutdown(Duration::from_millis(200)).await;
    let again = take(&other, &poll_of("work")).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((again.task_id.as_str(), again.poll_count), (&*on_its_way.tasks()[0].task_id, 2));
    for task in [&had, &again] {
        assert_eq!(other.update_task(&id_of(task), done(1)).await.unwrap(), Updated::Written);
    }
    for id in ids {
        assert_eq!(wait(&other, id).await.status, WorkflowStatus::Completed);
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_not_heard_of_in_time_loses_its_task_to_the_next_attempt() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let def = work(|def| {
        def.response_timeout_seconds = 1;
        def.timeout_policy = TimeoutPolicy::TimeOutWorkflow;
        def.retry_count = 1;
    });
    engine.register_task(&def).await.unwrap();
    let id = start(&engine, "one").await;
    let begun = Instant::now();
    let first = take(&engine, &poll_of("work")).await;
    assert_eq!(first.response_timeout_seconds, 1);
    let second = take(&engine, &poll_of("work")).await;
    assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
    assert_eq!(second.retry_count, 1);
    let late = engine.update_task(&id_of(&first), done(1)).await.unwrap();
    assert_eq!(late, Updated::HadEnded);
    assert_eq!(engine.extend_lease(&id_of(&first)).await.unwrap(), Updated::HadEnded);
    engine.update_task(&id_of(&second), done(2)).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 2));
    assert_eq!(run.tasks[0].status, TaskStatus::TimedOut);
    let reason = format!(
        "responseTimeout: 1 exceeded for the taskId: {} with Task Definition: work",
        first.task_id
    );
    assert_eq!(run.tasks[0].reason_for_incompletion.as_ref(), Some(&reason));
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_says_so_keeps_its_task_but_not_beyond_the_attempt_s_time() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let def = work(|def| {
        def.response_timeout_seconds = 1;
        def.timeout_seconds = 3;
        def.timeout_policy = TimeoutPolicy::Retry;
        def.retry_count = 0;
    });
    engine.register_task(&def).await.unwrap();
    let id = start(&engine, "one").await;
    let begun = Instant::now();
    let task = id_of(&take(&engine, &poll_of("work")).await);
    until_lent(&database, id).await;
    while engine.extend_lease(&task).await.unwrap() == Updated::Written {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(2_990), "{:?}", begun.elapsed());
    let run = wait(&engine, id).await;
    assert_eq!(run.tasks[0].status, TaskStatus::TimedOut);
    let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
    assert!(reason.starts_with("timeoutSeconds: 3 exceeded"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_that_only_alerts_leaves_that_of_the_worker_s_silence() {
    let (_database, engine) = stage(&[("one", 1)]).await;
    let def = work(|def| {
        def.response_timeout_seconds = 1;
        def.timeout_seconds = 1;
        def.timeout_policy = TimeoutPolicy::AlertOnly;
        def.retry_count = 0;
    });
    engine.register_task(&def).await.unwrap();
    let id = start(&engine, "one").await;
    take(&engine, &poll_of("work")).await;
    let run = wait(&engine, id).await;
    assert_eq!(run.tasks[0].status, TaskStatus::TimedOut);
    let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
    assert!(reason.starts_with("responseTimeout: 1 exceeded"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_terminated_takes_its_task_from_the_worker() {
    let (database, engine) = stage(&[("one", 1)]).await;
    for lent in [false, true] {
        let id = start(&engine, "one").await;
        let task = id_of(&take(&engine, &poll_of("work")).await);
        if lent {
            until_lent(&database, id).await;
        }
        engine.terminate(id, "no more").await.unwrap();
        let late = engine.update_task(&task, TaskUpdate::failed("late")).await.unwrap();
        assert_eq!(late, Updated::HadEnded);
        until_task(&engine, id, "work_0", "CANCELED").await;
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}
