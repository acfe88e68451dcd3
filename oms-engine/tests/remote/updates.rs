//! What is reported of tasks, once, twice and too late.

use std::time::{Duration, Instant};

use oms_engine::{
    Error, LOG_LINES_MAX, TaskStatus, TaskUpdate, Updated, WorkflowId, WorkflowStatus,
};
use serde_json::json;

use crate::common::{assert_nothing_stuck, wait};
use crate::{done, id_of, poll_of, stage, start, take, until_lent, work};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_report_of_an_attempt_counts_and_no_other() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let id = start(&engine, "one").await;
    let task = id_of(&take(&engine, &poll_of("work")).await);
    let reports = (0..8).map(|n| {
        let (engine, task) = (engine.clone(), task.clone());
        tokio::spawn(async move { engine.update_task(&task, done(n)).await.unwrap() })
    });
    let mut written = 0;
    for report in reports.collect::<Vec<_>>() {
        written += usize::from(report.await.unwrap() == Updated::Written);
    }
    assert_eq!(written, 1);
    assert_eq!(engine.update_task(&task, done(9)).await.unwrap(), Updated::HadEnded);
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_tried_again_and_a_terminal_one_is_not() {
    let (_database, engine) = stage(&[("one", 1)]).await;
    engine.register_task(&work(|def| def.retry_count = 5)).await.unwrap();
    let id = start(&engine, "one").await;
    let first = take(&engine, &poll_of("work")).await;
    let failed = TaskUpdate::failed("not now").output(json!({"so_far": 1})).worker("other");
    engine.update_task(&id_of(&first), failed).await.unwrap();
    let second = take(&engine, &poll_of("work")).await;
    assert_eq!((second.retry_count, second.poll_count), (1, 1));
    engine.update_task(&id_of(&second), TaskUpdate::failed_terminally("never")).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    let first = &run.tasks[0];
    assert_eq!((first.status, first.worker_id.as_deref()), (TaskStatus::Failed, Some("other")));
    assert_eq!(first.output_data, json!({"so_far": 1}));
    assert_eq!(first.reason_for_incompletion.as_deref(), Some("not now"));
    assert_eq!(run.tasks[1].status, TaskStatus::FailedWithTerminalError);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_task_ends_its_run_terminated() {
    let (database, engine) = stage(&[("two", 2)]).await;
    let id = start(&engine, "two").await;
    let task = take(&engine, &poll_of("work")).await;
    engine.update_task(&id_of(&task), TaskUpdate::canceled("given up")).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Terminated);
    assert_eq!(run.tasks[0].status, TaskStatus::Canceled);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_progress_is_handed_out_again_after_its_time_with_what_it_gave() {
    let (database, engine) = stage(&[("one", 1)]).await;
    let id = start(&engine, "one").await;
    let time = Duration::from_millis(100);
    let mut given_back: Option<Instant> = None;
    for round in 1..=3 {
        let task = take(&engine, &poll_of("work")).await;
        assert!(given_back.is_none_or(|at| at.elapsed() >= time), "before its time");
        assert_eq!((task.poll_count, task.retry_count), (round, 0));
        if round == 2 {
            // Once as the pump that gave it out hears of it, once as it is read again.
            until_lent(&database, id).await;
        }
        let update =
            TaskUpdate::in_progress(time).output(json!({ "round": round })).reason("half way");
        given_back = Some(Instant::now());
        assert_eq!(engine.update_task(&id_of(&task), update).await.unwrap(), Updated::Written);
        let shown = engine.get(id).await.unwrap();
        assert_eq!(shown.tasks[0].output_data, json!({ "round": round }));
        assert_eq!(shown.tasks[0].reason_for_incompletion.as_deref(), Some("half way"));
    }
    let task = take(&engine, &poll_of("work")).await;
    assert!(given_back.is_some_and(|at| at.elapsed() >= time), "before its time");
    engine.update_task(&id_of(&task), done(1)).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.tasks.len(), run.tasks[0].poll_count), (1, 4));
    assert_eq!(run.tasks[0].output_data, json!({"value": 1}));
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_reported_by_its_name_and_keeps_what_it_had_given() {
    let (database, engine) = stage(&[("two", 2)]).await;
    let id = start(&engine, "two").await;
    let task = take(&engine, &poll_of("work")).await;
    let part = TaskUpdate::in_progress(Duration::ZERO).output(json!({"a": 1, "b": 1}));
    engine.update_task(&id_of(&task), part).await.unwrap();
    let update = TaskUpdate::completed(json!({"b": 2})).worker("by name");
    let named = engine.update_named_task(id, "work_0", update).await.unwrap();
    assert_eq!(named.unwrap().to_string(), task.task_id);
    let part = TaskUpdate::in_progress(Duration::from_secs(60)).output(json!({"c": 1}));
    engine.update_named_task(id, "work_1", part).await.unwrap().unwrap();
    let end = TaskUpdate::completed(json!({"d": 1}));
    engine.update_named_task(id, "work_1", end).await.unwrap().unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_eq!(run.tasks[0].output_data, json!({"a": 1, "b": 2}));
    assert_eq!(run.tasks[0].worker_id.as_deref(), Some("by name"));
    assert_eq!(run.tasks[1].output_data, json!({"c": 1, "d": 1}));
    let none = engine.update_named_task(id, "work_1", done(1)).await.unwrap();
    assert!(none.is_none());
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_too_large_fails_its_task_wherever_it_is_heard() {
    let (database, engine) = stage(&[("one", 1)]).await;
    for lent in [false, true] {
        let id = start(&engine, "one").await;
        let task = take(&engine, &poll_of("work")).await;
        if lent {
            until_lent(&database, id).await;
        }
        let large = "x".repeat(4 * 1024 * 1024);
        let update = TaskUpdate::completed(json!({ "large": large }));
        engine.update_task(&id_of(&task), update).await.unwrap();
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Failed, "{lent}");
        assert_eq!(run.tasks[0].status, TaskStatus::FailedWithTerminalError);
        assert!(run.tasks[0].reason_for_incompletion.as_ref().unwrap().contains("3145728"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_there_is_said_to_be_so() {
    let (_database, engine) = stage(&[("one", 1)]).await;
    let id = start(&engine, "one").await;
    for task in [format!("{id}.0.0.no"), format!("{}.0.0.work_0", WorkflowId::new())] {
        let task = task.parse().unwrap();
        let refused = engine.update_task(&task, done(1)).await.unwrap_err();
        assert!(matches!(refused, Error::TaskNotFound(_)), "{refused}");
        let refused = engine.extend_lease(&task).await.unwrap_err();
        assert!(matches!(refused, Error::TaskNotFound(_)), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_s_log_is_kept_up_to_its_bound() {
    let (_database, engine) = stage(&[("one", 1)]).await;
    start(&engine, "one").await;
    let task = id_of(&take(&engine, &poll_of("work")).await);
    engine.log_task(&task, vec!["first".to_owned()]).await.unwrap();
    let many = (0..LOG_LINES_MAX + 10).map(|n| n.to_string());
    engine.log_task(&task, many.collect()).await.unwrap();
    engine.log_task(&task, vec!["too many".to_owned()]).await.unwrap();
    let lines = engine.task_log(&task).await.unwrap();
    assert_eq!((lines.len(), &*lines[0].log, &*lines[1].log), (LOG_LINES_MAX, "first", "0"));
    let none = format!("{}.0.0.work_0", WorkflowId::new()).parse().unwrap();
    let refused = engine.log_task(&none, vec!["x".to_owned()]).await.unwrap_err();
    assert!(matches!(refused, Error::TaskNotFound(_)), "{refused}");
}
