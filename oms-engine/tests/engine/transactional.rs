//! Transactional tasks: the user's writes and the end of the step commit together or not at all.

use std::sync::Arc;
use std::time::Duration;

use crate::common::script::{After, Gate, Notes, told, until_task};
use crate::common::{assert_nothing_stuck, database, until, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::Transaction;
use oms_engine::{
    Engine, Execution, StartRequest, TaskContext, TaskDef, TaskError, TaskStatus,
    TransactionalTask, WorkflowDef, WorkflowId, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// Writes one row, then does what its input's `how` says.
#[derive(Clone)]
struct Book {
    gate: Gate,
    notes: Notes,
    both: Arc<Barrier>,
}

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Value,
    ) -> Result<Value, TaskError> {
        let key = cx.idempotency_key();
        let call = self.calls(cx);
        tx.execute("INSERT INTO effects (key) VALUES ($1)", &[&key]).await?;
        match input["how"].as_str().unwrap_or_default() {
            "error" if cx.attempt() == 0 => Err(TaskError::retry("not yet")),
            "terminal" => Err(TaskError::terminal("never")),
            "panic" if cx.attempt() == 0 => panic!("at the disco"),
            "serialization" if call < 3 => {
                tx.batch_execute("DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$")
                    .await?;
                Ok(json!({}))
            }
            "deadlock" => {
                let (first, second) = if input["n"] == 0 { (1, 2) } else { (2, 1) };
                let touch = "UPDATE shelf SET touched = touched + 1 WHERE id = $1";
                tx.execute(touch, &[&first]).await?;
                if call == 1 {
                    self.both.wait().await;
                }
                tx.execute(touch, &[&second]).await?;
                Ok(json!({"call": call}))
            }
            "gate" => {
                self.gate.enter().await;
                Ok(json!({"late": true}))
            }
            "deferred" => {
                tx.execute("INSERT INTO strict (id) VALUES (1), (1)", &[]).await?;
                Ok(json!({}))
            }
            "large" => Ok(json!("x".repeat(4 * 1024 * 1024))),
            _ => Ok(json!({"call": call})),
        }
    }
}

impl Book {
    fn new() -> Self {
        Self { gate: Gate::new(), notes: Notes::default(), both: Arc::new(Barrier::new(2)) }
    }

    fn calls(&self, cx: &TaskContext) -> usize {
        self.notes.add(&cx.task_id().to_string(), "");
        self.notes.of(&cx.task_id().to_string()).len()
    }
}

const TABLES: &str = "CREATE TABLE effects (key text NOT NULL);
    CREATE TABLE shelf (id int PRIMARY KEY, touched int NOT NULL);
    INSERT INTO shelf VALUES (1, 0), (2, 0);
    CREATE TABLE strict (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)";

async fn ready(book: &Book) -> (TestDatabase, Engine) {
    let database = database().await;
    database.connect().await.unwrap().batch_execute(TABLES).await.unwrap();
    let after = After::new(|_, _| async { Ok(json!({})) });
    let builder = told(&database).transactional_task(book.clone()).task(after);
    let engine = builder.build().await.unwrap();
    let policy = TaskDef::new("book").retry_count(1).retry_delay(Duration::ZERO);
    let step = WorkflowTask::simple("book", "b").definition(policy);
    let step = step.input("how", "${workflow.input.how}").input("n", "${workflow.input.n}");
    let def = WorkflowDef::builder("order").task(step);
    let def = def.task(WorkflowTask::simple("after", "a")).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    (database, engine)
}

async fn start(engine: &Engine, how: &str) -> WorkflowId {
    engine.start(StartRequest::new("order").input(json!({"how": how, "n": 0}))).await.unwrap().id
}

async fn effects(database: &TestDatabase) -> i64 {
    let client = database.connect().await.unwrap();
    client.query_one("SELECT count(*) FROM effects", &[]).await.unwrap().get(0)
}

fn statuses(run: &Execution) -> Vec<TaskStatus> {
    run.tasks.iter().map(|task| task.status).collect()
}

use TaskStatus::{Canceled, Completed, Failed, FailedWithTerminalError};

#[tokio::test]
async fn writes_and_the_end_of_the_step_commit_together() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let id = start(&engine, "").await;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    let same = "SELECT (SELECT xmin::text FROM effects) =
        (SELECT xmin::text FROM oms_engine.task_history WHERE reference_name = 'b')";
    until(&database.connect().await.unwrap(), same).await;
}

#[tokio::test]
async fn an_error_or_a_panic_rolls_the_writes_back_and_the_next_attempt_writes_once() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    for (n, how) in ["error", "panic"].into_iter().enumerate() {
        let id = start(&engine, how).await;
        let run = wait(&engine, id).await;
        assert_eq!(statuses(&run), [Failed, Completed, Completed], "{how}");
        assert_eq!(effects(&database).await, i64::try_from(n).unwrap() + 1);
    }
}

#[tokio::test]
async fn a_terminal_error_and_an_output_over_the_limit_leave_no_write() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    for (how, why) in [("terminal", "never"), ("large", "larger than 3145728 bytes")] {
        let run = wait(&engine, start(&engine, how).await).await;
        assert_eq!(
            (run.status, statuses(&run)),
            (WorkflowStatus::Failed, vec![FailedWithTerminalError])
        );
        let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
        assert!(reason.contains(why), "{reason}");
    }
    assert_eq!(effects(&database).await, 0);
}

#[tokio::test]
async fn a_constraint_that_fails_at_the_commit_fails_the_attempt() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let run = wait(&engine, start(&engine, "deferred").await).await;
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Failed, vec![Failed; 2]));
    let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
    assert!(reason.contains("23505"), "{reason}");
    assert_eq!(book.notes.of(&run.tasks[0].task_id).len(), 1, "repeated in vain");
    assert_eq!(effects(&database).await, 0);
}

#[tokio::test]
async fn a_serialization_failure_repeats_the_body_within_the_attempt() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let run = wait(&engine, start(&engine, "serialization").await).await;
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Completed, vec![Completed; 2]));
    assert_eq!((&run.tasks[0].output_data, run.tasks[0].poll_count), (&json!({"call": 3}), 1));
    assert_eq!(effects(&database).await, 1);
}

#[tokio::test]
async fn of_two_in_a_deadlock_one_is_repeated_and_both_complete() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let start =
        |n| engine.start(StartRequest::new("order").input(json!({"how": "deadlock", "n": n})));
    let (one, two) = tokio::join!(start(0), start(1));
    let mut calls = Vec::new();
    for id in [one.unwrap().id, two.unwrap().id] {
        let run = wait(&engine, id).await;
        assert_eq!(statuses(&run), [Completed, Completed]);
        calls.push(run.tasks[0].output_data["call"].as_i64().unwrap());
    }
    calls.sort_unstable();
    assert_eq!(calls, [1, 2]);
    let touched = "SELECT bool_and(touched = 2) FROM shelf";
    until(&database.connect().await.unwrap(), touched).await;
}

#[tokio::test]
async fn a_lease_lost_while_it_runs_rolls_the_writes_back() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let id = start(&engine, "gate").await;
    book.gate.entered().await;
    engine.terminate(id, "not wanted").await.unwrap();
    book.gate.open(1);
    let client = database.connect().await.unwrap();
    // Its transaction has ended, one way or the other.
    until(
        &client,
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%')",
    )
    .await;
    let run = engine.get(id).await.unwrap();
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Terminated, vec![Canceled]));
    assert_eq!(effects(&database).await, 0);
    assert_nothing_stuck(&client).await;
}

#[tokio::test]
async fn a_pause_while_it_runs_keeps_the_writes_and_the_outcome() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let id = start(&engine, "gate").await;
    book.gate.entered().await;
    engine.pause(id).await.unwrap();
    book.gate.open(1);
    until_task(&engine, id, "b", "COMPLETED").await;
    let run = engine.get(id).await.unwrap();
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Paused, vec![Completed]));
    assert_eq!(effects(&database).await, 1);
    engine.resume(id).await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    assert_eq!(effects(&database).await, 1);
}

#[tokio::test]
async fn a_delayed_step_after_it_starts_in_time() {
    let book = Book::new();
    let (_database, engine) = ready(&book).await;
    let delayed = WorkflowTask::simple("after", "a").start_delay(Duration::from_secs(1));
    let def = WorkflowDef::builder("delayed").task(WorkflowTask::simple("book", "b")).task(delayed);
    engine.register_workflow(&def.build().unwrap()).await.unwrap();
    let id = engine.start(StartRequest::new("delayed")).await.unwrap().id;
    let run = tokio::time::timeout(Duration::from_secs(10), engine.wait(id)).await;
    let run = run.unwrap().unwrap();
    let waited = run.tasks[1].start_time.unwrap() - run.tasks[1].scheduled_time;
    assert!((1_000..3_000).contains(&waited.num_milliseconds()), "{waited}");
}

#[tokio::test]
async fn two_hundred_runs_of_three_steps_write_each_row_once() {
    let book = Book::new();
    let (database, engine) = ready(&book).await;
    let def = ["one", "two", "three"]
        .into_iter()
        .fold(WorkflowDef::builder("three"), |def, reference| {
            def.task(WorkflowTask::simple("book", reference))
        });
    engine.register_workflow(&def.build().unwrap()).await.unwrap();
    let started = engine.start_many((0..200).map(|_| StartRequest::new("three")).collect()).await;
    for one in started.unwrap() {
        let run = wait(&engine, one.id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 3));
    }
    let client = database.connect().await.unwrap();
    until(&client, "SELECT count(*) = 600 AND count(DISTINCT key) = 600 FROM effects").await;
    assert_nothing_stuck(&client).await;
}
