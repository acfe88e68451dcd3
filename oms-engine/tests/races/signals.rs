//! Signals against what else may happen to the task that they are for.

use std::time::Duration;

use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Error, Signal, StartRequest, WorkflowDef, WorkflowId, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

use crate::common::{assert_nothing_stuck, database, engine, until, wait};
use crate::session::{Session, statement};
use crate::tasks::{Gate, Held};

const COMPLETED: i16 = 0;
const CANCELED: i16 = 6;

/// A run whose first task, `a`, is of this type, with a HUMAN task `b` behind it.
async fn waiting(database: &TestDatabase, kind: &str, input: Value) -> (Engine, WorkflowId) {
    let def = json!({"name": "w", "tasks": [
        {"name": "a", "taskReferenceName": "a", "type": kind, "inputParameters": input},
        {"name": "b", "taskReferenceName": "b", "type": "HUMAN"},
    ]});
    let engine = engine(database).build().await.unwrap();
    let def = WorkflowDef::from_json(&def.to_string()).unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let client = database.connect().await.unwrap();
    until(&client, &is_open("a")).await;
    (engine, id)
}

fn is_open(name: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM oms_engine.open_tasks
         WHERE reference_name = '{name}' AND state = 2)"
    )
}

fn is_conflict<T>(done: &Result<T, Error>) -> bool {
    matches!(done, Err(Error::Conflict { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_whose_time_comes_first_is_ended_by_it_and_the_signal_is_refused() {
    let database = database().await;
    let (engine, id) = waiting(&database, "WAIT", json!({"duration": "1 hours"})).await;
    let b = Session::on(&database).await;
    b.run("UPDATE oms_engine.open_tasks SET due_at = statement_timestamp()").await;
    b.run("BEGIN").await;
    b.0.query(&statement("release_due"), &[&10_i64]).await.unwrap();
    let signal = {
        let engine = engine.clone();
        tokio::spawn(
            async move { engine.signal(id, "a", Signal::completed(json!({"v": 1}))).await },
        )
    };
    b.somebody_waits().await;
    b.run("COMMIT").await;
    let signalled = signal.await.unwrap();
    assert!(is_conflict(&signalled), "{signalled:?}");
    until(&b.0, &is_open("b")).await;
    assert_eq!(b.history(id).await, [("a".to_owned(), 0, 0, COMPLETED)]);
    assert_eq!(engine.get(id).await.unwrap().tasks[0].output_data, json!({}));
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_comes_first_leaves_nothing_for_the_time_of_a_wait() {
    let database = database().await;
    let (engine, id) = waiting(&database, "WAIT", json!({"duration": "1 hours"})).await;
    let b = Session::on(&database).await;
    let c = Session::on(&database).await;
    // Both are held up by a third who has the token; the signal is there before the timer.
    b.run("BEGIN; SELECT id FROM oms_engine.open_tasks FOR UPDATE").await;
    let signal = {
        let engine = engine.clone();
        tokio::spawn(
            async move { engine.signal(id, "a", Signal::completed(json!({"v": 1}))).await },
        )
    };
    b.somebody_waits().await;
    b.run("COMMIT").await;
    signal.await.unwrap().unwrap();
    c.run(
        "UPDATE oms_engine.open_tasks SET due_at = statement_timestamp() WHERE task_type = 'WAIT'",
    )
    .await;
    assert!(c.0.query(&statement("release_due"), &[&10_i64]).await.unwrap().is_empty());
    assert_eq!(b.history(id).await, [("a".to_owned(), 0, 0, COMPLETED)]);
    assert_eq!(engine.get(id).await.unwrap().tasks[0].output_data, json!({"v": 1}));
}

/// Two things at once that both want the token, as somebody else has it.
async fn at_once<A, B>(
    b: &Session,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    b.run("BEGIN; SELECT id FROM oms_engine.open_tasks FOR UPDATE").await;
    let (first, second) = (tokio::spawn(first), tokio::spawn(second));
    b.somebody_waits().await;
    b.run("COMMIT").await;
    (first.await.unwrap(), second.await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_terminate_at_once_end_the_task_once_and_the_run_terminated() {
    let database = database().await;
    let (engine, id) = waiting(&database, "HUMAN", json!({})).await;
    let b = Session::on(&database).await;
    let (e, f) = (engine.clone(), engine.clone());
    let signal = async move { e.signal(id, "a", Signal::completed(json!({}))).await };
    let terminate = async move { f.terminate(id, "enough").await };
    let (signalled, terminated) = Box::pin(at_once(&b, signal, terminate)).await;
    terminated.unwrap();
    let history = b.history(id).await;
    let expected = match signalled {
        Ok(_) => vec![("a".to_owned(), 0, 0, COMPLETED), ("b".to_owned(), 0, 0, CANCELED)],
        Err(_) => vec![("a".to_owned(), 0, 0, CANCELED)],
    };
    assert_eq!(history, expected, "{signalled:?}");
    assert_eq!(engine.get(id).await.unwrap().status, WorkflowStatus::Terminated);
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_pause_at_once_lose_neither() {
    let database = database().await;
    let (engine, id) = waiting(&database, "HUMAN", json!({})).await;
    let b = Session::on(&database).await;
    let (e, f) = (engine.clone(), engine.clone());
    let signal = async move { e.signal(id, "a", Signal::completed(json!({}))).await };
    let pause = async move { f.pause(id).await };
    let (signalled, paused) = Box::pin(at_once(&b, signal, pause)).await;
    signalled.unwrap();
    paused.unwrap();
    assert_eq!(b.history(id).await, [("a".to_owned(), 0, 0, COMPLETED)]);
    assert_eq!(engine.get(id).await.unwrap().status, WorkflowStatus::Paused);
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.open_tasks WHERE paused").await, 1);
    engine.resume(id).await.unwrap();
    until(&b.0, &is_open("b")).await;
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_signals_at_once_one_counts() {
    let database = database().await;
    let (engine, id) = waiting(&database, "HUMAN", json!({})).await;
    let b = Session::on(&database).await;
    let say = |n: i64| {
        let engine = engine.clone();
        async move { engine.signal(id, "a", Signal::completed(json!({"n": n}))).await }
    };
    let (one, two) = Box::pin(at_once(&b, say(1), say(2))).await;
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert!(is_conflict(&one) || is_conflict(&two));
    let won = if one.is_ok() { 1 } else { 2 };
    assert_eq!(engine.get(id).await.unwrap().tasks[0].output_data, json!({"n": won}));
    assert_eq!(b.history(id).await, [("a".to_owned(), 0, 0, COMPLETED)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_for_the_task_of_a_worker_takes_its_lease() {
    let (database, gate) = (database().await, Gate::closed());
    let engine = engine(&database).task(Held(gate.clone())).build().await.unwrap();
    engine.register_workflow(&crate::common::line("w", &["held"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    gate.has_begun(1).await;
    let refused = engine.signal(id, "held_0", Signal::in_progress(json!({"v": 0}))).await;
    assert!(is_conflict(&refused), "{refused:?}");
    let task = engine.signal(id, "held_0", Signal::completed(json!({"v": 1}))).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, &run.output), (WorkflowStatus::Completed, &json!({"v": 1})));
    assert_eq!(run.tasks[0].task_id, task.to_string());
    assert_eq!(run.tasks[0].input_data, json!({"from_start": null}));
    // The worker's own report comes too late.
    gate.open();
    assert!(is_conflict(&engine.signal_task(&task, Signal::failed("late")).await));
    assert_eq!(engine.get(id).await.unwrap().output, json!({"v": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_begins_with_can_be_signalled_from_the_moment_it_is_there() {
    let database = database().await;
    let engine = engine(&database).build().await.unwrap();
    let mut client = database.connect().await.unwrap();
    for (name, step) in [
        ("for", WorkflowTask::wait_for("w", Duration::from_secs(3_600))),
        ("signal", WorkflowTask::wait_for_signal("w")),
        ("human", WorkflowTask::human("w")),
    ] {
        engine
            .register_workflow(&WorkflowDef::builder(name).task(step).build().unwrap())
            .await
            .unwrap();
        let tx = client.transaction().await.unwrap();
        let inside = engine.start_in(&tx, StartRequest::new(name)).await.unwrap();
        tx.commit().await.unwrap();
        let many = engine.start_many(vec![StartRequest::new(name); 2]).await.unwrap();
        let alone = engine.start(StartRequest::new(name)).await.unwrap();
        for started in [vec![inside], many, vec![alone]].concat() {
            let signal = Signal::completed(json!({"by": name}));
            engine.signal(started.id, "w", signal).await.unwrap();
            let run = wait(&engine, started.id).await;
            assert_eq!(run.status, WorkflowStatus::Completed, "{name}");
            assert!(name == "for" || run.tasks[0].start_time.is_some(), "{name}");
        }
    }
    assert_nothing_stuck(&client).await;
}
