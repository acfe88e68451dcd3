//! Straight lines, end to end on a real PostgreSQL.

use crate::common::{assert_nothing_stuck, database, engine, line, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    ListRequest, StartRequest, Task, TaskContext, TaskError, TaskStatus, WorkflowStatus,
};
use serde_json::{Value, json};

struct Add;

impl Task for Add {
    const NAME: &'static str = "add";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, input: Value) -> Result<Value, TaskError> {
        cx.log(format!("adding in {}", cx.reference_name()));
        let before = input["before"].as_i64().or_else(|| input["from_start"].as_i64()).unwrap_or(0);
        Ok(json!({ "value": before + 1 }))
    }
}

#[tokio::test]
async fn five_steps_run_in_order_each_with_the_output_of_the_one_before() {
    let database = database().await;
    let engine = engine(&database).task(Add).build().await.unwrap();
    let def = line("five", &["add", "add", "add", "add", "add"]);
    engine.register_workflow(&def).await.unwrap();
    let started = engine
        .start(StartRequest::new("five").input(json!({"value": 10})).correlation_id("c1"))
        .await
        .unwrap();
    let run = wait(&engine, started.id).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{run:#?}");
    assert_eq!(run.output, json!({"value": 15}));
    assert_eq!(run.tasks.len(), 5);
    for (n, task) in run.tasks.iter().enumerate() {
        assert_eq!(task.reference_task_name, format!("add_{n}"));
        assert_eq!((task.status, task.seq), (TaskStatus::Completed, n + 1));
        assert_eq!(task.output_data, json!({"value": 11 + n}));
        assert_eq!(task.poll_count, 1);
    }
    let log = engine.task_log(&run.tasks[2].task_id.parse().unwrap()).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].log, "adding in add_2");
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
    engine.shutdown(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn two_schemas_of_one_database_are_two_engines() {
    let database = TestDatabase::empty().await.unwrap();
    let mut ended = Vec::new();
    for schema in ["first_engine", "_second"] {
        let engine = engine(&database).schema(schema).migrate().task(Add).build().await.unwrap();
        engine.register_workflow(&line("one", &["add"])).await.unwrap();
        let id = engine.start(StartRequest::new("one")).await.unwrap().id;
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
        let page = engine.list(&ListRequest::default()).await.unwrap();
        let ids: Vec<_> = page.results.iter().map(|run| run.workflow_id).collect();
        assert_eq!(ids, [id], "{schema} lists its own runs alone");
        engine.shutdown(std::time::Duration::from_secs(5)).await;
        ended.push(id);
    }
    let client = database.connect().await.unwrap();
    for (schema, id) in ["first_engine", "_second"].into_iter().zip(ended) {
        let sql = format!("SELECT id FROM {schema}.workflows");
        let row = client.query_one(&sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, uuid::Uuid>(0), id.as_uuid());
    }
}
