//! Workers outside of the engine's process: polls, updates, leases.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "../common/mod.rs"]
mod common;

mod leases;
mod places;
mod polls;
mod updates;

use std::time::Duration;

use common::database;
use common::script::told;
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, PollRequest, PolledTask, StartRequest, TaskDef, TaskId, TaskUpdate, WorkflowId,
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// An engine without tasks of its own, on which these lines of `work` are registered.
async fn stage(lines: &[(&str, usize)]) -> (TestDatabase, Engine) {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    for (name, steps) in lines {
        let tasks = vec!["work"; *steps];
        engine.register_workflow(&common::line(name, &tasks)).await.unwrap();
    }
    (database, engine)
}

async fn start(engine: &Engine, name: &str) -> WorkflowId {
    engine.start(StartRequest::new(name)).await.unwrap().id
}

fn poll_of(task_type: &str) -> PollRequest {
    PollRequest::new(task_type, "far").wait(SOON)
}

/// Waits for one task, and has it.
async fn take(engine: &Engine, request: &PollRequest) -> PolledTask {
    let mut tasks = engine.poll(request).await.unwrap().delivered();
    assert_eq!(tasks.len(), 1, "one task in time");
    tasks.remove(0)
}

fn id_of(task: &PolledTask) -> TaskId {
    task.task_id.parse().unwrap()
}

fn done(value: i64) -> TaskUpdate {
    TaskUpdate::completed(json!({ "value": value }))
}

/// Of `work`: no delay before the next attempt.
fn work(change: impl FnOnce(&mut TaskDef)) -> TaskDef {
    let mut def = TaskDef::new("work");
    def.retry_delay_seconds = 0;
    change(&mut def);
    def
}

/// Waits until the lease of a run's task is nobody's in particular.
async fn until_lent(database: &TestDatabase, id: WorkflowId) {
    let lent = format!(
        "SELECT EXISTS (SELECT FROM oms_engine.open_tasks WHERE workflow_id = '{id}' AND holder = -1)"
    );
    common::until(&database.connect().await.unwrap(), &lent).await;
}
