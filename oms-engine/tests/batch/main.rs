//! Tasks that go many at once in one transaction: each one's writes and end are kept together or not at
//! all, and none suffers for another.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "what a test helper does not find fails the test"
)]

#[path = "../common/mod.rs"]
mod common;

mod failing;
mod lost;
mod together;

use std::time::Duration;

use common::script::{Gate, Notes, told};
use common::{assert_nothing_stuck, database, until, wait};
use oms_engine::definition::WorkflowTask;
use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::{Client, Transaction};
use oms_engine::{
    Engine, EngineBuilder, StartRequest, TaskContext, TaskDef, TaskError, TransactionalBatchTask,
    WorkflowDef, WorkflowId, WorkflowStatus,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Deserialize, Serialize)]
struct Input {
    /// What the batch does that it is in.
    how: Option<String>,
}

/// Writes a row for each task, then does what one of them asks for.
#[derive(Clone)]
struct Book {
    gate: Gate,
    /// For each task the sizes of the batches that it ran in.
    notes: Notes,
}

impl TransactionalBatchTask for Book {
    const NAME: &'static str = "book";
    type Input = Input;
    type Output = Value;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Input)>,
    ) -> Result<Vec<Result<Value, TaskError>>, TaskError> {
        let keys: Vec<String> = tasks.iter().map(|(cx, _)| cx.task_id().to_string()).collect();
        for key in &keys {
            self.notes.add(key, &tasks.len());
        }
        let calls = self.notes.of(&keys[0]).len();
        tx.execute("INSERT INTO effects (key) SELECT unnest($1::text[])", &[&keys]).await?;
        let asks = |what: &str| tasks.iter().any(|(_, input)| input.how.as_deref() == Some(what));
        if asks("hold") {
            self.gate.enter().await;
        }
        if asks("hang") {
            self.gate.enter().await;
            std::future::pending::<()>().await;
        }
        if asks("sql") {
            tx.execute("SELECT 1 / 0", &[]).await?;
        }
        if asks("serialization") && calls < 3 {
            tx.batch_execute("DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$").await?;
        }
        if asks("deferred") {
            tx.execute("INSERT INTO strict (id) VALUES (1), (1)", &[]).await?;
        }
        assert!(!asks("panic"), "at the disco");
        let answer = |(cx, input): &(TaskContext, Input)| match input.how.as_deref() {
            Some("error") => Err(TaskError::terminal("never")),
            Some("large") => Ok(json!("x".repeat(4 * 1024 * 1024))),
            _ => {
                cx.log("booked");
                Ok(json!({"of": tasks.len()}))
            }
        };
        let answers = tasks.iter().map(answer);
        // A body that forgets a task.
        Ok(if asks("short") { answers.skip(1).collect() } else { answers.collect() })
    }
}

const TABLES: &str = "CREATE TABLE effects (key text NOT NULL);
    CREATE TABLE strict (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)";

/// An effect, the end of its task, and whether one transaction wrote both.
const TOGETHER: &str =
    "SELECT count(*) > 0 AND bool_and(e.xmin::text IS NOT DISTINCT FROM h.xmin::text)
    FROM oms_engine.task_history h
    FULL JOIN effects e
        ON e.key = h.workflow_id || '.' || h.epoch || '.' || h.attempt || '.' || h.reference_name
    WHERE h.status IS NULL OR (h.status = 0 AND h.queue = 'book')";

struct World {
    book: Book,
    database: TestDatabase,
    client: Client,
    engine: Engine,
}

/// One pump, so that all go the same way.
async fn world() -> World {
    world_with(|builder| builder).await
}

async fn world_with(more: impl FnOnce(EngineBuilder) -> EngineBuilder) -> World {
    let database = database().await;
    let client = database.connect().await.unwrap();
    client.batch_execute(TABLES).await.unwrap();
    let book = Book { gate: Gate::new(), notes: Notes::default() };
    let builder = told(&database).pumps(1).transactional_batch_task(book.clone());
    let engine = more(builder).build().await.unwrap();
    let policy = TaskDef::new("book").retry_count(1).retry_delay(Duration::ZERO);
    let def = WorkflowDef::builder("order").task(step("b").definition(policy)).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    World { book, database, client, engine }
}

fn step(reference_name: &str) -> WorkflowTask {
    WorkflowTask::simple("book", reference_name).input("how", "${workflow.input.how}")
}

impl World {
    async fn start(&self, name: &str, hows: &[Value]) -> Vec<WorkflowId> {
        let request = |how: &Value| StartRequest::new(name).input(json!({"how": how}));
        let started = self.engine.start_many(hows.iter().map(request).collect()).await.unwrap();
        started.into_iter().map(|one| one.id).collect()
    }

    /// Starts runs whose tasks come while another batch is held, so that they are one batch after it.
    async fn start_together(&self, name: &str, hows: &[Value]) -> Vec<WorkflowId> {
        let first = self.start("order", &[json!("hold")]).await;
        self.book.gate.entered().await;
        let ids = self.start(name, hows).await;
        let leased = "SELECT count(*) = $1 FROM oms_engine.open_tasks WHERE state = 1";
        let leased = leased.replace("$1", &(hows.len() + 1).to_string());
        until(&self.client, &leased).await;
        self.book.gate.open(1);
        assert_eq!(wait(&self.engine, first[0]).await.status, WorkflowStatus::Completed);
        ids
    }

    /// The sizes of the batches that the first attempt of this run's task was in.
    fn batches(&self, id: WorkflowId) -> Vec<String> {
        self.book.notes.of(&format!("{id}.0.0.b"))
    }

    /// All effects are those of completed tasks, once each, in the transactions of their ends.
    async fn check(&self, effects: usize) {
        until(&self.client, TOGETHER).await;
        let sql = "SELECT count(*), count(DISTINCT key) FROM effects";
        let row = self.client.query_one(sql, &[]).await.unwrap();
        let (all, keys): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!((all, keys), (all, i64::try_from(effects).unwrap()));
        assert_eq!(all, keys, "an effect happened twice");
        assert_nothing_stuck(&self.client).await;
    }
}

fn fine(n: usize) -> Vec<Value> {
    vec![Value::Null; n]
}
