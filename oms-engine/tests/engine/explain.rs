//! `Engine::explain`: each open task says what it waits for, and where the time went.

use std::time::{Duration, Instant};

use crate::common::script::{Gate, Work, told};
use crate::common::{database, engine, line, until, wait};
use oms_engine::{
    Engine, Error, Explanation, OpenTaskExplained, PollRequest, StartRequest, TaskDef, TaskError,
    TaskUpdate, WaitsFor, WorkflowDef, WorkflowId, WorkflowStatus,
};
use serde_json::{Value, json};

fn of<'a>(explained: &'a Explanation, name: &str) -> &'a OpenTaskExplained {
    let task = explained.open_tasks.iter().find(|task| task.reference_task_name == name);
    task.unwrap_or_else(|| panic!("{name}: {explained:#?}"))
}

/// Explains a run until that holds of it.
async fn explained(
    engine: &Engine,
    id: WorkflowId,
    holds: impl Fn(&Explanation) -> bool,
) -> Explanation {
    let begun = Instant::now();
    loop {
        let explained = engine.explain(id).await.unwrap();
        if holds(&explained) {
            return explained;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never: {explained:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn simple(name: &str, reference: &str) -> Value {
    json!({"name": name, "taskReferenceName": reference, "type": "SIMPLE"})
}

/// A fork with a branch for each thing that a task can wait for.
fn waiting() -> WorkflowDef {
    let of = |kind: &str, input: &Value| json!({"name": kind, "taskReferenceName": kind, "type": kind, "inputParameters": input});
    let mut signal = of("WAIT", &json!({}));
    signal["taskReferenceName"] = json!("signal");
    let mut late = simple("work", "late");
    late["startDelay"] = json!(3_600);
    let child = json!({"name": "sub", "taskReferenceName": "sub", "type": "SUB_WORKFLOW",
        "subWorkflowParam": {"name": "one"}});
    let branches: Vec<Value> = [
        simple("work", "ready"),
        of("WAIT", &json!({"duration": "1 hours"})),
        of("HUMAN", &json!({})),
        signal,
        late,
        child,
    ]
    .into_iter()
    .map(|task| json!([task]))
    .collect();
    let on = json!(["ready", "WAIT", "HUMAN", "signal", "late", "sub"]);
    let def = json!({"name": "waiting", "tasks": [
        {"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN", "forkTasks": branches},
        {"name": "join", "taskReferenceName": "join", "type": "JOIN", "joinOn": on}]});
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_open_task_says_what_it_waits_for() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    engine.register_workflow(&waiting()).await.unwrap();
    engine.start(StartRequest::new("one")).await.unwrap();
    let id = engine.start(StartRequest::new("waiting")).await.unwrap().id;
    let child = |run: &Explanation| {
        let sub = run.open_tasks.iter().find(|task| task.reference_task_name == "sub");
        sub.is_some_and(|sub| matches!(sub.waits_for, WaitsFor::SubWorkflow { .. }))
    };
    let run = explained(&engine, id, child).await;
    assert_eq!((run.status, run.open_task_count), (WorkflowStatus::Running, 7));
    let ready = WaitsFor::Worker { queue: "work".to_owned(), ahead: 1, asked: None };
    assert_eq!(of(&run, "ready").waits_for, ready);
    let hour = |name: &str| (of(&run, name).until.unwrap() - run.create_time).num_seconds();
    assert_eq!((&of(&run, "WAIT").waits_for, hour("WAIT")), (&WaitsFor::Timer, 3_600));
    assert_eq!((&of(&run, "late").waits_for, hour("late")), (&WaitsFor::StartDelay, 3_600));
    assert_eq!(of(&run, "HUMAN").waits_for, WaitsFor::Person);
    assert_eq!(of(&run, "signal").waits_for, WaitsFor::Signal);
    let WaitsFor::SubWorkflow { workflow_id, status, .. } = &of(&run, "sub").waits_for else {
        panic!("{run:#?}");
    };
    assert_eq!(*status, WorkflowStatus::Running);
    let of_child = engine.explain(*workflow_id).await.unwrap();
    assert_eq!(of_child.parent_workflow_id, Some(id));
    let WaitsFor::Tasks { remaining, tasks } = &of(&run, "join").waits_for else {
        panic!("{run:#?}");
    };
    assert_eq!((*remaining, tasks.len()), (6, 6));
    engine.pause(id).await.unwrap();
    let run = engine.explain(id).await.unwrap();
    assert!(run.summary.starts_with("PAUSED"), "{}", run.summary);
    assert!(run.open_tasks.iter().all(|task| task.paused));
    let nobody = engine.explain(WorkflowId::from_uuid(nobody_s())).await;
    assert!(matches!(nobody, Err(Error::WorkflowNotFound(_))), "{nobody:?}");
}

/// Of no run.
fn nobody_s() -> uuid::Uuid {
    uuid::Uuid::from_u128(7)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_a_task_is_named_and_who_served_its_queue_is_known() {
    let database = database().await;
    let gate = Gate::new();
    let held = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = held.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = engine(&database).name("kitchen").task(work).build().await.unwrap();
    let mut limited = TaskDef::new("work");
    limited.concurrent_exec_limit = Some(1);
    engine.register_task(&limited).await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    engine.register_workflow(&line("other", &["nobody"])).await.unwrap();
    let first = engine.start(StartRequest::new("one")).await.unwrap().id;
    gate.entered().await;
    let run = engine.explain(first).await.unwrap();
    assert!(
        matches!(&of(&run, "work_0").waits_for, WaitsFor::Running { engine, .. } if engine == "kitchen"),
        "{run:#?}"
    );
    let second = engine.start(StartRequest::new("one")).await.unwrap().id;
    let limit = WaitsFor::Limit {
        queue: "work".to_owned(),
        ahead: 0,
        task_def_name: "work".to_owned(),
        concurrent_exec_limit: Some(1),
        rate_limit_per_frequency: None,
    };
    let run = engine.explain(second).await.unwrap();
    assert_eq!(of(&run, "work_0").waits_for, limit);
    let client = database.connect().await.unwrap();
    let served = "SELECT EXISTS (SELECT FROM oms_engine.worker_polls
        WHERE task_type = 'work' AND domain = '')";
    until(&client, served).await;
    let other = engine.start(StartRequest::new("other")).await.unwrap().id;
    let run = engine.explain(other).await.unwrap();
    assert!(run.summary.contains("nobody has asked this queue"), "{}", run.summary);
    gate.open(2);
    let ended = wait(&engine, first).await;
    let run = engine.explain(first).await.unwrap();
    assert_eq!((run.end_time, run.open_task_count), (ended.end_time, 0));
    assert_eq!(run.time.critical.total_ms(), run.time.total_ms);
    assert_eq!(run.time.critical_path[0].reference_task_name, "work_0");
    assert!(run.summary.starts_with("COMPLETED after"), "{}", run.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_worker_a_call_back_and_a_delay_are_told_apart() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    engine
        .register_task(&TaskDef::new("work").retry_delay(Duration::from_secs(600)))
        .await
        .unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let id = engine.start(StartRequest::new("one")).await.unwrap().id;
    let poll = || PollRequest::new("work", "far").wait(Duration::from_secs(10));
    let task = engine.poll(&poll()).await.unwrap().delivered().remove(0);
    let remote = WaitsFor::RemoteWorker { worker: Some("far".to_owned()) };
    explained(&engine, id, |run| of(run, "work_0").waits_for == remote).await;
    let task_id = task.task_id.parse().unwrap();
    let later = TaskUpdate::in_progress(Duration::from_secs(600));
    engine.update_task(&task_id, later).await.unwrap();
    let given_back = |run: &Explanation| {
        let task = of(run, "work_0");
        matches!(task.waits_for, WaitsFor::CallBack { .. }) && task.until.is_some()
    };
    explained(&engine, id, given_back).await;
    engine.reset_callbacks(id).await.unwrap();
    let task = engine.poll(&poll()).await.unwrap().delivered().remove(0);
    let task_id = task.task_id.parse().unwrap();
    engine.update_task(&task_id, TaskUpdate::failed("no")).await.unwrap();
    let run = explained(&engine, id, |run| of(run, "work_0").waits_for == WaitsFor::BackOff).await;
    assert_eq!(of(&run, "work_0").retry_count, 1);
    let spent = run.time.steps[0].spent;
    assert_eq!(spent.back_off_ms, (run.as_of - of(&run, "work_0").since).num_milliseconds());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_says_by_what_and_a_dead_holder_is_told_of() {
    let database = database().await;
    let work = Work::new(|_, _| async { Err(TaskError::terminal("broken")) });
    let engine = told(&database).task(work).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    engine.register_workflow(&line("other", &["nobody"])).await.unwrap();
    let id = engine.start(StartRequest::new("one")).await.unwrap().id;
    wait(&engine, id).await;
    let run = engine.explain(id).await.unwrap();
    assert!(run.summary.contains("broken") && run.summary.starts_with("FAILED"), "{}", run.summary);
    let id = engine.start(StartRequest::new("other")).await.unwrap().id;
    let client = database.connect().await.unwrap();
    let lease = "UPDATE oms_engine.open_tasks SET state = 1, holder = 1000000";
    client.batch_execute(lease).await.unwrap();
    let run = engine.explain(id).await.unwrap();
    assert_eq!(of(&run, "nobody_0").waits_for, WaitsFor::Rescue { engine: None });
}
