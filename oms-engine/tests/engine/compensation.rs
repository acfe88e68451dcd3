//! Undoing beside what else becomes of a run: failure workflows, keys of steps, dead workers.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::script::{After, Notes, Undo, Work, told};
use crate::common::{assert_nothing_stuck, database, wait};
use oms_engine::definition::TaskDef;
use oms_engine::{Engine, StartRequest, TaskError, WorkflowDef, WorkflowStatus, WorkflowTask};
use serde_json::json;

fn order() -> WorkflowDef {
    let undo = || WorkflowTask::simple("undo", "").input("of", "${workflow.input.n}").retries(0);
    let fails = WorkflowTask::simple("after", "z").definition(TaskDef::new("after").retry_count(0));
    let def = WorkflowDef::builder("order")
        .task(WorkflowTask::simple("work", "a").undone_by(undo()))
        .task(WorkflowTask::simple("work", "b").undone_by(undo()))
        .task(fails);
    def.failure_workflow("unwinding").build().unwrap()
}

async fn engine(database: &oms_engine::testkit::TestDatabase, work: Work, undo: Undo) -> Engine {
    let times = AtomicUsize::new(0);
    let after = After::new(move |_, _| {
        let fails = times.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if fails { Err(TaskError::terminal("no")) } else { Ok(json!({})) } }
    });
    let engine = told(database).task(work).task(undo).task(after).build().await.unwrap();
    let step = WorkflowTask::simple("work", "u").input("all", "${workflow.input}");
    let unwinding = WorkflowDef::builder("unwinding").task(step).build().unwrap();
    engine.register(&[], &[unwinding, order()]).await.unwrap();
    engine
}

#[tokio::test]
async fn the_failure_workflow_starts_once_all_is_undone_and_sees_it() {
    let database = database().await;
    let work = Work::new(|_, _| async { Ok(json!({})) });
    let undo = Undo::new(|cx, _| async move {
        let fails = cx.task_id().reference_name == "b_undo";
        if fails { Err(TaskError::terminal("gone")) } else { Ok(json!({})) }
    });
    let engine = engine(&database, work, undo).await;
    let request = StartRequest::new("order").input(json!({"n": 1}));
    let run = wait(&engine, engine.start(request).await.unwrap().id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(run.not_compensated.len(), 1);
    let failure = wait(&engine, run.failure_workflow_id.unwrap()).await;
    let failed = &failure.input["failedWorkflow"];
    let seen: Vec<(&str, &str)> = failed["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["referenceTaskName"].as_str().unwrap(), t["status"].as_str().unwrap()))
        .collect();
    let expected = [
        ("a", "COMPLETED"),
        ("b", "COMPLETED"),
        ("z", "FAILED_WITH_TERMINAL_ERROR"),
        ("b_undo", "COMPLETED_WITH_ERRORS"),
        ("a_undo", "COMPLETED"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(failed["notCompensated"][0]["referenceTaskName"], "b");
    assert_eq!(failed["notCompensated"][0]["taskId"], run.task("b").unwrap().task_id);
    assert_eq!(failure.input["failureTaskId"], run.task("z").unwrap().task_id);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn after_a_retry_what_was_undone_has_a_new_key_and_what_was_not_the_old_one() {
    let database = database().await;
    let notes = Notes::default();
    let keys = notes.clone();
    let work = Work::new(move |cx, _| {
        keys.add(&cx.task_id().reference_name, &cx.idempotency_key());
        async { Ok(json!({})) }
    });
    let undo = Undo::new(|cx, _| async move {
        let fails = cx.task_id().reference_name == "b_undo";
        if fails { Err(TaskError::terminal("gone")) } else { Ok(json!({})) }
    });
    let engine = engine(&database, work, undo).await;
    let id = engine.start(StartRequest::new("order").input(json!({"n": 1}))).await.unwrap().id;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Failed);
    engine.retry(id, oms_engine::RetryOptions::default()).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert!(run.not_compensated.is_empty());
    let (a, b) = (notes.of("a"), notes.of("b"));
    assert_eq!((a.len(), b.len()), (2, 2));
    assert_ne!(a[0], a[1], "it was undone: it is done once more");
    assert_eq!(b[0], b[1], "it still stands: it is not done twice");
}

#[tokio::test]
async fn a_sub_workflow_that_could_be_undone_and_is_not_is_noticed() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    let undo = || WorkflowTask::simple("undo", "");
    let child =
        WorkflowDef::builder("child").task(WorkflowTask::simple("a", "a").undone_by(undo()));
    let child = child.build().unwrap();
    let plain = WorkflowDef::builder("plain").task(WorkflowTask::simple("a", "a")).build().unwrap();
    let parent = WorkflowDef::builder("parent")
        .task(WorkflowTask::sub_workflow("undone", "child").undone_by(undo()))
        .task(WorkflowTask::sub_workflow("left", "child"))
        .task(WorkflowTask::sub_workflow("nothing", "plain"))
        .task(WorkflowTask::sub_workflow("unknown", "none"))
        .task(WorkflowTask::sub_workflow_inline("inline", &child))
        .build()
        .unwrap();
    let notices = engine.register(&[], &[parent, child, plain]).await.unwrap().notices;
    let paths: Vec<&str> = notices.iter().map(|notice| notice.path.as_str()).collect();
    assert_eq!(paths, ["$.tasks[1]", "$.tasks[4]"], "{notices:?}");
    assert!(notices[0].message.ends_with("name a compensation here"), "{}", notices[0].message);
}
