//! Who gets what, and when.

use std::time::{Duration, Instant};

use oms_engine::{Error, PollRequest, StartRequest, TaskStatus, WorkflowStatus};
use serde_json::json;

use crate::common::script::{Gate, Work, told, until_task};
use crate::common::{assert_nothing_stuck, wait};
use crate::{done, id_of, poll_of, stage, start, take};

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_waits_is_answered_by_the_start_and_each_report_opens_the_next() {
    let (database, engine) = stage(&[("three", 3)]).await;
    let waiting = engine.clone();
    let first = tokio::spawn(async move { take(&waiting, &poll_of("work")).await });
    let request = StartRequest::new("three").input(json!({"value": 7})).correlation_id("c");
    let id = engine.start(request).await.unwrap().id;
    let mut task = first.await.unwrap();
    assert_eq!(task.input_data.as_ref(), &json!({"from_start": 7}));
    assert_eq!((&*task.task_type, &*task.task_def_name), ("work", "work"));
    assert_eq!((&*task.reference_task_name, task.status), ("work_0", TaskStatus::InProgress));
    assert_eq!((&*task.workflow_type, task.workflow_version), ("three", 1));
    assert_eq!(task.correlation_id.as_deref(), Some("c"));
    assert_eq!((task.retry_count, task.poll_count, task.iteration), (0, 1, 0));
    assert_eq!(task.response_timeout_seconds, 3600);
    assert_eq!(task.idempotency_key, format!("{id}:work_0:0"));
    assert_eq!(task.workflow_task.as_ref().unwrap().task_reference_name, "work_0");
    for value in 0..3 {
        engine.update_task(&id_of(&task), done(value)).await.unwrap();
        if value < 2 {
            task = take(&engine, &poll_of("work")).await;
        }
    }
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_eq!(run.tasks[2].input_data, json!({"from_start": 7, "before": 1}));
    let workers: Vec<_> = run.tasks.iter().map(|task| task.worker_id.as_deref()).collect();
    assert_eq!(workers, [Some("far"); 3]);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_queue_gives_nothing_when_the_time_is_up() {
    let (_database, engine) = stage(&[]).await;
    let begun = Instant::now();
    let request = PollRequest::new("work", "far").wait(Duration::from_millis(200));
    assert!(engine.poll(&request).await.unwrap().tasks().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(engine.poll(&PollRequest::new("work", "far")).await.unwrap().tasks().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_without_a_wait_gets_what_is_there_up_to_its_count() {
    let (_database, engine) = stage(&[("one", 1)]).await;
    for _ in 0..5 {
        start(&engine, "one").await;
    }
    let request = PollRequest::new("work", "far").count(3);
    let mut got = Vec::new();
    for expected in [3, 2, 0] {
        let tasks = engine.poll(&request).await.unwrap().delivered();
        assert_eq!(tasks.len(), expected);
        got.extend(tasks.into_iter().map(|task| task.task_id));
    }
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_reach_its_worker_comes_back_at_once() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let id = start(&engine, "one").await;
    let begun = Instant::now();
    drop(engine.poll(&poll_of("work")).await.unwrap());
    // One whose caller goes while it waits, with nothing there.
    let none = tokio::time::timeout(Duration::from_millis(50), engine.poll(&poll_of("none"))).await;
    assert!(none.is_err());
    let task = take(&engine, &poll_of("work")).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "back after {:?}", begun.elapsed());
    assert_eq!((task.poll_count, task.retry_count), (2, 0));
    engine.update_task(&id_of(&task), done(1)).await.unwrap();
    assert_eq!(wait(&engine, id).await.tasks.len(), 1);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_hears_of_what_another_engine_wrote() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let other = told(&database).build().await.unwrap();
    let waiting = tokio::spawn(async move { take(&other, &poll_of("work")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    start(&engine, "one").await;
    waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "told after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_this_process_and_one_from_outside_share_a_queue() {
    let (database, first) = stage(&[("one", 1)]).await;
    first.shutdown(Duration::ZERO).await;
    let gate = Gate::new();
    let held = gate.clone();
    let own = Work::new(move |_, _| {
        let gate = held.clone();
        async move {
            gate.enter().await;
            Ok(json!({"value": 1}))
        }
    });
    let engine = told(&database).task(own).concurrency(1).build().await.unwrap();
    let (a, b) = (start(&engine, "one").await, start(&engine, "one").await);
    gate.entered().await;
    let task = take(&engine, &poll_of("work")).await;
    engine.update_task(&id_of(&task), done(2)).await.unwrap();
    gate.open(1);
    // Whichever found the slot of this process free; the other is polled.
    for id in [a, b] {
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        let of = if id == task.workflow_instance_id { 2 } else { 1 };
        assert_eq!(run.tasks[0].output_data["value"], of);
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_polls_that_wait_ask_the_database_for_nothing() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let polls = (0..100).map(|n| {
        let engine = engine.clone();
        let request = PollRequest::new(format!("idle_{}", n % 10), "far").wait(crate::SOON);
        tokio::spawn(async move { engine.poll(&request).await.map(|polled| polled.tasks().len()) })
    });
    let polls: Vec<_> = polls.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let client = database.connect().await.unwrap();
    // What stands in pg_stat_activity is when each connection last began a statement.
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND query LIKE '%unnest($36%' AND pid <> pg_backend_pid()
        AND query_start > now() - interval '300 milliseconds'";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0, "a claim while nothing was there");
    engine.shutdown(Duration::ZERO).await;
    for poll in polls {
        assert_eq!(poll.await.unwrap().unwrap(), 0, "a shutdown answers those who wait");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_s_task_may_be_had_and_reported_and_the_rest_waits() {
    let (database, engine) = stage(&[("two", 2)]).await;
    let id = start(&engine, "two").await;
    engine.pause(id).await.unwrap();
    let task = take(&engine, &poll_of("work")).await;
    engine.update_task(&id_of(&task), done(1)).await.unwrap();
    let request = PollRequest::new("work", "far").wait(Duration::from_millis(200));
    assert!(engine.poll(&request).await.unwrap().tasks().is_empty());
    engine.resume(id).await.unwrap();
    let task = take(&engine, &poll_of("work")).await;
    assert_eq!(task.reference_task_name, "work_1");
    until_task(&engine, id, "work_0", "COMPLETED").await;
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_cannot_be_meant_is_refused() {
    let (_database, engine) = stage(&[]).await;
    let poll = |task_type: &str, worker: &str| PollRequest::new(task_type, worker);
    for (request, part) in [
        (poll("", "far"), "task type refused: is empty"),
        (poll("$system", "far"), "begins with $"),
        (poll("work", ""), "worker id refused"),
        (poll("work", "far").domain("a:b"), "domain refused"),
        (poll("work", "far").count(0), "0 is not within 1 to 1000"),
        (poll("work", "far").wait(Duration::from_secs(61)), "is longer than 60s"),
    ] {
        let refused = engine.poll(&request).await.unwrap_err();
        assert!(matches!(refused, Error::InvalidInput { .. }), "{refused}");
        assert!(refused.to_string().contains(part), "{refused}");
    }
}
