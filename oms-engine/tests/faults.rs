//! The kit that harms workflows, on one that bears it and on one that does not.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]

use std::process::Command;

use oms_engine::testkit::{
    Failure, KitOptions, Step, Subject, TestDatabase, TestkitError, Way, crash_each_commit,
    fail_each_step, repeat_each_step, work_until_killed, worker_url,
};
use oms_engine::tokio_postgres::{NoTls, Transaction};
use oms_engine::{
    Engine, EngineBuilder, Execution, StartRequest, Task, TaskContext, TaskDef, TaskError,
    TransactionalTask, WorkflowDef, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

/// The service's books stand in the same database, but not in the step's transaction.
const TABLES: &str = "CREATE TABLE public.service (key text, unique_key text UNIQUE, undone bool);
    CREATE TABLE public.booked (run text NOT NULL)";

/// Asks a service, under a key that it minds, or under none.
struct Charge {
    url: String,
    careful: bool,
}

/// Undoes what [`Charge`] did, and closes its key.
struct Refund(String);

async fn at_the_service(url: &str, sql: &str, run: &str) -> Result<(), TaskError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.execute(sql, &[&run]).await?;
    Ok(())
}

impl Task for Charge {
    const NAME: &'static str = "charge";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        let key = if self.careful { "$1" } else { "NULL" };
        let sql = format!(
            "INSERT INTO public.service (key, unique_key, undone) VALUES ($1, {key}, false)
             ON CONFLICT (unique_key) DO NOTHING"
        );
        at_the_service(&self.url, &sql, &cx.workflow_id().to_string()).await?;
        Ok(json!({}))
    }
}

impl Task for Refund {
    const NAME: &'static str = "refund";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _cx: &TaskContext, input: Value) -> Result<Value, TaskError> {
        let run = input["run"].as_str().unwrap_or_default();
        let sql = "INSERT INTO public.service (key, unique_key, undone) VALUES ($1, $1, true)
            ON CONFLICT (unique_key) DO UPDATE SET undone = true";
        at_the_service(&self.0, sql, run).await?;
        Ok(json!({}))
    }
}

struct Book;

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        _input: Value,
    ) -> Result<Value, TaskError> {
        let run = cx.workflow_id().to_string();
        tx.execute("INSERT INTO public.booked (run) VALUES ($1)", &[&run]).await?;
        Ok(json!({}))
    }
}

struct Purchase {
    careful: bool,
}

fn furnish(url: &str, careful: bool, engine: EngineBuilder) -> EngineBuilder {
    let charge = Charge { url: url.to_owned(), careful };
    engine.task(charge).task(Refund(url.to_owned())).transactional_task(Book)
}

impl Subject for Purchase {
    type World = TestDatabase;

    fn definitions(&self) -> Result<(Vec<TaskDef>, Vec<WorkflowDef>), Failure> {
        let def = |name: &str| TaskDef {
            retry_count: 10,
            retry_delay_seconds: 1,
            timeout_seconds: 60,
            response_timeout_seconds: 30,
            ..TaskDef::new(name)
        };
        let undoing = WorkflowTask::simple("refund", "refund");
        let undoing = WorkflowDef::builder("undoing")
            .task(undoing.input("run", "${workflow.input.workflowId}"))
            .build()?;
        let purchase = WorkflowDef::builder("purchase")
            .task(WorkflowTask::simple("charge", "charge"))
            .task(WorkflowTask::simple("book", "book"))
            .failure_workflow("undoing")
            .build()?;
        Ok((["charge", "book", "refund"].map(def).to_vec(), vec![undoing, purchase]))
    }

    async fn open(&self) -> Result<TestDatabase, Failure> {
        let database = TestDatabase::migrated().await?.as_application().await?;
        database.connect().await?.batch_execute(TABLES).await?;
        Ok(database)
    }

    fn url<'a>(&self, world: &'a TestDatabase) -> &'a str {
        world.url()
    }

    fn furnish(&self, world: &TestDatabase, engine: EngineBuilder) -> EngineBuilder {
        furnish(world.url(), self.careful, engine)
    }

    fn request(&self, _world: &TestDatabase) -> StartRequest {
        StartRequest::new("purchase")
    }

    async fn check(&self, world: &TestDatabase, run: &Execution) -> Result<(), Failure> {
        let sql = "SELECT (SELECT count(*) FROM public.service WHERE NOT undone),
            (SELECT count(*) FROM public.booked)";
        let row = world.connect().await?.query_one(sql, &[]).await?;
        let found: (i64, i64) = (row.get(0), row.get(1));
        let wanted = if run.status == WorkflowStatus::Completed { (1, 1) } else { (0, 0) };
        if found != wanted {
            return Err(format!("charged and booked: {found:?}, wanted {wanted:?}").into());
        }
        Ok(())
    }

    fn ways(&self, step: &Step) -> Vec<Way> {
        let undoes = step.task == "refund";
        Way::ALL.into_iter().filter(|way| !undoes || !way.is_for_good()).collect()
    }

    fn worker(&self, _world: &TestDatabase) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", if self.careful { CAREFUL } else { CARELESS }]);
        Ok(command)
    }
}

const CAREFUL: &str = "what_minds_its_key_bears_a_crash_at_each_commit";
const CARELESS: &str = "what_has_no_key_is_found_out_by_crashes";

/// Whether this process is a worker of the kit's; it has done its work then.
async fn is_worker(careful: bool) -> bool {
    let Some(url) = worker_url() else { return false };
    let engine = furnish(&url, careful, Engine::builder(&url));
    work_until_killed(engine).await.unwrap();
    true
}

fn complaints(error: TestkitError) -> Vec<String> {
    let TestkitError::Broken { complaints, .. } = error else { return vec![error.to_string()] };
    complaints
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_fails_in_every_way_and_those_that_undo_too() {
    let subject = Purchase { careful: true };
    let report = fail_each_step(&subject, &KitOptions::default()).await.unwrap();
    assert_eq!(report.steps, ["book", "charge", "refund"]);
    // Of the charge in six ways, of the booking in three, of the refund in four.
    assert_eq!((report.runs, report.missed.len()), (1 + 6 + 3 + 4, 0), "{report:?}");
    // The refund's are met beside the fault that led to it.
    assert_eq!(report.hits, 6 + 3 + 2 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_repeated_at_once_and_at_the_end() {
    let subject = Purchase { careful: true };
    let report = repeat_each_step(&subject, &KitOptions::default()).await.unwrap();
    assert_eq!(report.steps, ["book", "charge"]);
    assert_eq!((report.runs, report.hits, report.missed.len()), (5, 5, 0), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_minds_its_key_bears_a_crash_at_each_commit() {
    if is_worker(true).await {
        return;
    }
    let subject = Purchase { careful: true };
    let report = crash_each_commit(&subject, &KitOptions::default()).await.unwrap();
    // The lease of the first step, its end with the lease of the second, and the end of that; the
    // charge commits at the service, which is reached by another way.
    assert!(report.hits >= 3 * 3, "{report:?}");
    assert!(report.runs > report.hits, "one of each moment comes to its end");
    let mut options = KitOptions::default();
    options.first_commit = 100;
    let late = crash_each_commit(&subject, &options).await.unwrap();
    assert_eq!((late.runs, late.hits), (6, 0), "no run has so many");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_key_is_found_out_by_crashes() {
    if is_worker(false).await {
        return;
    }
    let subject = Purchase { careful: false };
    let found = crash_each_commit(&subject, &KitOptions::default()).await.unwrap_err();
    let found = complaints(found);
    // At which commit depends on how many the engine made before: that is another one in each run.
    assert!(found.iter().all(|one| one.starts_with("killed ")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_key_is_found_out_by_failures_and_repeats() {
    let subject = Purchase { careful: false };
    let found = repeat_each_step(&subject, &KitOptions::default()).await.unwrap_err();
    let found = complaints(found);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|one| one.contains("charge Repeat")), "{found:?}");
    let found = fail_each_step(&subject, &KitOptions::default()).await.unwrap_err();
    let found = complaints(found);
    for way in ["FailsAfter", "FailsForGoodAfter", "TimesOut", "Late"] {
        assert!(found.iter().any(|one| one.contains(way)), "{way}: {found:?}");
    }
    assert!(found.iter().all(|one| !one.starts_with("charge Fail(Fails):")), "{found:?}");
}
