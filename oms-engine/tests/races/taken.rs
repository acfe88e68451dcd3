//! Operators against steps: whoever takes a run's tokens takes all of them.

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, RestartOptions, StartRequest, WorkflowId, WorkflowStatus};

use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use crate::session::{Session, Step};
use crate::tasks::{Gate, Held, HeldBook, Quick};

const COMPLETED: i16 = 0;
const CANCELED: i16 = 6;

/// An engine that runs nothing, and a run of two steps whose first is leased to somebody else.
async fn foreign_run(database: &TestDatabase, b: &Session) -> (Engine, WorkflowId, Step<'static>) {
    let engine = engine(database).build().await.unwrap();
    engine.register_workflow(&line("w", &["a", "b"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let holder = b.holder().await;
    assert_eq!(b.claim("a", holder).await.len(), 1);
    let (token, held_by) = b.token(id).await;
    assert_eq!(held_by, holder);
    (engine, id, Step { token, holder, opens: Some(("b_1", "b")), ends: None, container: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_misses_no_successor_of_a_concurrent_step() {
    let database = database().await;
    let b = Session::on(&database).await;
    let (engine, id, step) = foreign_run(&database, &b).await;
    b.run("BEGIN").await;
    b.advance(&[step], 0, &[]).await.unwrap();
    let terminating = tokio::spawn(async move { engine.terminate(id, "enough").await });
    b.somebody_waits().await;
    b.run("COMMIT").await;
    terminating.await.unwrap().unwrap();
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.open_tasks").await, 0);
    let steps = [("a_0".to_owned(), 0, 0, COMPLETED), ("b_1".to_owned(), 0, 0, CANCELED)];
    assert_eq!(b.history(id).await, steps);
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_lost_moves_no_other_steps_branches_to_another_container() {
    let database = database().await;
    let b = Session::on(&database).await;
    let (_engine, _, step) = foreign_run(&database, &b).await;
    let lost = Step { token: 0, opens: Some(("lost", "b")), ..step };
    let kept = Step { container: Some(2), ..step };
    b.advance(&[lost, kept], 0, &[]).await.unwrap();
    let own = "SELECT count(*) FROM oms_engine.open_tasks WHERE scope = id";
    assert_eq!(b.number(own).await, 1);
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.open_tasks").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_marks_the_successor_of_a_concurrent_step() {
    let database = database().await;
    let b = Session::on(&database).await;
    let (engine, id, step) = foreign_run(&database, &b).await;
    b.run("BEGIN").await;
    b.advance(&[step], 0, &[]).await.unwrap();
    let pausing = tokio::spawn(async move { engine.pause(id).await });
    b.somebody_waits().await;
    b.run("COMMIT").await;
    pausing.await.unwrap().unwrap();
    let marked = "SELECT count(*) FROM oms_engine.open_tasks WHERE paused AND rev = 1";
    assert_eq!(b.number(marked).await, 1);
    // And a task that is claimed after the pause cannot end its step by the hot statement.
    let holder = b.holder().await;
    b.claim("b", holder).await;
    let (token, _) = b.token(id).await;
    let step = Step { token, holder, opens: None, ends: Some(2), container: None };
    assert!(b.advance(&[step], 0, &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_takes_the_task_that_a_concurrent_retry_opens() {
    let database = database().await;
    let b = Session::on(&database).await;
    let (engine, id, _) = foreign_run(&database, &b).await;
    engine.terminate(id, "first").await.unwrap();
    b.run("BEGIN").await;
    b.run(&format!(
        "UPDATE oms_engine.workflows SET status = 0, ended_at = NULL WHERE id = '{id}';
         INSERT INTO oms_engine.open_tasks (workflow_id, reference_name, attempt, queue, state)
         VALUES ('{id}', 'a_0', 1, 'a', 0)"
    ))
    .await;
    let terminating = tokio::spawn(async move { engine.terminate(id, "second").await });
    b.somebody_waits().await;
    b.run("COMMIT").await;
    terminating.await.unwrap().unwrap();
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.open_tasks").await, 0);
    let steps = [("a_0".to_owned(), 0, 0, CANCELED), ("a_0".to_owned(), 0, 1, CANCELED)];
    assert_eq!(b.history(id).await, steps);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_run_that_is_not_running_rolls_the_batch_back() {
    let database = database().await;
    let b = Session::on(&database).await;
    let (_engine, id, step) = foreign_run(&database, &b).await;
    b.run(&format!("UPDATE oms_engine.workflows SET status = 5 WHERE id = '{id}'")).await;
    let token = step.token;
    let step = Step { opens: None, ends: Some(2), ..step };
    let refused = b.advance(&[step], 0, &[]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("OMS01"));
    assert_eq!(b.token(id).await.0, token);
    assert!(b.history(id).await.is_empty());
}

async fn held(database: &TestDatabase, gate: &Gate) -> (Engine, WorkflowId) {
    let engine = engine(database).task(Held(gate.clone())).task(Quick).build().await.unwrap();
    engine.register_workflow(&line("w", &["held", "quick"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    gate.has_begun(1).await;
    (engine, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_with_an_old_rev_is_decided_again_and_not_thrown_away() {
    let (database, gate) = (database().await, Gate::closed());
    let (engine, id) = held(&database, &gate).await;
    engine.set_priority(id, 7).await.unwrap();
    gate.open();
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_eq!((gate.begun(), run.tasks.len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_priority_gives_ready_tasks_a_new_id_and_leased_ones_a_new_rev() {
    let (database, gate) = (database().await, Gate::closed());
    let (engine, id) = held(&database, &gate).await;
    let b = Session::on(&database).await;
    let (leased, holder) = b.token(id).await;
    engine.set_priority(id, 7).await.unwrap();
    assert_eq!(b.token(id).await, (leased, holder));
    let bumped = "SELECT count(*) FROM oms_engine.open_tasks WHERE rev = 1 AND priority = 7";
    assert_eq!(b.number(bumped).await, 1);
    engine.register_workflow(&line("waits", &["elsewhere"])).await.unwrap();
    let ready = engine.start(StartRequest::new("waits")).await.unwrap().id;
    let (before, _) = b.token(ready).await;
    engine.set_priority(ready, 7).await.unwrap();
    assert!(b.token(ready).await.0 > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_of_a_paused_run_is_kept_and_resume_goes_on_from_it() {
    let (database, gate) = (database().await, Gate::closed());
    let (engine, id) = held(&database, &gate).await;
    let b = Session::on(&database).await;
    engine.pause(id).await.unwrap();
    gate.open();
    let parked = "SELECT count(*) = 1 FROM oms_engine.open_tasks
        WHERE reference_name = '' AND state = 2 AND paused";
    until(&b.0, parked).await;
    assert_eq!(b.history(id).await, [("held_0".to_owned(), 0, 0, COMPLETED)]);
    assert_nothing_stuck(&b.0).await;
    engine.resume(id).await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    assert_eq!(gate.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_from_before_a_restart_has_no_effect_on_the_new_epoch() {
    let (database, gate) = (database().await, Gate::closed());
    let (engine, id) = held(&database, &gate).await;
    let b = Session::on(&database).await;
    engine.terminate(id, "again").await.unwrap();
    engine.restart(id, RestartOptions::default()).await.unwrap();
    gate.has_begun(2).await;
    gate.open();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.epoch), (WorkflowStatus::Completed, 1));
    let steps = [
        ("held_0".to_owned(), 0, 0, CANCELED),
        ("held_0".to_owned(), 1, 0, COMPLETED),
        ("quick_1".to_owned(), 1, 0, COMPLETED),
    ];
    assert_eq!(b.history(id).await, steps);
    assert_eq!(run.tasks.len(), 2, "what was cut off is hidden");
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_task_whose_run_has_ended_writes_nothing() {
    let (database, gate) = (database().await, Gate::closed());
    let b = Session::on(&database).await;
    b.run("CREATE TABLE public.effects (task_id text NOT NULL)").await;
    let engine = engine(&database).transactional_task(HeldBook(gate.clone()));
    let engine = engine.build().await.unwrap();
    engine.register_workflow(&line("w", &["book"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    gate.has_begun(1).await;
    engine.terminate(id, "enough").await.unwrap();
    gate.open();
    let idle = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND xact_start IS NOT NULL
            AND pid <> pg_backend_pid())";
    until(&b.0, idle).await;
    assert_eq!(b.number("SELECT count(*) FROM public.effects").await, 0);
    assert_eq!(b.history(id).await, [("book_0".to_owned(), 0, 0, CANCELED)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_give_way_to_steps_and_no_deadlock_is_seen() {
    let database = database().await;
    let engine = engine(&database).task(Quick).concurrency(8).build().await.unwrap();
    engine.register_workflow(&line("w", &["quick"; 8])).await.unwrap();
    let requests = (0..60).map(|_| StartRequest::new("w")).collect();
    let runs = engine.start_many(requests).await.unwrap();
    let operators = runs.iter().map(|run| {
        let (engine, id) = (engine.clone(), run.id);
        tokio::spawn(async move {
            for priority in 0..6 {
                match engine.set_priority(id, priority).await {
                    Ok(()) | Err(oms_engine::Error::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    });
    for operator in operators.collect::<Vec<_>>() {
        operator.await.unwrap().unwrap();
    }
    for run in &runs {
        let run = wait(&engine, run.id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 8));
    }
}
