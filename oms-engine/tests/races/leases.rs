//! Leases whose owner lost an answer, a connection, or patience.

use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_engine::{StartRequest, WorkflowStatus};

use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use crate::session::Session;
use crate::tasks::{Gate, Held, Polling, Quick};

/// The session of the only engine.
async fn own_session(b: &Session) -> i64 {
    until(&b.0, "SELECT count(*) = 1 FROM oms_engine.sessions").await;
    b.number("SELECT id FROM oms_engine.sessions").await
}

/// An engine that runs nothing holds a task, by a claim whose answer it never got.
async fn lost_claim(database: &TestDatabase, b: &Session, holder: &str) {
    let engine = engine(database).build().await.unwrap();
    engine.register_workflow(&line("w", &["elsewhere"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let session = own_session(b).await;
    until(&b.0, "SELECT count(*) = 2 FROM oms_engine.holders").await;
    let (before, _) = b.token(id).await;
    let holder = b.number(&holder.replace("$session", &session.to_string())).await;
    assert_eq!(b.claim("elsewhere", holder).await.len(), 1);
    let back = format!("SELECT state = 0 AND id > {before} FROM oms_engine.open_tasks");
    until(&b.0, &back).await;
    let alive = "SELECT count(*) FROM oms_engine.sessions WHERE dead_at IS NULL";
    assert_eq!(b.number(alive).await, 1, "nobody was taken for dead");
    assert_nothing_stuck(&b.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_is_given_back_by_the_living() {
    let database = database().await;
    let b = Session::on(&database).await;
    lost_claim(&database, &b, "SELECT max(id) FROM oms_engine.holders WHERE session_id = $session")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_an_earlier_connection_committed_late_is_given_back() {
    let database = database().await;
    let b = Session::on(&database).await;
    let earlier = "INSERT INTO oms_engine.holders (session_id) VALUES ($session) RETURNING id";
    lost_claim(&database, &b, earlier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_lost_only_its_liveness_connection_is_not_rescued() {
    let (database, gate) = (database().await, Gate::closed());
    let b = Session::on(&database).await;
    let first = engine(&database).name("first").task(Held(gate.clone())).build().await.unwrap();
    first.register_workflow(&line("w", &["held"])).await.unwrap();
    let id = first.start(StartRequest::new("w")).await.unwrap().id;
    gate.has_begun(1).await;
    let session = own_session(&b).await;
    let other = engine(&database).name("other").task(Held(gate.clone())).build().await.unwrap();
    until(&b.0, "SELECT count(*) = 2 FROM oms_engine.sessions").await;
    let lock = format!(
        "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = {session}
         AND classid = 'oms_engine.sessions'::regclass AND objsubid = 2
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    for _ in 0..3 {
        let pid = b.number(&format!("SELECT pid::bigint {lock}")).await;
        b.run(&format!("SELECT pg_terminate_backend({pid})")).await;
        until(&b.0, &format!("SELECT EXISTS (SELECT {lock} AND pid <> {pid})")).await;
    }
    // Longer than a suspicion takes: two heartbeats have been seen since.
    let beats = format!(
        "SELECT heartbeat_at > '{}' FROM oms_engine.sessions WHERE id = {session}",
        now(&b, "2 seconds").await
    );
    until(&b.0, &beats).await;
    gate.open();
    assert_eq!(wait(&first, id).await.status, WorkflowStatus::Completed);
    assert_eq!(gate.begun(), 1);
    let dead = "SELECT count(*) FROM oms_engine.sessions WHERE dead_at IS NOT NULL";
    assert_eq!(b.number(dead).await, 0);
    other.shutdown(Duration::ZERO).await;
}

async fn now(b: &Session, later: &str) -> String {
    let sql = format!("SELECT (clock_timestamp() + interval '{later}')::text");
    b.0.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_holds_nothing_is_buried_and_then_forgotten() {
    let database = database().await;
    let b = Session::on(&database).await;
    let holder = b.silent_holder().await;
    let engine =
        engine(&database).heartbeat(Duration::from_millis(100), Duration::from_millis(400));
    let engine = engine.build().await.unwrap();
    let dead = "SELECT dead_at IS NOT NULL FROM oms_engine.sessions WHERE name = 'other'";
    until(&b.0, dead).await;
    b.run("UPDATE oms_engine.sessions SET dead_at = dead_at - interval '6 minutes'").await;
    b.run(&crate::session::statement("forget_sessions")).await;
    let left = format!("SELECT count(*) FROM oms_engine.holders WHERE id = {holder}");
    assert_eq!(b.number(&left).await, 0);
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_finds_no_slot_is_written_ready() {
    let (database, gate) = (database().await, Gate::closed());
    let engine = engine(&database).task(Held(gate.clone())).concurrency(1).build().await.unwrap();
    engine.register_workflow(&line("w", &["held"])).await.unwrap();
    let first = engine.start(StartRequest::new("w")).await.unwrap().id;
    gate.has_begun(1).await;
    let second = engine.start(StartRequest::new("w")).await.unwrap().id;
    let b = Session::on(&database).await;
    assert_eq!(b.token(second).await.1, 0, "leased without a slot");
    assert_eq!(gate.begun(), 1);
    gate.open();
    wait(&engine, first).await;
    wait(&engine, second).await;
    assert_eq!(gate.begun(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_progress_comes_back_as_the_same_attempt() {
    let (database, gate) = (database().await, Gate::closed());
    let engine = engine(&database).task(Polling(gate.clone())).build().await.unwrap();
    engine.register_workflow(&line("w", &["polling"])).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let run = wait(&engine, id).await;
    assert_eq!((run.tasks.len(), gate.begun()), (1, 2));
    assert_eq!((run.tasks[0].retry_count, run.tasks[0].poll_count), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pump_wakes_itself_for_what_it_wrote_ready() {
    let database = database().await;
    let builder = engine(&database).poll_interval(Duration::from_secs(3_600));
    let engine = builder.task(Quick).concurrency(1).build().await.unwrap();
    engine.register_workflow(&line("w", &["quick"; 4])).await.unwrap();
    let requests = (0..40).map(|_| StartRequest::new("w")).collect();
    let begun = Instant::now();
    for run in engine.start_many(requests).await.unwrap() {
        assert_eq!(wait(&engine, run.id).await.tasks.len(), 4);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Two engines, and a run of one held task with this much time.
async fn timed(database: &TestDatabase, gate: &Gate) -> [oms_engine::Engine; 2] {
    let builder = || engine(database).task(Held(gate.clone()));
    let engines = [builder().build().await.unwrap(), builder().build().await.unwrap()];
    let mut def = line("timed", &["held"]);
    def.timeout_seconds = 1;
    def.timeout_policy = oms_engine::definition::WorkflowTimeoutPolicy::TimeOutWorkflow;
    engines[0].register_workflow(&def).await.unwrap();
    engines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_s_time_is_up_once_among_engines_and_a_late_report_changes_nothing() {
    let (database, gate) = (database().await, Gate::closed());
    let b = Session::on(&database).await;
    let engines = timed(&database, &gate).await;
    let requests = (0..20).map(|_| StartRequest::new("timed")).collect();
    let runs = engines[0].start_many(requests).await.unwrap();
    for run in &runs {
        assert_eq!(wait(&engines[1], run.id).await.status, WorkflowStatus::TimedOut);
    }
    gate.open();
    for run in &runs {
        assert_eq!(b.history(run.id).await, [("held_0".to_owned(), 0, 0, 6)]);
    }
    assert_eq!(b.number("SELECT count(*) FROM oms_engine.open_tasks").await, 0);
    let early = "SELECT count(*) FROM oms_engine.workflows
        WHERE ended_at < created_at + interval '1 second'";
    assert_eq!(b.number(early).await, 0);
}
