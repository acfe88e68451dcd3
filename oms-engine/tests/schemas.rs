//! Schemas that are enforced, where the engine itself stands between: starts of all kinds, and
//! the writes of a transactional task.

#![expect(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::script::{Work, told};
use common::{assert_nothing_stuck, database, wait};
use oms_engine::definition::{SchemaDef, WorkflowDef, WorkflowTask};
use oms_engine::schemars;
use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::Transaction;
use oms_engine::{
    Engine, Error, RestartOptions, StartRequest, Task, TaskContext, TaskDef, TaskError,
    TaskSchemas, TaskStatus, TransactionalTask, WorkflowStatus,
};
use serde_json::{Value, json};

fn schema(data: &Value) -> Option<SchemaDef> {
    Some(SchemaDef { data: data.as_object().cloned(), ..SchemaDef::default() })
}

fn amount() -> Option<SchemaDef> {
    schema(&json!({
        "type": "object",
        "properties": {"amount": {"type": "integer"}},
        "required": ["amount"],
    }))
}

/// Writes a row and gives what it was given.
struct Book;

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        _: &TaskContext,
        tx: &Transaction<'_>,
        input: Value,
    ) -> Result<Value, TaskError> {
        tx.execute("INSERT INTO effects VALUES ($1)", &[&input.to_string()]).await?;
        Ok(input)
    }
}

async fn ready(database: &TestDatabase) -> Engine {
    let client = database.connect().await.unwrap();
    client.batch_execute("CREATE TABLE effects (what text)").await.unwrap();
    let work = Work::new(|_, input| async move { Ok(input) });
    told(database).task(work).transactional_task(Book).build().await.unwrap()
}

fn of(task: &str, schema: Option<SchemaDef>) -> WorkflowDef {
    let step = WorkflowTask::simple(task, "step").input("amount", "${workflow.input.amount}");
    let def = WorkflowDef::builder("held").task(step).build().unwrap();
    WorkflowDef { input_schema: schema, ..def }
}

fn start(amount: &Value) -> StartRequest {
    StartRequest::new("held").input(json!({ "amount": amount }))
}

#[tokio::test]
async fn every_way_of_starting_holds_the_input_to_the_schema() {
    let database = database().await;
    let engine = ready(&database).await;
    engine.register_workflow(&of("work", amount())).await.unwrap();
    let good = engine.start(start(&json!(1))).await.unwrap();
    let mut client = database.connect().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let bad = || start(&json!("one"));
    for refused in [
        engine.start(bad()).await.map(drop),
        engine.start_many(vec![start(&json!(2)), bad()]).await.map(drop),
        engine.start_in(&tx, bad()).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "input of workflow \"held\" refused: it does not fit the schema: \
             $.amount: value is not of type \"integer\""
        );
    }
    tx.rollback().await.unwrap();
    assert_eq!(wait(&engine, good.id).await.status, WorkflowStatus::Completed);
    let runs = client.query_one("SELECT count(*) FROM oms_engine.workflows", &[]).await.unwrap();
    assert_eq!(runs.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_restart_on_a_definition_that_the_input_does_not_fit_is_refused() {
    let database = database().await;
    let engine = ready(&database).await;
    engine.register_workflow(&of("work", None)).await.unwrap();
    let id = engine.start(start(&json!("one"))).await.unwrap().id;
    wait(&engine, id).await;
    engine.register_workflow(&of("work", amount())).await.unwrap();
    let latest = RestartOptions::on_latest_definition();
    let error = engine.restart(id, latest).await.unwrap_err();
    assert!(error.to_string().contains("$.amount"), "{error}");
    assert_eq!(engine.get(id).await.unwrap().status, WorkflowStatus::Completed);
    engine.restart(id, RestartOptions::default()).await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
}

#[tokio::test]
async fn the_writes_of_a_transactional_task_whose_output_does_not_fit_are_rolled_back() {
    let database = database().await;
    let engine = ready(&database).await;
    let held = TaskDef { output_schema: amount(), enforce_schema: true, ..TaskDef::new("book") };
    engine.register(&[held], &[of("book", None)]).await.unwrap();
    let bad = engine.start(start(&json!("one"))).await.unwrap().id;
    let run = wait(&engine, bad).await;
    let step = run.task("step").unwrap();
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(step.status, TaskStatus::FailedWithTerminalError);
    let reason = step.reason_for_incompletion.as_deref().unwrap();
    assert!(reason.ends_with("$.amount: value is not of type \"integer\""), "{reason}");
    let good = engine.start(start(&json!(1))).await.unwrap().id;
    assert_eq!(wait(&engine, good).await.status, WorkflowStatus::Completed);
    let client = database.connect().await.unwrap();
    let rows = client.query("SELECT what FROM effects", &[]).await.unwrap();
    let effects: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(effects, [json!({"amount": 1}).to_string()]);
    assert_nothing_stuck(&client).await;
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[expect(dead_code, reason = "a type that its schema is made of")]
struct Payment {
    cents: u64,
    note: Option<String>,
}

/// Publishes what its types look like.
struct Pay;

impl Task for Pay {
    const NAME: &'static str = "pay";
    type Input = Payment;
    type Output = String;

    fn schemas() -> Option<TaskSchemas> {
        TaskSchemas::of::<Self::Input, Self::Output>()
    }

    async fn run(&self, _: &TaskContext, _: Payment) -> Result<String, TaskError> {
        Ok(String::new())
    }
}

#[tokio::test]
async fn a_definition_that_cannot_fit_the_types_of_a_task_is_noticed_when_it_is_registered() {
    let database = database().await;
    let engine = told(&database).task(Pay).build().await.unwrap();
    let def = WorkflowDef::builder("pays")
        .task(WorkflowTask::simple("pay", "first").input("cents", "many"))
        .task(WorkflowTask::simple("pay", "second").input("note", "${first.output.result}"))
        .task(
            WorkflowTask::simple("pay", "third")
                .input("cents", "${second.output.result}")
                .input("note", "${second.output.receipt}"),
        )
        .build()
        .unwrap();
    let notices = engine.register_workflow(&def).await.unwrap().notices;
    let notices: Vec<String> = notices.iter().map(ToString::to_string).collect();
    let at = "workflow definition \"pays\" version 1: $.tasks";
    assert_eq!(
        notices,
        [
            format!("{at}[0].inputParameters.cents: is a text, and task \"pay\" wants integer"),
            format!(
                "{at}[1].inputParameters: leaves out \"cents\", which task \"pay\" cannot do without"
            ),
            format!(
                "{at}[2].inputParameters.cents: is string by task \"pay\", and task \"pay\" wants \
                 integer"
            ),
            format!("{at}[2].inputParameters.note: task \"pay\" gives no \"receipt\""),
        ]
    );
}
