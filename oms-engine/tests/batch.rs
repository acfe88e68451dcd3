//! Tasks that go many at once in one transaction: each one's writes and end are kept together or not at
//! all, and none suffers for another.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "what a test helper does not find fails the test"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::script::{Gate, Notes, told, until_task};
use common::{assert_nothing_stuck, database, until, wait};
use oms_engine::definition::{TimeoutPolicy, WorkflowTask};
use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::{Client, Transaction};
use oms_engine::{
    Engine, EngineBuilder, Error, Execution, StartRequest, TaskContext, TaskDef, TaskError,
    TransactionalBatchTask, WorkflowDef, WorkflowId, WorkflowStatus,
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

fn reason(run: &Execution) -> String {
    run.tasks.last().unwrap().reason_for_incompletion.clone().unwrap_or_default()
}

#[tokio::test]
async fn tasks_that_wait_for_a_batch_are_the_next_and_end_in_one_transaction() {
    let world = world().await;
    for id in world.start_together("order", &fine(20)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        let of = run.tasks[0].output_data["of"].as_u64().unwrap();
        assert!(of > 1, "it went alone");
    }
    world.check(21).await;
    until(&world.client, "SELECT count(*) = 21 FROM oms_engine.task_logs").await;
    let sql = "SELECT count(DISTINCT xmin::text) FROM effects";
    let transactions: i64 = world.client.query_one(sql, &[]).await.unwrap().get(0);
    assert!((2..20).contains(&transactions), "{transactions}");
}

#[tokio::test]
async fn a_task_that_comes_alone_goes_alone_at_once() {
    let world = world().await;
    let id = world.start("order", &fine(1)).await[0];
    assert_eq!(wait(&world.engine, id).await.tasks[0].output_data, json!({"of": 1}));
    world.check(1).await;
}

/// With its own reason, after it ran alone; the others complete in one attempt.
async fn fails_alone(how: Value, why: &str, attempts: usize) {
    let world = world().await;
    let mut hows = fine(8);
    hows.insert(5, how);
    let ids = world.start_together("order", &hows).await;
    for (n, id) in ids.iter().enumerate() {
        let run = wait(&world.engine, *id).await;
        if n == 5 {
            assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Failed, attempts), "{why}");
            assert!(reason(&run).contains(why), "{}", reason(&run));
        } else {
            assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1), "{why}");
        }
    }
    world.check(9).await;
    let together = world.batches(ids[4]).iter().any(|size| size != "1");
    assert!(together, "they were no batch");
}

#[tokio::test]
async fn a_task_that_is_answered_with_an_error_fails_alone() {
    fails_alone(json!("error"), "never", 1).await;
}

#[tokio::test]
async fn a_task_whose_statement_fails_fails_alone() {
    fails_alone(json!("sql"), "22012", 2).await;
}

#[tokio::test]
async fn a_task_that_panics_fails_alone() {
    fails_alone(json!("panic"), "at the disco", 2).await;
}

#[tokio::test]
async fn a_task_with_an_output_over_the_limit_fails_alone() {
    fails_alone(json!("large"), "larger than 3145728 bytes", 1).await;
}

#[tokio::test]
async fn a_task_with_an_input_that_cannot_be_read_fails_alone() {
    fails_alone(json!(7), "invalid type: integer `7`", 1).await;
}

#[tokio::test]
async fn a_task_whose_constraint_fails_at_the_commit_fails_alone() {
    fails_alone(json!("deferred"), "23505", 2).await;
}

#[tokio::test]
async fn a_body_that_forgets_to_answer_fails_no_other_task() {
    fails_alone(json!("short"), "it answered 0 of 1 tasks", 1).await;
}

#[tokio::test]
async fn several_that_fail_do_so_each_for_itself() {
    let world = world().await;
    let mut hows: Vec<Value> =
        ["error", "panic", "sql", "error"].iter().map(|how| json!(how)).collect();
    hows.extend(fine(5));
    let ids = world.start_together("order", &hows).await;
    for (n, why) in ["never", "at the disco", "22012", "never"].iter().enumerate() {
        let run = wait(&world.engine, ids[n]).await;
        assert!(reason(&run).contains(why), "{n}: {}", reason(&run));
    }
    for id in &ids[4..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    world.check(6).await;
}

#[tokio::test]
async fn a_serialization_failure_repeats_the_batch_within_the_attempts() {
    let world = world().await;
    let mut hows = fine(4);
    hows.push(json!("serialization"));
    for id in world.start_together("order", &hows).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    }
    world.check(6).await;
}

/// Runs whose tasks are in one batch that is held: the first of them is to be struck.
async fn held(world: &World) -> Vec<WorkflowId> {
    let mut hows = fine(6);
    hows.push(json!("hold"));
    let ids = world.start_together("order", &hows).await;
    world.book.gate.entered().await;
    assert!(!world.batches(ids[0]).is_empty(), "it is not in the batch that is held");
    ids
}

#[tokio::test]
async fn a_run_that_is_terminated_while_its_batch_is_under_way_leaves_no_write() {
    let world = world().await;
    let ids = held(&world).await;
    world.engine.terminate(ids[0], "not wanted").await.unwrap();
    // Once more for the rest.
    world.book.gate.open(2);
    for id in &ids[1..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    assert_eq!(world.engine.get(ids[0]).await.unwrap().status, WorkflowStatus::Terminated);
    world.check(7).await;
}

#[tokio::test]
async fn a_run_that_is_paused_while_its_batch_is_under_way_keeps_its_outcome() {
    let world = world().await;
    let ids = held(&world).await;
    world.engine.pause(ids[0]).await.unwrap();
    world.book.gate.open(2);
    for id in &ids[1..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    until_task(&world.engine, ids[0], "b", "COMPLETED").await;
    world.engine.resume(ids[0]).await.unwrap();
    assert_eq!(wait(&world.engine, ids[0]).await.status, WorkflowStatus::Completed);
    world.check(8).await;
}

#[tokio::test]
async fn a_lease_that_another_has_taken_leaves_no_write_of_the_batch_that_lost_it() {
    let world = world().await;
    let ids = held(&world).await;
    // As a rescue does it: the same attempt, under another token.
    let sql = "UPDATE oms_engine.open_tasks SET id = nextval('oms_engine.token_ids'), state = 0,
        holder = NULL WHERE workflow_id = $1::text::uuid";
    assert_eq!(world.client.execute(sql, &[&ids[0].to_string()]).await.unwrap(), 1);
    world.book.gate.open(2);
    for id in &ids[1..] {
        assert_eq!(wait(&world.engine, *id).await.status, WorkflowStatus::Completed);
    }
    // Nobody was told of the ready task but the next who asks.
    world.start("order", &fine(1)).await;
    let beside = told(&world.database).pumps(1).transactional_batch_task(world.book.clone());
    let beside = beside.build().await.unwrap();
    assert_eq!(wait(&beside, ids[0]).await.status, WorkflowStatus::Completed);
    world.check(9).await;
}

#[tokio::test]
async fn a_task_whose_time_is_up_takes_its_hanging_batch_with_it_and_the_others_run_again() {
    let world = world().await;
    let policy = TaskDef::new("book").retry_count(0);
    let second = Duration::from_secs(1);
    let policy = policy.timeout(second, TimeoutPolicy::TimeOutWorkflow).response_timeout(second);
    let hasty = step("b").definition(policy);
    let def = WorkflowDef::builder("hasty").task(hasty).build().unwrap();
    world.engine.register_workflow(&def).await.unwrap();
    // They meet in a batch: those of the one workflow wait while the other's is under way.
    let first = world.start("order", &[json!("hold")]).await;
    world.book.gate.entered().await;
    let patient = world.start("order", &fine(3)).await;
    let hasty = world.start("hasty", &[json!("hang")]).await;
    until(&world.client, "SELECT count(*) = 5 FROM oms_engine.open_tasks WHERE state = 1").await;
    world.book.gate.open(1);
    world.book.gate.entered().await;
    assert_eq!(wait(&world.engine, hasty[0]).await.status, WorkflowStatus::TimedOut);
    for id in first.iter().chain(&patient) {
        let run = wait(&world.engine, *id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    }
    world.check(4).await;
}

#[tokio::test]
async fn a_step_that_memory_cannot_decide_ends_alone_and_completes() {
    let world = world().await;
    let def = WorkflowDef::builder("told").task(step("b"));
    let def = def.task(WorkflowTask::event("e", "conductor:booked")).build().unwrap();
    world.engine.register_workflow(&def).await.unwrap();
    for id in world.start_together("told", &fine(6)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 2));
    }
    world.check(7).await;
}

#[tokio::test]
async fn branches_of_one_run_end_in_one_batch_and_their_join_goes_on_once() {
    let world = world().await;
    let branches = (0..10).map(|n| vec![step(&format!("b{n}"))]);
    let def = WorkflowDef::builder("wide").task(WorkflowTask::fork("f", branches));
    let def = def.task(WorkflowTask::join("j", (0..10).map(|n| format!("b{n}"))));
    let def = def.task(step("last")).build().unwrap();
    world.engine.register_workflow(&def).await.unwrap();
    for id in world.start("wide", &fine(5)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 13));
    }
    world.check(55).await;
}

#[tokio::test]
async fn three_hundred_runs_of_three_steps_write_each_row_once_in_batches_of_the_size_allowed() {
    let world = world_with(|builder| builder.pumps(2).task_batch_size("book", 16)).await;
    let steps = ["one", "two", "three"];
    let def = steps.iter().fold(WorkflowDef::builder("three"), |def, name| def.task(step(name)));
    world.engine.register_workflow(&def.build().unwrap()).await.unwrap();
    let mut sizes = BTreeSet::new();
    for id in world.start("three", &fine(300)).await {
        let run = wait(&world.engine, id).await;
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 3));
        sizes.extend(run.tasks.iter().map(|task| task.output_data["of"].as_u64().unwrap()));
    }
    assert!(*sizes.last().unwrap() <= 16 && sizes.len() > 1, "{sizes:?}");
    world.check(900).await;
}

#[tokio::test]
async fn a_batch_size_is_one_of_a_task_that_does_many_at_once() {
    let database = database().await;
    let book = Book { gate: Gate::new(), notes: Notes::default() };
    for (name, size) in [("book", 0), ("book", 501), ("bok", 10)] {
        let builder = told(&database).transactional_batch_task(book.clone());
        let refused = builder.task_batch_size(name, size).build().await.unwrap_err();
        assert!(matches!(&refused, Error::Config(why) if why.contains("1 to 500")), "{refused}");
    }
}
