//! Who is handed values, and who is not.

use std::collections::BTreeMap;
use std::time::Duration;

use oms_engine::{
    PollRequest, StartRequest, TaskContext, TaskDef, TaskError, TaskUpdate, WorkflowDef,
    WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

use crate::common::script::{Notes, Work, told};
use crate::common::{database, wait};
use crate::{CARD, Known, TOKEN, assert_told_nowhere, once, run, stored};

#[tokio::test]
async fn what_data_says_gets_no_value_also_through_a_child_and_a_dynamic_fork() {
    let database = database().await;
    let notes = Notes::default();
    let seen = notes.clone();
    let work = Work::new(move |cx: TaskContext, input: Value| {
        let seen = seen.clone();
        async move {
            seen.add(cx.reference_name(), &input["key"]);
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(work).secrets(Known).build().await.unwrap();
    let key = "${workflow.secrets.CARD}";
    let given =
        |name: &str| WorkflowTask::simple("work", name).input("key", "${workflow.input.key}");
    let child = WorkflowDef::builder("child").task(given("of_child")).build().unwrap();
    let forked = json!([{"name": "work", "taskReferenceName": "forked", "type": "SIMPLE"}]);
    let inputs = json!({"forked": {"key": "${workflow.input.key}"}});
    let parent = WorkflowDef::builder("parent")
        .task(given("given"))
        .task(WorkflowTask::dynamic("named", "work").input("key", key))
        .task(WorkflowTask::sub_workflow("sub", "child").input("key", key))
        .task(WorkflowTask::dynamic_fork("fork", forked, inputs))
        .task(WorkflowTask::join("join", Vec::<String>::new()))
        .build()
        .unwrap();
    let notices = engine.register(&[TaskDef::new("work")], &[child, parent]).await.unwrap().notices;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0].path, "$.tasks[2].inputParameters.key");
    let request = StartRequest::new("parent").input(json!({ "key": key }));
    let run = wait(&engine, engine.start(request).await.unwrap().id).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{run:?}");
    let literal = json!(key).to_string();
    for name in ["given", "of_child", "forked"] {
        assert_eq!(notes.of(name), [literal.as_str()], "{name}");
    }
    assert_eq!(notes.of("named"), [json!(CARD).to_string()]);
}

#[tokio::test]
async fn runtime_metadata_is_handed_apart_from_the_input_and_told_nowhere() {
    let database = database().await;
    let work = Work::new(|cx: TaskContext, input: Value| async move {
        let handed = cx.runtime_metadata().clone();
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let regions = r#"["eu","us"]"#;
        let expected =
            [of("CARD", CARD), of("REGIONS", regions), of("TOKEN", TOKEN), of("ZONE", "z-1")];
        assert_eq!(handed, BTreeMap::from(expected));
        assert_eq!(input, json!({}));
        Err(TaskError::terminal(format!("{CARD} and {TOKEN} are too old")))
    });
    let builder = told(&database).task(work).secrets(Known).env("ZONE", "z-1");
    // A secret goes before a value of the environment.
    let builder = builder.env("REGIONS", json!(["eu", "us"])).env("TOKEN", "of the environment");
    let engine = builder.build().await.unwrap();
    let names = |names: &[&str]| TaskDef {
        runtime_metadata: names.iter().map(|name| (*name).to_owned()).collect(),
        ..once("work")
    };
    let def = WorkflowDef::builder("w").task(WorkflowTask::simple("work", "step")).build().unwrap();
    engine.register_task(&names(&["CARD", "TOKEN", "ZONE", "REGIONS"])).await.unwrap();
    let reason = |run: &oms_engine::Execution| {
        run.task("step").unwrap().reason_for_incompletion.clone().unwrap()
    };
    assert_eq!(reason(&run(&engine, &def).await), "*** and *** are too old");
    engine.register_task(&names(&["ZONE", "NONE"])).await.unwrap();
    assert_eq!(
        reason(&run(&engine, &def).await),
        "runtimeMetadata names \"NONE\", which is no secret and no value of the environment here"
    );
    assert_told_nowhere("the tables", &stored(&database.connect().await.unwrap()).await);
}

#[tokio::test]
async fn a_remote_worker_is_handed_values_too_and_debug_does_not_show_them() {
    let database = database().await;
    let engine = told(&database).secrets(Known).build().await.unwrap();
    let held = TaskDef { runtime_metadata: vec!["TOKEN".to_owned()], ..once("far") };
    let of = |name: &str| {
        let step = WorkflowTask::simple("far", "step").input("key", name);
        WorkflowDef::builder("w").task(step).build().unwrap()
    };
    engine.register(&[held], &[of("<${workflow.secrets.CARD}>")]).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let request = || PollRequest::new("far", "worker-1").wait(Duration::from_secs(20));
    let polled = engine.poll(&request()).await.unwrap();
    assert_told_nowhere("what is polled", &format!("{polled:?}"));
    let task = polled.delivered().remove(0);
    assert_eq!(*task.input_data, json!({"key": format!("<{CARD}>")}));
    let shown = serde_json::to_value(&task).unwrap();
    assert_eq!(shown["runtimeMetadata"], json!({ "TOKEN": TOKEN }));
    let done = TaskUpdate::completed(json!({}));
    engine.update_task(&task.task_id.parse().unwrap(), done).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(run.tasks[0].input_data, json!({"key": "<${workflow.secrets.CARD}>"}));
    engine.register_workflow(&of("${workflow.secrets.NONE}")).await.unwrap();
    let id = engine.start(StartRequest::new("w")).await.unwrap().id;
    let polled = engine.poll(&request()).await.unwrap();
    assert!(polled.tasks().is_empty());
    let reason = wait(&engine, id).await.tasks[0].reason_for_incompletion.clone();
    assert_eq!(reason.as_deref(), Some("there is no secret \"NONE\""));
    assert_told_nowhere("the tables", &stored(&database.connect().await.unwrap()).await);
}
