//! Futures of the public API, dropped at each await point they have: asked again, the call comes
//! to the same end, and no lock is left.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oms_engine::tokio_postgres::Client;
use oms_engine::{Engine, RestartOptions, RetryOptions, StartRequest, WorkflowId, WorkflowStatus};

use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use crate::witness::Witness;
use crate::worker::with_tasks;

/// Polls at most so often, then gives up.
struct Polls<F> {
    work: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // The last poll that it gets.
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Polls a future so often, then drops it.
fn polled<F: Future>(work: F, times: usize) -> Polls<F> {
    Polls { work: Box::pin(work), left: times }
}

/// More than any call awaits.
const POLLS_MAX: usize = 12;

async fn engine_with_tasks(database: &oms_engine::testkit::TestDatabase, w: &Witness) -> Engine {
    let engine = with_tasks(engine(database), w.path()).build().await.unwrap();
    engine.register_workflow(&line("w", &["work", "work"])).await.unwrap();
    engine.register_workflow(&line("waits", &["elsewhere", "work"])).await.unwrap();
    engine
}

/// Nobody holds a lock on the engine's tables, or is about to.
async fn assert_no_lock(client: &Client) {
    let free = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL)";
    until(client, free).await;
}

async fn waiting(engine: &Engine) -> WorkflowId {
    engine.start(StartRequest::new("waits")).await.unwrap().id
}

/// Re-issued, an action that had happened already may be refused: what it leads to counts.
async fn ends_as(engine: &Engine, id: WorkflowId, wanted: WorkflowStatus) {
    assert_eq!(engine.get(id).await.unwrap().status, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_start_is_found_or_made_when_it_is_asked_again() {
    let (database, witness) = (database().await, Witness::new());
    let engine = engine_with_tasks(&database, &witness).await;
    let mut client = database.connect().await.unwrap();
    for k in 1..=POLLS_MAX {
        let one = StartRequest::new("w").idempotency_key(format!("one {k}"));
        let many = StartRequest::new("w").idempotency_key(format!("many {k}"));
        let within = StartRequest::new("w").idempotency_key(format!("in {k}"));
        polled(engine.start(one.clone()), k).await;
        let id = engine.start(one).await.unwrap().id;
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
        polled(engine.start_many(vec![many.clone()]), k).await;
        let id = engine.start_many(vec![many]).await.unwrap()[0].id;
        polled(engine.get(id), k).await;
        polled(engine.wait(id), k).await;
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
        let tx = client.transaction().await.unwrap();
        polled(engine.start_in(&tx, within.clone()), k).await;
        tx.rollback().await.unwrap();
        let tx = client.transaction().await.unwrap();
        let started = engine.start_in(&tx, within).await.unwrap();
        assert!(!started.existed, "rolled back, and yet there");
        tx.commit().await.unwrap();
        assert_eq!(wait(&engine, started.id).await.status, WorkflowStatus::Completed);
    }
    let all = format!("SELECT count(*) = {} FROM oms_engine.workflows", 3 * POLLS_MAX);
    until(&client, &all).await;
    assert_no_lock(&client).await;
    assert_nothing_stuck(&client).await;
    assert!(witness.counts().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_action_of_an_operator_happens_whole_or_not_at_all() {
    let (database, witness) = (database().await, Witness::new());
    let engine = engine_with_tasks(&database, &witness).await;
    let client = database.connect().await.unwrap();
    for k in 1..=POLLS_MAX {
        let id = waiting(&engine).await;
        polled(engine.pause(id), k).await;
        engine.pause(id).await.unwrap();
        ends_as(&engine, id, WorkflowStatus::Paused).await;
        polled(engine.resume(id), k).await;
        // Refused where the dropped one had resumed it.
        let again = engine.resume(id).await;
        assert!(again.is_ok() || matches!(again, Err(oms_engine::Error::Conflict { .. })));
        ends_as(&engine, id, WorkflowStatus::Running).await;
        polled(engine.terminate(id, "enough"), k).await;
        engine.terminate(id, "enough").await.unwrap();
        ends_as(&engine, id, WorkflowStatus::Terminated).await;
        polled(engine.retry(id, RetryOptions::default()), k).await;
        let again = engine.retry(id, RetryOptions::default()).await;
        assert!(again.is_ok() || matches!(again, Err(oms_engine::Error::Conflict { .. })));
        ends_as(&engine, id, WorkflowStatus::Running).await;
        engine.terminate(id, "enough").await.unwrap();
        polled(engine.restart(id, RestartOptions::default()), k).await;
        let again = engine.restart(id, RestartOptions::default()).await;
        assert!(again.is_ok() || matches!(again, Err(oms_engine::Error::Conflict { .. })));
        ends_as(&engine, id, WorkflowStatus::Running).await;
        let def = line(&format!("new {k}"), &["work"]);
        polled(engine.register_workflow(&def), k).await;
        engine.register_workflow(&def).await.unwrap();
        let one = format!(
            "SELECT count(*) = 1 FROM oms_engine.open_tasks WHERE workflow_id = '{id}' AND NOT paused"
        );
        until(&client, &one).await;
    }
    let rows = format!(
        "SELECT count(*) = {POLLS_MAX} FROM oms_engine.workflow_definitions
        WHERE name LIKE 'new %'"
    );
    until(&client, &rows).await;
    assert_no_lock(&client).await;
    assert_nothing_stuck(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_shutdown_goes_on_by_itself() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    for k in 1..=3 {
        let engine = engine_with_tasks(&database, &witness).await;
        polled(engine.shutdown(Duration::ZERO), k).await;
        let closed = "SELECT count(*) FILTER (WHERE dead_at IS NULL) = 0 FROM oms_engine.sessions";
        until(&client, closed).await;
        engine.shutdown(Duration::ZERO).await;
    }
    assert_no_lock(&client).await;
}
