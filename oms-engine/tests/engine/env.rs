//! What the engine is given for expressions to read.

use crate::common::script::{Work, told};
use crate::common::{database, wait};
use oms_engine::definition::{WorkflowDef, WorkflowTask};
use oms_engine::{Engine, Error, StartRequest, WorkflowStatus};
use serde_json::json;

#[tokio::test]
async fn a_task_keeps_what_the_environment_was_when_it_was_scheduled() {
    let database = database().await;
    let first =
        Engine::builder(database.url()).migrate().env("REGION", "eu").build().await.unwrap();
    let step = WorkflowTask::simple("work", "step").input("region", "${workflow.env.REGION}");
    let next = WorkflowTask::simple("work", "next").input("region", "${workflow.env.REGION}");
    let def = WorkflowDef::builder("w").task(step).task(next).build().unwrap();
    first.register_workflow(&def).await.unwrap();
    let id = first.start(StartRequest::new("w")).await.unwrap().id;
    first.shutdown(std::time::Duration::ZERO).await;
    let work = Work::new(|_, input| async move { Ok(input) });
    let second = told(&database).task(work).env("REGION", "us").build().await.unwrap();
    let run = wait(&second, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let step = run.task("step").unwrap();
    assert_eq!(
        (&step.input_data["region"], &step.output_data["region"]),
        (&json!("eu"), &json!("eu"))
    );
    assert_eq!(run.task("next").unwrap().output_data["region"], json!("us"));
}

#[tokio::test]
async fn what_is_too_large_to_come_into_every_input_is_refused() {
    let database = database().await;
    let large = "x".repeat(300_000);
    let error = Engine::builder(database.url()).env("LARGE", large).build().await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert!(error.to_string().contains("env $: is larger than"), "{error}");
}
