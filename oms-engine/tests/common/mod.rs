//! What several test files share.

#![expect(clippy::unwrap_used, reason = "test helpers")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses some of it")]

pub(crate) mod script;

use std::time::Duration;

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, EngineBuilder, Execution, WorkflowDef, WorkflowId, WorkflowTask};
use serde_json::json;

/// A database with the engine's tables, whose URL has an application's rights and no more.
pub(crate) async fn database() -> TestDatabase {
    TestDatabase::migrated().await.unwrap().as_application().await.unwrap()
}

/// An engine with settings that make tests quick.
pub(crate) fn engine(database: &TestDatabase) -> EngineBuilder {
    Engine::builder(database.url())
        .poll_interval(Duration::from_secs(1))
        .heartbeat(Duration::from_millis(200), Duration::from_secs(3))
}

/// A straight line of tasks, each with what the one before gave and the workflow's input.
pub(crate) fn line(name: &str, tasks: &[&str]) -> WorkflowDef {
    let mut def = WorkflowDef::builder(name);
    let mut before: Option<String> = None;
    for (n, task) in tasks.iter().enumerate() {
        let reference = format!("{task}_{n}");
        let mut step = WorkflowTask::simple(*task, &reference)
            .input("from_start", json!("${workflow.input.value}"));
        if let Some(before) = &before {
            step = step.input("before", json!(format!("${{{before}.output.value}}")));
        }
        def = def.task(step);
        before = Some(reference);
    }
    def.build().unwrap()
}

/// Waits for a run's end, at most a minute.
pub(crate) async fn wait(engine: &Engine, id: WorkflowId) -> Execution {
    tokio::time::timeout(Duration::from_secs(60), engine.wait(id)).await.unwrap().unwrap()
}

/// Waits until a query gives true, at most a minute.
pub(crate) async fn until(client: &tokio_postgres::Client, sql: &str) {
    let begun = std::time::Instant::now();
    // Asked often, so it is planned once.
    let asked = client.prepare(sql).await.unwrap();
    loop {
        if client.query_one(&asked, &[]).await.unwrap().get::<_, bool>(0) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never true: {sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nothing stands still.
pub(crate) async fn assert_nothing_stuck(client: &tokio_postgres::Client) {
    let rows = client
        .query("SELECT workflow_id::text, reason FROM oms_engine.stuck_workflows", &[])
        .await
        .unwrap();
    let stuck: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(stuck.is_empty(), "{stuck:?}");
}
