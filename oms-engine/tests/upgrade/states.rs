//! Runs in every state, and what must become of each. They are told apart by their correlation ids.

use std::collections::BTreeMap;
use std::time::Duration;

use oms_engine::definition::{EventHandler, WorkflowSchedule, WorkflowTimeoutPolicy};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, EventRequest, RerunRequest, RestartOptions, RetryOptions, Signal, StartRequest,
    Started, Task, TaskContext, TaskDef, TaskError, WorkflowDef, WorkflowId, WorkflowStatus,
    WorkflowTask,
};
use serde_json::{Value, json};

use crate::common::script::{After, Answer, Gate, Undo, Work, until_task};
use crate::common::{assert_nothing_stuck, engine, until, wait};
use crate::dump::Dump;

/// Of a run that is given one.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Long enough to be seen before it is over.
const A_WHILE: Duration = Duration::from_secs(5);

/// Nobody runs it where the states are made.
struct Elsewhere;

impl Task for Elsewhere {
    const NAME: &'static str = "elsewhere";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        Ok(json!({ "value": cx.reference_name() }))
    }
}

fn definitions() -> (Vec<TaskDef>, Vec<WorkflowDef>) {
    let tasks = vec![
        TaskDef::new("work").retry_count(3).retry_delay(A_WHILE),
        TaskDef { concurrent_exec_limit: Some(1), ..TaskDef::new("after") },
        TaskDef::new("undo"),
        TaskDef::new("elsewhere"),
    ];
    let work =
        |reference: &str, does: &str| WorkflowTask::simple("work", reference).input("do", does);
    let first = || work("first", "pass");
    let signal = WorkflowTask::wait_for_signal;
    let one = |name: &str, step: WorkflowTask| WorkflowDef::builder(name).task(step);
    let workflows = [
        WorkflowDef::builder("steps")
            .task(first())
            .task(work("second", "${workflow.input.do}"))
            .output("second", "${second.output.value}"),
        one("unserved", WorkflowTask::simple("elsewhere", "e")),
        one("limited", WorkflowTask::simple("after", "limited")),
        one("waiting", signal("told")).output("value", "${told.output.value}"),
        one("asking", WorkflowTask::human("asked")),
        one("resting", WorkflowTask::wait_for("rested", A_WHILE)),
        one("late", signal("never"))
            .timeout(Duration::from_secs(1), WorkflowTimeoutPolicy::TimeOutWorkflow),
        one("forked", WorkflowTask::fork("fork", [vec![first()], vec![signal("told")]]))
            .task(WorkflowTask::join("join", ["first", "told"]))
            .output("joined", "${join.output}"),
        one(
            "looped",
            WorkflowTask::do_while("loop", "$.loop['iteration'] < 2", [first(), signal("told")]),
        ),
        one("parent", WorkflowTask::sub_workflow("child", "waiting"))
            .output("value", "${child.output.value}"),
        WorkflowDef::builder("undone")
            .task(first().undone_by(WorkflowTask::simple("undo", "")))
            .task(work("second", "end")),
    ];
    (tasks, workflows.into_iter().map(|def| def.build().unwrap()).collect())
}

/// The run of each state.
const STATES: [(&str, &str, &str); 19] = [
    ("ready", "unserved", ""),
    ("paused", "unserved", ""),
    ("domain", "unserved", ""),
    ("terminated", "unserved", ""),
    ("leased", "steps", "hold"),
    ("delayed", "steps", "fail"),
    ("failed", "steps", "end"),
    ("completed", "steps", "pass"),
    ("rerun", "steps", "pass"),
    ("limited", "limited", "hold"),
    ("limit waits", "limited", "hold"),
    ("waiting", "waiting", ""),
    ("asking", "asking", ""),
    ("resting", "resting", ""),
    ("late", "late", ""),
    ("forked", "forked", ""),
    ("looped", "looped", ""),
    ("parent", "parent", ""),
    ("undone", "undone", ""),
];

/// Does what its input says: in the states, not when they are brought to their end.
async fn told(gate: Gate, input: Value) -> Answer {
    match input.get("do").and_then(Value::as_str) {
        Some("hold") => gate.enter().await,
        Some("fail") => return Err(TaskError::retry("not this time")),
        Some("end") => return Err(TaskError::terminal("never")),
        _ => {}
    }
    Ok(json!({ "value": "made" }))
}

/// Has an engine bring runs to every state, and takes them down while it is at work.
pub(crate) async fn make(database: &TestDatabase) -> Dump {
    let gate = Gate::new();
    let (held, limited, undone) = (gate.clone(), gate.clone(), gate.clone());
    let engine = engine(database)
        .task(Work::new(move |_, input| told(held.clone(), input)))
        .task(After::new(move |_, _| told(limited.clone(), json!({ "do": "hold" }))))
        .task(Undo::new(move |_, _| told(undone.clone(), json!({ "do": "hold" }))))
        .build()
        .await
        .unwrap();
    let (tasks, workflows) = definitions();
    engine.register(&tasks, &workflows).await.unwrap();
    let yearly = WorkflowSchedule::new("yearly", "0 0 0 1 1 *", "unserved");
    engine.put_schedule(&yearly).await.unwrap();
    let handler = json!({ "name": "h", "event": "conductor:x", "active": true, "actions": [
        { "action": "start_workflow", "start_workflow": { "name": "waiting" } },
    ]});
    let handler = EventHandler::from_json(&handler.to_string()).unwrap();
    engine.register_event_handler(&handler).await.unwrap();
    let mut runs = BTreeMap::new();
    for (state, workflow, does) in STATES {
        let mut request = StartRequest::new(workflow)
            .input(json!({ "do": does }))
            .correlation_id(state)
            .idempotency_key(state);
        if state == "domain" {
            request = request.task_to_domain("elsewhere", "eu");
        }
        if state == "parent" {
            request = request.trace(TRACE.parse().unwrap());
        }
        runs.insert(state, engine.start(request).await.unwrap().id);
    }
    let of = |state: &str| *runs.get(state).unwrap();
    for state in ["completed", "failed", "rerun", "late"] {
        wait(&engine, of(state)).await;
    }
    let again = json!({ "do": "hold" });
    let again = RerunRequest::from_step("second").task_input(again);
    engine.rerun(of("rerun"), again).await.unwrap();
    engine.pause(of("paused")).await.unwrap();
    engine.terminate(of("terminated"), "enough").await.unwrap();
    engine.signal(of("looped"), "told", Signal::completed(json!({}))).await.unwrap();
    for (state, task, status) in [
        ("leased", "second", "IN_PROGRESS"),
        ("delayed", "second", "SCHEDULED"),
        ("rerun", "second", "IN_PROGRESS"),
        ("looped", "told__2", "IN_PROGRESS"),
        ("forked", "first", "COMPLETED"),
        ("parent", "child", "IN_PROGRESS"),
        ("undone", "first_undo", "IN_PROGRESS"),
    ] {
        until_task(&engine, of(state), task, status).await;
    }
    let mut client = database.connect().await.unwrap();
    until(&client, "SELECT EXISTS (SELECT FROM oms_engine.open_tasks WHERE attempt = 1)").await;
    until(&client, "SELECT count(*) = 1 FROM oms_engine.task_permits").await;
    let dump = Dump::of(&mut client).await;
    gate.open(100);
    engine.shutdown(Duration::from_secs(5)).await;
    dump
}

/// The dump has what it is for.
pub(crate) fn assert_every_state(dump: &Dump) {
    let all = |table: &str, column: &str| -> Vec<String> {
        let mut values: Vec<_> =
            dump.rows(table).iter().map(|row| row[column].to_string()).collect();
        values.sort();
        values.dedup();
        values
    };
    assert_eq!(all("open_tasks", "state"), ["0", "1", "2", "3"]);
    assert_eq!(all("workflows", "status"), ["0", "1", "2", "3", "4", "5"]);
    assert!(all("open_tasks", "attempt").len() > 1 && all("workflows", "undo").len() > 1);
    assert!(dump.version() < 19 || all("workflows", "trace").len() > 1);
    for table in ["task_history", "task_permits", "schedules", "event_handlers", "sessions"] {
        assert!(!dump.rows(table).is_empty(), "no {table}");
    }
}

/// Has an engine of today bring all that was made to its end.
pub(crate) async fn finish(database: &TestDatabase) {
    let pass = |_, _| async { Answer::Ok(json!({ "value": "finished" })) };
    let engine = engine(database)
        .migrate()
        .task(Work::new(pass))
        .task(After::new(pass))
        .task(Undo::new(pass))
        .task(Elsewhere)
        .task_in(Elsewhere, oms_engine::Serving::new().domain("eu"))
        .build()
        .await
        .unwrap();
    let client = database.connect().await.unwrap();
    let sql =
        "SELECT correlation_id, id::text FROM oms_engine.workflows WHERE correlation_id <> ''";
    let rows = client.query(sql, &[]).await.unwrap();
    let runs: BTreeMap<String, WorkflowId> =
        rows.iter().map(|row| (row.get(0), row.get::<_, String>(1).parse().unwrap())).collect();
    let of = |state: &str| *runs.get(state).unwrap();
    let go_on = json!({ "value": "finished" });
    for (state, task) in
        [("waiting", "told"), ("asking", "asked"), ("forked", "told"), ("looped", "told")]
    {
        engine.signal(of(state), task, Signal::completed(go_on.clone())).await.unwrap();
    }
    engine.signal_first(of("parent"), Signal::completed(go_on)).await.unwrap();
    engine.resume(of("paused")).await.unwrap();
    engine.restart(of("terminated"), RestartOptions::default()).await.unwrap();
    engine.retry(of("failed"), RetryOptions::default()).await.unwrap();
    for (state, ..) in STATES {
        let run = wait(&engine, of(state)).await;
        let expected = match state {
            "late" => WorkflowStatus::TimedOut,
            "undone" => WorkflowStatus::Failed,
            _ => WorkflowStatus::Completed,
        };
        assert_eq!(run.status, expected, "{state}: {run:#?}");
    }
    for (state, output) in [
        ("completed", json!({ "second": "made" })),
        ("failed", json!({ "second": "finished" })),
        ("leased", json!({ "second": "finished" })),
        ("rerun", json!({ "second": "finished" })),
        ("parent", json!({ "value": "finished" })),
        (
            "forked",
            json!({ "joined": { "first": { "value": "made" }, "told": { "value": "finished" } } }),
        ),
    ] {
        assert_eq!(engine.get(of(state)).await.unwrap().output, output, "{state}");
    }
    assert!(engine.get(of("undone")).await.unwrap().not_compensated.is_empty());
    let request = StartRequest::new("unserved").input(json!({ "do": "" })).idempotency_key("ready");
    let Started { id, existed, .. } = engine.start(request).await.unwrap();
    assert_eq!((id, existed), (of("ready"), true));
    what_is_registered_is_there(&engine).await;
    engine.publish(EventRequest::new("conductor:x", json!({}))).await.unwrap();
    until(
        &client,
        "SELECT EXISTS (SELECT FROM oms_engine.workflows
         WHERE name = 'waiting' AND parent_id IS NULL AND correlation_id IS NULL)",
    )
    .await;
    assert_nothing_stuck(&client).await;
    engine.shutdown(Duration::from_secs(5)).await;
}

async fn what_is_registered_is_there(engine: &Engine) {
    let (tasks, workflows) = definitions();
    assert_eq!(engine.task_definitions().await.unwrap().len(), tasks.len());
    assert_eq!(engine.workflow_definitions().await.unwrap().len(), workflows.len());
    assert_eq!(engine.schedules(None).await.unwrap().len(), 1);
}
