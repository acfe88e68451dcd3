//! Results reach the server whatever happens between, and count once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use oms_engine::{TaskStatus, WorkflowStatus};
use serde_json::json;

use crate::wire::Harm;
use crate::world::{World, work};

#[tokio::test(flavor = "multi_thread")]
async fn results_whose_answers_are_lost_refused_or_sent_twice_count_once_and_none_is_lost() {
    const RUNS: usize = 20;
    let world = World::with(3, crate::world::work_def(2)).await;
    let reports = AtomicUsize::new(0);
    world.wire.does(move |asked| {
        if !asked.is_report() {
            return Harm::None;
        }
        match reports.fetch_add(1, Ordering::SeqCst) % 6 {
            0 => Harm::LoseAnswer,
            4 => Harm::Answer(404, "<p>no upstream</p>"),
            1 => Harm::Answer(503, "{\"message\": \"busy\"}"),
            2 => Harm::Twice,
            3 => Harm::Answer(500, "no JSON"),
            _ => Harm::None,
        }
    });
    let ran = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let counted = ran.clone();
    let worker = world.worker().task(work(move |cx| {
        let attempt = (cx.idempotency_key().to_owned(), cx.attempt());
        *counted.lock().unwrap().entry(attempt).or_insert(0) += 1;
        async { Ok(json!({})) }.boxed()
    }));
    let worker = worker.start().unwrap();
    let mut ids = Vec::new();
    for _ in 0..RUNS {
        ids.push(world.start().await);
    }
    for id in ids {
        let run = world.end_of(id).await;
        assert_eq!(run.status, WorkflowStatus::Completed, "{run:?}");
        let done = run.tasks.iter().filter(|task| task.status == TaskStatus::Completed);
        assert_eq!(done.count(), 3);
    }
    // A task that came with an answer that was lost is handed out again as the next attempt.
    assert!(ran.lock().unwrap().values().all(|times| *times == 1), "{ran:?}");
    worker.stop(Duration::from_secs(5)).await;
    let at_most = world.wire.seen(|asked| asked.is_report()).len();
    assert!(at_most >= RUNS * 3, "{at_most} reports");
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_fail_are_tried_again() {
    let world = World::new(1).await;
    let polls = AtomicUsize::new(0);
    world.wire.does(move |asked| match asked.is_poll() {
        true if polls.fetch_add(1, Ordering::SeqCst) < 3 => Harm::Answer(502, ""),
        _ => Harm::None,
    });
    let worker = world.worker().task(work(|_| async { Ok(json!({})) }.boxed())).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_update_v2_is_asked_by_the_older_endpoint() {
    let world = World::new(3).await;
    world.wire.does(|asked| match asked.path.as_str() {
        "/api/tasks/update-v2" => Harm::Answer(404, "{\"message\": \"no such path\"}"),
        _ => Harm::None,
    });
    let asked_v2 = || world.wire.seen(|asked| asked.path == "/api/tasks/update-v2").len();
    let asked_older = || world.wire.seen(|asked| asked.path == "/api/tasks").len();
    let work_one_run = async || {
        let does = work(|_| async { Ok(json!({})) }.boxed());
        let worker = world.worker().task(does).start().unwrap();
        let run = world.end_of(world.start().await).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        // Every report is answered then.
        worker.stop(Duration::from_secs(60)).await;
    };
    work_one_run().await;
    // A poll may bring the next task before the older endpoint's first answer has come.
    let tried = asked_v2();
    assert!((1..=3).contains(&tried), "{tried}");
    assert_eq!(asked_older(), 3);
    work_one_run().await;
    assert_eq!(asked_v2(), tried);
    assert_eq!(asked_older(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_the_server_will_not_have_ends_the_step_for_good_and_says_why() {
    let world = World::new(1).await;
    world.wire.does(|asked| match asked.is_report() && asked.body.contains("COMPLETED") {
        true => Harm::Answer(413, "{\"message\": \"too large\"}"),
        false => Harm::None,
    });
    let worker = world.worker().task(work(|_| async { Ok(json!({})) }.boxed())).start().unwrap();
    let run = world.end_of(world.start().await).await;
    let task = &run.tasks[0];
    assert_eq!(task.status, TaskStatus::FailedWithTerminalError);
    let reason = task.reason_for_incompletion.as_deref().unwrap();
    assert!(reason.contains("413 too large"), "{reason}");
    worker.stop(Duration::from_secs(5)).await;
}
