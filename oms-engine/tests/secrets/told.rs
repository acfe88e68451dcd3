//! Nothing tells a value: tables, logs, messages, what servers send back.

use std::collections::BTreeMap;
use std::time::Duration;

use oms_engine::definition::TimeoutPolicy;
use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::Transaction;
use oms_engine::{
    HttpSettings, StartRequest, Task, TaskContext, TaskError, TaskStatus, TransactionalTask,
    WorkflowDef, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

use crate::common::script::{After, Undo, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, wait};
use crate::stand_in::StandIn;
use crate::{CARD, DB, Known, TOKEN, assert_told_nowhere, logged, once, run, stored};

/// Does what its input says with the value it was handed.
async fn act(cx: TaskContext, input: Value) -> Result<Value, TaskError> {
    assert_eq!(input["key"], json!(CARD));
    assert_eq!(input["text"], json!(format!("Bearer {CARD} for {TOKEN}")));
    cx.log(format!("called with {CARD}"));
    match input["do"].as_str().unwrap_or_default() {
        "fail" => Err(TaskError::retry(format!("{CARD} was refused"))),
        "panic" => panic!("no {CARD:?} and no {TOKEN}"),
        "hang" => {
            cx.cancelled().await;
            Err(TaskError::retry(format!("{CARD} was late")))
        }
        _ => Ok(json!({"done": true})),
    }
}

/// Its type does not fit what it is given.
struct Typed;

impl Task for Typed {
    const NAME: &'static str = "typed";
    type Input = BTreeMap<String, u64>;
    type Output = Value;

    async fn run(&self, _: &TaskContext, _: Self::Input) -> Result<Value, TaskError> {
        Ok(json!({}))
    }
}

/// The database says what it did not like.
struct Book;

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = BTreeMap<String, String>;
    type Output = Value;

    async fn run(
        &self,
        _: &TaskContext,
        tx: &Transaction<'_>,
        input: Self::Input,
    ) -> Result<Value, TaskError> {
        tx.query_one("SELECT $1::text::int", &[&input["key"]]).await?;
        Ok(json!({}))
    }
}

fn named(step: WorkflowTask, does: &str) -> WorkflowTask {
    step.input("key", "${workflow.secrets.CARD}")
        .input("text", "Bearer ${workflow.secrets.CARD} for ${workflow.secrets.TOKEN}")
        .input("do", does)
}

fn acting(database: &TestDatabase) -> oms_engine::EngineBuilder {
    told(database).task(Work::new(act)).task(After::new(act)).task(Undo::new(act)).secrets(Known)
}

/// Does a step that can be undone, then one that does this.
fn order(does: &str) -> WorkflowDef {
    let undo = named(WorkflowTask::simple("undo", ""), "ok");
    let limit = once("after").response_timeout(Duration::from_secs(1));
    let limit = limit.timeout(Duration::from_secs(1), TimeoutPolicy::Retry);
    WorkflowDef::builder(does)
        .task(named(WorkflowTask::simple("work", "first"), "ok").undone_by(undo))
        .task(named(WorkflowTask::simple("after", "then"), does).definition(limit))
        .output("key", "${then.input.key}")
        .failure_workflow("told")
        .build()
        .unwrap()
}

#[tokio::test]
async fn no_value_is_stored_or_logged_whatever_becomes_of_a_run() {
    assert!(!logged().contains(CARD));
    let database = database().await;
    let engine = acting(&database).build().await.unwrap();
    let step = WorkflowTask::set_variable("v", "of", "${workflow.input.failedWorkflow}");
    let after = WorkflowDef::builder("told").task(step).build().unwrap();
    engine.register_workflow(&after).await.unwrap();
    for (does, status) in [
        ("ok", WorkflowStatus::Completed),
        ("fail", WorkflowStatus::Failed),
        ("panic", WorkflowStatus::Failed),
        ("hang", WorkflowStatus::TimedOut),
    ] {
        let ended = run(&engine, &order(does)).await;
        assert_eq!(ended.status, status, "{does}");
        let undone = ended.task("first_undo").map(|task| task.status);
        assert_eq!(undone, (does != "ok").then_some(TaskStatus::Completed), "{does}");
        assert_eq!(ended.tasks[0].input_data["key"], json!("${workflow.secrets.CARD}"));
        assert_told_nowhere("what is shown", &format!("{ended:?}"));
    }
    let failed = engine.list(&oms_engine::ListRequest::default()).await.unwrap();
    assert_told_nowhere("lists", &format!("{failed:?}"));
    let client = database.connect().await.unwrap();
    let id = engine.start(StartRequest::new("hang")).await.unwrap().id;
    until_task(&engine, id, "then", "IN_PROGRESS").await;
    engine.terminate_with_compensation(id, "enough").await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Terminated);
    let stored = stored(&client).await;
    assert!(stored.contains("*** was refused") && stored.contains("called with ***"));
    assert!(stored.contains("${workflow.secrets.CARD}"));
    assert_told_nowhere("the tables", &stored);
    let logged = logged();
    assert!(logged.contains("oms_engine"), "{logged}");
    assert_told_nowhere("the logs", &logged);
    assert_told_nowhere("the engine", &format!("{engine:?}"));
    assert_nothing_stuck(&client).await;
}

#[tokio::test]
async fn an_input_that_does_not_fit_and_a_database_that_quotes_it_tell_no_value() {
    let database = database().await;
    let engine =
        told(&database).task(Typed).transactional_task(Book).secrets(Known).build().await.unwrap();
    let of = |task: &str| {
        let step = WorkflowTask::simple(task, "step").definition(once(task));
        WorkflowDef::builder(task).task(step.input("key", "${workflow.secrets.CARD}")).build()
    };
    let reason = |run: &oms_engine::Execution| {
        run.task("step").unwrap().reason_for_incompletion.clone().unwrap()
    };
    let typed = run(&engine, &of("typed").unwrap()).await;
    assert_eq!(reason(&typed), "its input does not fit the task's type at key");
    let book = reason(&run(&engine, &of("book").unwrap()).await);
    assert!(book.contains("invalid input syntax for type integer: \"***\""), "{book}");
    assert_told_nowhere("the tables", &stored(&database.connect().await.unwrap()).await);
}

#[tokio::test]
async fn an_http_task_is_handed_values_and_keeps_none_of_what_comes_back() {
    let server = StandIn::new().await;
    let echo = json!({"token": TOKEN, "pin": 54329, "list": [format!("for {TOKEN}")]});
    server.on("/echo", [json!({"body": echo, "headers": {"x-token": TOKEN}})]);
    server.on("/fail", [json!({"status": 500, "body": echo})]);
    let database = database().await;
    let http = HttpSettings::allow([format!("127.0.0.1:{}", server.port)]);
    let engine = told(&database).http(http).secrets(Known).build().await.unwrap();
    let call = |path: &str| {
        let def = json!({"name": "call", "tasks": [{
            "name": "call", "taskReferenceName": "step", "type": "HTTP",
            "taskDefinition": {"name": "call", "retryCount": 0},
            "inputParameters": {"http_request": {
                "uri": path, "method": "POST", "body": {"db": "${workflow.secrets.DB}"},
                "headers": {"authorization": "Bearer ${workflow.secrets.TOKEN}"},
            }},
        }]});
        WorkflowDef::from_json(&def.to_string()).unwrap()
    };
    let done = run(&engine, &call(&server.url("/echo"))).await;
    assert_eq!(done.status, WorkflowStatus::Completed);
    let asked = server.asked().remove(0);
    assert_eq!(asked.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(asked.body, json!({ "db": DB }).to_string());
    let body = &done.task("step").unwrap().output_data["response"]["body"];
    assert_eq!(*body, json!({"token": "***", "pin": "***", "list": ["for ***"]}));
    for path in [
        &server.url("/fail"),
        "http://${workflow.secrets.TOKEN}.test/",
        "no:${workflow.secrets.TOKEN}",
    ] {
        assert_eq!(run(&engine, &call(path)).await.status, WorkflowStatus::Failed, "{path}");
    }
    assert_told_nowhere("the tables", &stored(&database.connect().await.unwrap()).await);
}
