//! Spans: what a task says while it runs is told with which attempt it is.

#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "what a test helper does not find fails the test"
)]

mod common;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{database, wait};
use oms_engine::{
    Engine, StartRequest, Task, TaskContext, TaskDef, TaskError, WorkflowDef, WorkflowStatus,
    WorkflowTask,
};
use serde_json::{Value, json};

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Talks;

impl Task for Talks {
    const NAME: &'static str = "talks";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _: Value) -> Result<Value, TaskError> {
        tracing::info!("at work");
        if cx.attempt() == 0 { Err(TaskError::retry("once more")) } else { Ok(json!({})) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_says_stands_in_a_span_of_its_attempt() {
    let said = Said::default();
    let writer = said.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let database = database().await;
    let engine = Engine::builder(database.url()).task(Talks).build().await.unwrap();
    let policy = TaskDef::new("talks").retry_count(1).retry_delay(Duration::ZERO);
    let step = WorkflowTask::simple("talks", "say").definition(policy);
    let def = WorkflowDef::builder("spoken").task(step).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("spoken")).await.unwrap().id;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    let text = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("at work")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (attempt, line) in lines.iter().enumerate() {
        for part in [
            format!("workflow_id={id}"),
            "workflow=\"spoken\"".to_owned(),
            "task=\"say\"".to_owned(),
            "queue=\"talks\"".to_owned(),
            format!("attempt={attempt}"),
        ] {
            assert!(line.contains(&part), "{part} is not in {line}");
        }
    }
    engine.shutdown(Duration::ZERO).await;
}
