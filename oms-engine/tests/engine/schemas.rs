//! Schemas that are enforced, where the engine itself stands between: starts of all kinds, and
//! the writes of a transactional task.

use crate::common::script::{Work, told};
use crate::common::{assert_nothing_stuck, database, wait};
use oms_engine::definition::{SchemaDef, SchemaType, WorkflowDef, WorkflowTask};
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

fn amount_named(version: i32, data: &Value) -> SchemaDef {
    let data = data.as_object().cloned();
    SchemaDef { name: "amount".to_owned(), version, data, ..SchemaDef::default() }
}

fn by_name(version: i32) -> SchemaDef {
    SchemaDef { data: None, ..amount_named(version, &json!({})) }
}

#[tokio::test]
async fn a_schema_counts_as_it_was_when_the_definition_that_names_it_was_registered() {
    let database = database().await;
    let engine = ready(&database).await;
    let of_type = |name: &str| json!({"properties": {"amount": {"type": name}}});
    engine.register_schemas(&[amount_named(1, &of_type("integer"))]).await.unwrap();
    let def = of("work", Some(by_name(1)));
    engine.register_workflow(&def).await.unwrap();
    let refused = engine.start(start(&json!("one"))).await.unwrap_err();
    assert!(refused.to_string().contains("$.amount"), "{refused}");

    engine.register_schemas(&[amount_named(1, &of_type("string"))]).await.unwrap();
    assert!(engine.remove_schema("amount", None).await.unwrap());
    assert!(!engine.remove_schema("amount", None).await.unwrap());
    let id = engine.start(start(&json!(1))).await.unwrap().id;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    engine.restart(id, RestartOptions::on_latest_definition()).await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    let kept = &engine.workflow_definitions().await.unwrap()[0];
    assert_eq!(kept.input_schema, Some(amount_named(1, &of_type("integer"))));

    // Registered again it is another text.
    engine.register_schemas(&[amount_named(1, &of_type("string"))]).await.unwrap();
    engine.register_workflow(&def).await.unwrap();
    engine.start(start(&json!("one"))).await.unwrap();
    assert!(engine.start(start(&json!(1))).await.is_err());
}

#[tokio::test]
async fn a_schema_that_is_not_registered_is_told_with_its_path_wherever_it_is_named() {
    let database = database().await;
    let engine = ready(&database).await;
    let any = json!({"type": "object"});
    engine.register_schemas(&[amount_named(1, &any), amount_named(3, &any)]).await.unwrap();
    let held = |version| TaskDef {
        output_schema: Some(by_name(version)),
        enforce_schema: true,
        ..TaskDef::new("work")
    };
    let of_task = engine.register_task(&held(2)).await.unwrap_err().to_string();
    let unknown = "names schema \"amount\" version 2, which is not registered: register it, or \
                   write it here as `data`";
    assert_eq!(of_task, format!("task definition \"work\": $.outputSchema: {unknown}"));
    let inside = of("work", Some(by_name(2)));
    let mut def = of("work", Some(by_name(2)));
    def.tasks[0].task_definition = Some(Box::new(held(2)));
    def.tasks.push(WorkflowTask::sub_workflow_inline("inner", &inside));
    let faults = engine.register_workflow(&def).await.unwrap_err().to_string();
    let subject = "workflow definition \"held\" version 1";
    let expected: Vec<String> = [
        "$.inputSchema",
        "$.tasks[0].taskDefinition.outputSchema",
        "$.tasks[1].subWorkflowParam.workflowDefinition.inputSchema",
    ]
    .iter()
    .map(|path| format!("{subject}: {path}: {unknown}"))
    .collect();
    assert_eq!(faults, expected.join("\n"));
    assert!(engine.workflow_definitions().await.unwrap().is_empty());
    engine.register_task(&held(3)).await.unwrap();
    // What is not enforced is a note.
    let free = WorkflowDef { enforce_schema: false, ..of("work", Some(by_name(2))) };
    engine.register_workflow(&free).await.unwrap();
    let id = engine.start(start(&json!("one"))).await.unwrap().id;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
}

#[tokio::test]
async fn a_definition_inside_another_keeps_its_schema_when_that_is_removed() {
    let database = database().await;
    let engine = ready(&database).await;
    let of_type = json!({"properties": {"amount": {"type": "integer"}}});
    engine.register_schemas(&[amount_named(1, &of_type)]).await.unwrap();
    let inside = of("work", Some(by_name(1)));
    let step = WorkflowTask::sub_workflow_inline("inner", &inside)
        .input("amount", "${workflow.input.amount}");
    let def = WorkflowDef::builder("outer").task(step).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    engine.remove_schema("amount", Some(1)).await.unwrap();
    let run = |amount| StartRequest::new("outer").input(json!({ "amount": amount }));
    let good = engine.start(run(json!(1))).await.unwrap().id;
    assert_eq!(wait(&engine, good).await.status, WorkflowStatus::Completed);
    let bad = engine.start(run(json!("one"))).await.unwrap().id;
    let ended = wait(&engine, bad).await;
    assert_eq!(ended.status, WorkflowStatus::Failed);
    let reason = ended.reason_for_incompletion.unwrap();
    assert!(reason.contains("$.amount: value is not of type"), "{reason}");
}

#[tokio::test]
async fn schemas_are_kept_by_name_and_version_all_or_none() {
    let database = database().await;
    let engine = ready(&database).await;
    let any = json!({"type": "object"});
    let kept: SchemaDef = serde_json::from_value(json!({
        "name": "amount", "version": 2, "type": "JSON", "data": any, "ownerApp": "shop",
    }))
    .unwrap();
    engine.register_schemas(&[amount_named(1, &any), kept.clone()]).await.unwrap();
    assert_eq!(engine.schemas().await.unwrap(), [amount_named(1, &any), kept.clone()]);
    assert_eq!(engine.schema("amount", None).await.unwrap(), kept);
    assert_eq!(engine.schema("amount", Some(1)).await.unwrap(), amount_named(1, &any));
    let none = engine.schema("amount", Some(7)).await.unwrap_err();
    assert_eq!(none.to_string(), "schema \"amount\" version 7 is not registered");
    let avro = SchemaDef { schema_type: SchemaType::Avro, ..amount_named(5, &any) };
    let bad = amount_named(5, &json!({"type": "intger"}));
    for (refused, word) in
        [(avro, "$.type: AVRO"), (by_name(5), "$.data: is missing"), (bad, "$.data.type")]
    {
        let error = engine.register_schemas(&[amount_named(4, &any), refused]).await.unwrap_err();
        assert!(
            error.to_string().contains(&format!("schema \"amount\" version 5: {word}")),
            "{error}"
        );
    }
    assert_eq!(engine.schemas().await.unwrap().len(), 2);
    assert!(engine.remove_schema("amount", Some(2)).await.unwrap());
    assert_eq!(engine.schemas().await.unwrap(), [amount_named(1, &any)]);
}
