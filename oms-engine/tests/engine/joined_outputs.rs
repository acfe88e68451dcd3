//! What a loop or a JOIN puts together from small outputs may be too large for one.

use oms_engine::{Engine, Execution, StartRequest, TaskStatus, WorkflowDef, WorkflowStatus};
use serde_json::{Value, json};

use crate::common::script::Work;
use crate::common::{assert_nothing_stuck, database, engine, wait};

/// A mebibyte in every output: three are over the limit of a task.
fn large() -> Work {
    Work::new(|_, _| async { Ok(json!({ "text": "x".repeat(1 << 20) })) })
}

fn work(reference_name: &str) -> Value {
    json!({"name": "work", "taskReferenceName": reference_name, "type": "SIMPLE"})
}

async fn play(engine: &Engine, tasks: &Value) -> Execution {
    let text = json!({"name": "w", "tasks": tasks, "outputParameters": {"a": 1}});
    let def = WorkflowDef::from_json(&text.to_string()).unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    wait(engine, id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_over_the_limit_fails_and_says_what_keeps_it_small() {
    let database = database().await;
    let engine = engine(&database).task(large()).build().await.unwrap();
    let with = |input: Value| {
        json!([{
            "name": "l", "taskReferenceName": "l", "type": "DO_WHILE",
            "inputParameters": input, "loopOver": [work("a")],
        }])
    };
    let run = play(&engine, &with(json!({"_items": [1, 2, 3, 4]}))).await;
    let of_loop = run.task("l").unwrap();
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(of_loop.status, TaskStatus::FailedWithTerminalError);
    let reason = of_loop.reason_for_incompletion.as_deref().unwrap();
    assert!(reason.contains("larger than") && reason.contains("keepLastN"), "{reason}");
    assert_eq!(of_loop.output_data, json!({"iteration": 4}));
    let run = play(&engine, &with(json!({"_items": [1, 2, 3, 4], "keepLastN": 2}))).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let of_loop = run.task("l").unwrap();
    let kept: Vec<&str> = ["1", "2", "3", "4"]
        .into_iter()
        .filter(|turn| of_loop.output_data.get(turn).is_some())
        .collect();
    assert_eq!(kept, ["3", "4"]);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_over_the_limit_fails_and_says_why() {
    let database = database().await;
    let engine = engine(&database).task(large()).build().await.unwrap();
    let names = ["a", "b", "c", "d"];
    let branches: Vec<Vec<Value>> = names.iter().map(|name| vec![work(name)]).collect();
    let tasks = json!([
        {"name": "f", "taskReferenceName": "f", "type": "FORK_JOIN", "forkTasks": branches},
        {"name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": names},
    ]);
    let run = play(&engine, &tasks).await;
    let join = run.task("j").unwrap();
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(join.status, TaskStatus::FailedWithTerminalError);
    let reason = join.reason_for_incompletion.as_deref().unwrap();
    assert!(reason.contains("list fewer tasks"), "{reason}");
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}
