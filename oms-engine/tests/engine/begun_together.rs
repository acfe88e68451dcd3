//! Tasks that are handed out together: each goes its own way, whether it ends at once or not.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{database, engine, line, wait};
use oms_engine::{StartRequest, Task, TaskContext, TaskDef, TaskError, WorkflowStatus};
use serde_json::{Value, json};
use tokio::sync::Barrier;

const RUNS: usize = 30;

struct Meet(Arc<Barrier>);

impl Task for Meet {
    const NAME: &'static str = "meet";
    type Input = Value;
    type Output = ();

    async fn run(&self, _: &TaskContext, _: Value) -> Result<(), TaskError> {
        self.0.wait().await;
        Ok(())
    }
}

struct AtOnce;

impl Task for AtOnce {
    const NAME: &'static str = "at_once";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, input: Value) -> Result<Value, TaskError> {
        match input.get("from_start").and_then(Value::as_u64) {
            Some(3) => panic!("made to"),
            Some(4) => Err(TaskError::terminal("told to")),
            _ => Ok(input),
        }
    }
}

async fn started(engine: &oms_engine::Engine, name: &str) -> Vec<oms_engine::WorkflowId> {
    let request = |n| StartRequest::new(name).input(json!({ "value": n }));
    let started = engine.start_many((0..RUNS).map(request).collect()).await.unwrap();
    started.into_iter().map(|started| started.id).collect()
}

#[tokio::test]
async fn tasks_that_wait_for_each_other_are_all_under_way() {
    let database = database().await;
    let meet = Meet(Arc::new(Barrier::new(RUNS)));
    let engine = engine(&database).task(meet).build().await.unwrap();
    engine.register_workflow(&line("meeting", &["meet"])).await.unwrap();
    for id in started(&engine, "meeting").await {
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    }
    engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_task_that_panics_at_once_harms_none_beside_it() {
    let database = database().await;
    let engine = engine(&database).task(AtOnce).build().await.unwrap();
    engine.register_task(&TaskDef::new("at_once").retry_count(0)).await.unwrap();
    engine.register_workflow(&line("quick", &["at_once"])).await.unwrap();
    for (n, id) in started(&engine, "quick").await.into_iter().enumerate() {
        let run = wait(&engine, id).await;
        let (status, reason) = match n {
            3 => (WorkflowStatus::Failed, Some("the task panicked: made to")),
            4 => (WorkflowStatus::Failed, Some("told to")),
            _ => (WorkflowStatus::Completed, None),
        };
        assert_eq!(run.status, status, "{run:#?}");
        let why = run.tasks.first().and_then(|task| task.reason_for_incompletion.as_deref());
        assert_eq!(why, reason);
    }
    engine.shutdown(Duration::from_secs(5)).await;
}
