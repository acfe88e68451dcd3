//! Inputs that later steps read, on a real PostgreSQL.

use crate::common::{database, engine, wait};
use oms_engine::{
    StartRequest, Task, TaskContext, TaskError, WorkflowDef, WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

struct Echo;

impl Task for Echo {
    const NAME: &'static str = "echo";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, input: Value) -> Result<Value, TaskError> {
        Ok(input)
    }
}

/// The first step's input is stored with its token, for the run's status may change; the second
/// step's is worked out from memory.
#[tokio::test]
async fn a_step_reads_the_input_of_an_earlier_one_also_where_that_was_stored() {
    let database = database().await;
    let starter = engine(&database).build().await.unwrap();
    let def = WorkflowDef::builder("inputs")
        .task(WorkflowTask::simple("echo", "a").input("status", json!("${workflow.status}")))
        .task(WorkflowTask::simple("echo", "b").input("read", json!("${a.input.status}")))
        .build()
        .unwrap();
    starter.register_workflow(&def).await.unwrap();
    let started = starter.start(StartRequest::new("inputs")).await.unwrap();
    // It claims the first step and hands the second over.
    let engine = engine(&database).task(Echo).build().await.unwrap();
    let run = wait(&engine, started.id).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{run:#?}");
    assert_eq!(run.task("a").map(|a| &a.input_data), Some(&json!({ "status": "RUNNING" })));
    assert_eq!(run.task("b").map(|b| &b.input_data), Some(&json!({ "read": "RUNNING" })));
    starter.shutdown(std::time::Duration::from_secs(5)).await;
    engine.shutdown(std::time::Duration::from_secs(5)).await;
}
