//! What a task says is what its run gets.

use std::time::Duration;

use futures_util::FutureExt as _;
use oms_engine::{TaskError, TaskStatus, WorkflowStatus, idempotency_key};
use serde_json::json;

use crate::world::{World, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_completes_gives_its_output_and_its_log() {
    let world = World::new(2).await;
    let worker = world.worker().task(work(|cx| {
        async move {
            cx.log("seen");
            Ok(json!({ "key": cx.idempotency_key(), "attempt": cx.attempt() }))
        }
        .boxed()
    }));
    let worker = worker.start().unwrap();
    let id = world.start().await;
    let run = world.end_of(id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let key = idempotency_key(id, "work_1", 0);
    let task = run.task("work_1").unwrap();
    assert_eq!(task.output_data, json!({ "key": key, "attempt": 0 }));
    let log = world.engine.task_log(&task.task_id.parse().unwrap()).await.unwrap();
    assert_eq!(log[0].log, "seen");
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_panics_fail_the_attempt_and_the_policy_decides_what_follows() {
    let world = World::new(1).await;
    let worker = world.worker().task(work(|cx| {
        async move {
            match cx.attempt() {
                0 => Err(TaskError::retry("not yet").with_output(json!({ "seen": 1 }))),
                1 => panic!("by mistake"),
                attempt => Ok(json!(attempt)),
            }
        }
        .boxed()
    }));
    let worker = worker.start().unwrap();
    let run = world.end_of(world.start().await).await;
    let attempts: Vec<_> = run.tasks.iter().map(|task| (task.status, &task.output_data)).collect();
    let (seen, none, result) = (json!({ "seen": 1 }), json!({}), json!({ "result": 2 }));
    let expected = [
        (TaskStatus::Failed, &seen),
        (TaskStatus::Failed, &none),
        (TaskStatus::Completed, &result),
    ];
    assert_eq!(attempts, expected);
    let reasons = run.tasks.iter().map(|task| task.reason_for_incompletion.as_deref());
    let reasons: Vec<_> = reasons.flatten().collect();
    assert_eq!(reasons[..2], ["not yet", "the task panicked: by mistake"]);
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_error_ends_the_step_for_good_with_its_reason() {
    let world = World::new(1).await;
    let refuses = work(|_| async { Err(TaskError::terminal("no such card")) }.boxed());
    let worker = world.worker().task(refuses).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(run.tasks.len(), 1);
    assert_eq!(run.tasks[0].status, TaskStatus::FailedWithTerminalError);
    assert_eq!(run.tasks[0].reason_for_incompletion.as_deref(), Some("no such card"));
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_yet_is_handed_out_again_as_the_same_attempt() {
    let world = World::new(1).await;
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let worker = world.worker().task(work(move |cx| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            if call == 0 {
                return Err(TaskError::in_progress(Duration::from_millis(200)));
            }
            Ok(json!({ "call": call, "attempt": cx.attempt() }))
        }
        .boxed()
    }));
    let worker = worker.start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.tasks.len(), 1);
    assert_eq!(run.tasks[0].output_data, json!({ "call": 1, "attempt": 0 }));
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_no_server_could_keep_ends_the_step_for_good() {
    let world = World::new(1).await;
    let nul = work(|_| async { Ok(json!({ "text": "a\0b" })) }.boxed());
    let worker = world.worker().task(nul).start().unwrap();
    let run = world.end_of(world.start().await).await;
    let reason = run.tasks[0].reason_for_incompletion.as_deref().unwrap();
    assert!(reason.contains("NUL"), "{reason}");
    worker.stop(Duration::from_secs(5)).await;
}
