//! Bad input is refused with an error that names the place, and never harms a run beside it.

use std::time::Duration;

use crate::common::script::{After, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, line, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Error, StartRequest, Task, TaskContext, TaskDef, TaskError, TaskStatus, WorkflowDef,
    WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

fn large() -> String {
    "x".repeat(3 * 1024 * 1024 + 1)
}

/// Answers what its input's `give` asks for.
fn giving() -> Work {
    Work::new(|cx, input: Value| async move {
        match input["give"].as_str().unwrap_or_default() {
            "large" => Ok(json!({"big": large()})),
            "deep" => Ok(json!({"deep": nested(101)})),
            "nul" => Ok(json!({"text": "a\0b"})),
            "nul key" => Ok(json!({"a\0b": 1})),
            "nul error" => Err(TaskError::terminal("a\0b")),
            "huge error" => Err(TaskError::terminal("é".repeat(1_000_000))),
            "nul log" => {
                cx.log("a\0b");
                cx.log("y".repeat(1_000_000));
                Ok(json!({}))
            }
            "grow" => Ok(json!({"big": "x".repeat(2 * 1024 * 1024)})),
            _ => Ok(json!({})),
        }
    })
}

async fn ready() -> (TestDatabase, Engine) {
    let database = database().await;
    let after = After::new(|_, _| async { Ok(json!({})) });
    let engine = told(&database).task(giving()).task(after).build().await.unwrap();
    let once = TaskDef::new("work").retry_count(0);
    let step = WorkflowTask::simple("work", "w").definition(once);
    let step = step.input("give", "${workflow.input.give}");
    let def = WorkflowDef::builder("def").task(step).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    (database, engine)
}

fn give(what: &str) -> StartRequest {
    StartRequest::new("def").input(json!({"give": what}))
}

#[tokio::test]
async fn outputs_that_cannot_be_stored_fail_their_task_and_no_other() {
    let (database, engine) = ready().await;
    let bad = [
        ("large", "output of task \"w\" $: is larger than 3145728 bytes"),
        ("deep", "is nested deeper than 100"),
        ("nul", "output of task \"w\" $.text: holds a NUL character"),
        ("nul key", "the key holds a NUL character"),
    ];
    let mut started = Vec::new();
    for (what, why) in bad {
        started.push((engine.start(give(what)).await.unwrap().id, why));
    }
    let good = engine.start(give("")).await.unwrap().id;
    assert_eq!(wait(&engine, good).await.status, WorkflowStatus::Completed);
    for (id, why) in started {
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Failed);
        assert_eq!(run.tasks[0].status, TaskStatus::FailedWithTerminalError);
        let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
        assert!(reason.contains(why), "{reason}");
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn error_texts_and_log_lines_are_made_to_fit() {
    let (_database, engine) = ready().await;
    let nul = engine.start(give("nul error")).await.unwrap().id;
    let run = wait(&engine, nul).await;
    assert_eq!(run.tasks[0].reason_for_incompletion.as_deref(), Some("a\u{fffd}b"));
    let huge = engine.start(give("huge error")).await.unwrap().id;
    let reason = wait(&engine, huge).await.tasks[0].reason_for_incompletion.clone().unwrap();
    assert!(reason.len() < 10_100 && reason.ends_with('…'), "{}", reason.len());
    let logs = engine.start(give("nul log")).await.unwrap().id;
    let task_id = wait(&engine, logs).await.tasks[0].task_id.parse().unwrap();
    let mut lines = engine.task_log(&task_id).await.unwrap();
    while lines.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        lines = engine.task_log(&task_id).await.unwrap();
    }
    assert_eq!(lines[0].log, "a\u{fffd}b");
    assert!(lines[1].log.len() < 10_100);
}

#[tokio::test]
async fn an_input_that_grew_over_the_limit_fails_the_task_that_should_get_it() {
    let (_database, engine) = ready().await;
    let first = WorkflowTask::simple("work", "w").input("give", "grow");
    let second = WorkflowTask::simple("after", "a");
    let second = second.input("one", "${w.output}").input("two", "${w.output}");
    let def = WorkflowDef::builder("grows").task(first).task(second).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("grows")).await.unwrap().id;
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    let reason = run.task("a").unwrap().reason_for_incompletion.clone().unwrap();
    assert!(reason.contains("input of task \"a\" $: is larger than 3145728 bytes"), "{reason}");
}

#[tokio::test]
async fn what_a_start_cannot_take_is_refused_at_the_door() {
    let (_database, engine) = ready().await;
    let long = "k".repeat(256);
    let refused = [
        (give("x").input(json!({"big": large()})).input(json!({"give": large()})), "input of task"),
        (StartRequest::new("def").input(json!({"a": large(), "b": large()})), "5242880 bytes"),
        (StartRequest::new("def").input(json!({"a": nested(100)})), "nested deeper than 100"),
        (StartRequest::new("def").input(json!({"a": "\0"})), "$.a refused: holds a NUL"),
        (StartRequest::new("def").input([1]), "input refused: is no JSON object"),
        (StartRequest::new("def").input("text"), "input refused: is no JSON object"),
        (give("").idempotency_key(""), "idempotency key refused: is empty"),
        (give("").idempotency_key(&long), "idempotency key refused: has 256 bytes, at most 255"),
        (give("").idempotency_key("a\0"), "idempotency key refused: has a NUL"),
        (give("").correlation_id("a\0"), "correlation id refused: has a NUL"),
        (give("").priority(-1), "priority refused: -1 is not within 0 to 99"),
        (StartRequest::new("a\0b"), "workflow name refused: has a NUL"),
        (StartRequest::new("nowhere"), "\"nowhere\" (any version) is not registered"),
        (give("").version(0), "\"def\" version 0 is not registered"),
    ];
    for (request, why) in refused {
        let error = engine.start(request).await.unwrap_err();
        assert!(error.to_string().contains(why) && !error.is_retryable(), "{error}: not {why}");
    }
    let good = engine.start(give("")).await.unwrap().id;
    for (reason, why) in [("a\0", "NUL"), (large().as_str(), "at most 10000")] {
        let error = engine.terminate(good, reason).await.unwrap_err().to_string();
        assert!(error.starts_with("reason refused") && error.contains(why), "{error}");
    }
    assert_eq!(wait(&engine, good).await.status, WorkflowStatus::Completed);
    assert_eq!(engine.list(&Default::default()).await.unwrap().results.len(), 1);
}

#[tokio::test]
async fn a_task_without_a_worker_stays_queued_and_others_go_on() {
    let (_database, engine) = ready().await;
    engine.register_workflow(&line("nobody", &["nobody"])).await.unwrap();
    let queued = engine.start(StartRequest::new("nobody")).await.unwrap().id;
    let good = engine.start(give("")).await.unwrap().id;
    assert_eq!(wait(&engine, good).await.status, WorkflowStatus::Completed);
    until_task(&engine, queued, "nobody_0", "SCHEDULED").await;
    assert_eq!(engine.get(queued).await.unwrap().status, WorkflowStatus::Running);
}

async fn build(
    url: &str,
    change: impl FnOnce(oms_engine::EngineBuilder) -> oms_engine::EngineBuilder,
) -> String {
    let builder = Engine::builder(url).deadline(Duration::from_secs(3));
    let built = tokio::time::timeout(Duration::from_secs(20), change(builder).build()).await;
    match built.unwrap() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{url} was taken"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_lets_nobody_in_is_named_with_what_to_do() {
    let database = database().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let error = build(&format!("postgres://u:hidden@127.0.0.1:{port}/db"), |b| b).await;
    for part in [&format!("127.0.0.1:{port}/db"), "refused", "check that it runs"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("hidden"), "{error}");
    // Somebody listens and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = build(&format!("postgres://u@127.0.0.1:{port}/db"), |b| b).await;
    assert!(error.contains("no answer within 3s") && error.contains("127.0.0.1"), "{error}");
    let missing = database.owner_url().replace(database.name(), "oms_no_such_database");
    let error = build(&missing, |b| b).await;
    assert!(
        error.contains("oms_no_such_database") && error.contains("create the database"),
        "{error}"
    );
    let (scheme, rest) = database.url().split_once("://").unwrap();
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let error = build(&format!("{scheme}://no_such_role:hidden@{rest}"), |b| b).await;
    assert!(error.contains("no_such_role") && error.contains("check user and password"), "{error}");
    assert!(!error.contains("hidden"), "{error}");
    let error = build("postgres://[", |b| b).await;
    assert!(error.starts_with("configuration refused: database URL"), "{error}");
}

#[tokio::test]
async fn tables_that_are_missing_or_too_new_are_told_with_what_to_do() {
    let empty = TestDatabase::empty().await.unwrap();
    let error = build(empty.url(), |b| b).await;
    let wanted = "schema \"oms_engine\" has version 0, this library needs ";
    assert!(error.starts_with(wanted) && error.contains(": call migrate()"), "{error}");
    let newer = database().await;
    let sql = "INSERT INTO oms_engine.migrations (version, name) VALUES (99, 'later')";
    newer.connect().await.unwrap().batch_execute(sql).await.unwrap();
    for migrate in [false, true] {
        let error = build(newer.url(), |b| if migrate { b.migrate() } else { b }).await;
        assert!(error.contains("version 99") && error.contains("upgrade it"), "{error}");
    }
}

struct Odd;

impl Task for Odd {
    const NAME: &'static str = "$system";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _cx: &TaskContext, input: Value) -> Result<Value, TaskError> {
        Ok(input)
    }
}

#[tokio::test]
async fn settings_out_of_range_are_refused_by_name() {
    let database = database().await;
    let url = database.url();
    let zero = Duration::ZERO;
    let refused = [
        (build(url, |b| b.schema("a\"; drop table x")).await, "schema name"),
        (build(url, |b| b.schema("")).await, "schema name \"\""),
        (build(url, |b| b.concurrency(0)).await, "concurrency is 0: use 1 to 10000"),
        (build(url, |b| b.pumps(20_000)).await, "pumps is 20000"),
        (build(url, |b| b.pool_size(0)).await, "pool_size is 0"),
        (build(url, |b| b.deadline(zero)).await, "deadline is 0ns: use 10 ms to 1 hour"),
        (build(url, |b| b.poll_interval(Duration::MAX)).await, "poll_interval is"),
        (
            build(url, |b| b.heartbeat(Duration::from_secs(1), Duration::from_secs(2))).await,
            "heartbeat_limit",
        ),
        (build(url, |b| b.task_concurrency("nobody", 1)).await, "there is no such task here"),
        (build(url, |b| b.name("a\0")).await, "name \"a\\0\": use 1 to 255 bytes"),
        (build(url, |b| b.task(Odd)).await, "task name \"$system\""),
    ];
    for (error, why) in refused {
        assert!(
            error.starts_with("configuration refused") && error.contains(why),
            "{error}: {why}"
        );
    }
}

#[tokio::test]
async fn faults_of_a_definition_are_all_told_and_nothing_is_registered() {
    let (_database, engine) = ready().await;
    let mut def = line("bad", &["work", "work"]);
    def.tasks[1].task_reference_name = "work_0".to_owned();
    def.tasks[0].start_delay = -1;
    def.version = 0;
    let error = engine.register_workflow(&def).await.unwrap_err();
    let Error::InvalidDefinition { .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    for part in ["$.version", "$.tasks[0].startDelay", "work_0"] {
        assert!(text.contains(part), "{text}");
    }
    let registered = engine.workflow_definitions().await.unwrap();
    assert!(registered.iter().all(|def| def.name != "bad"));
}

/// A task definition of which so many may run at once.
fn limited(name: &str, most: i32) -> TaskDef {
    let mut def = TaskDef::new(name);
    def.concurrent_exec_limit = Some(most);
    def
}

#[tokio::test]
async fn limits_that_no_step_could_keep_are_refused_with_their_place() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    let step = WorkflowTask::simple("work", "a");
    let mut own = step.clone();
    own.task_definition = Some(Box::new(limited("work", 5)));
    let of = |step: WorkflowTask| WorkflowDef {
        name: "w".to_owned(),
        tasks: vec![step],
        ..WorkflowDef::default()
    };
    let refused = engine.register_workflow(&of(own.clone())).await.unwrap_err().to_string();
    let place = "$.tasks[0].taskDefinition.concurrentExecLimit";
    assert!(refused.contains(place), "{refused}");
    // The registered one says the same, as in a definition that was read off a run.
    engine.register(&[limited("work", 5)], &[of(own)]).await.unwrap();
    let child = json!({"name": "w", "version": 2, "tasks": [
        {"name": "child", "taskReferenceName": "c", "type": "SUB_WORKFLOW",
         "subWorkflowParam": {"name": "w", "version": 1}}]});
    let child = WorkflowDef::from_json(&child.to_string()).unwrap();
    engine.register_workflow(&child).await.unwrap();
    let refused = engine.register_task(&limited("child", 1)).await.unwrap_err().to_string();
    assert!(refused.contains("$.tasks[0].name") && refused.contains("SUB_WORKFLOW"), "{refused}");
}
