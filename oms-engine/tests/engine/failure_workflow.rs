//! The failure workflow: when it is started, and with what.

use std::time::Duration;

use crate::common::script::{After, Gate, Undo, Work, told};
use crate::common::{assert_nothing_stuck, database, wait};
use oms_engine::definition::{TimeoutPolicy, WorkflowTimeoutPolicy};
use oms_engine::{
    Engine, Execution, StartRequest, TaskDef, TaskError, WorkflowDef, WorkflowId, WorkflowStatus,
    WorkflowTask,
};
use serde_json::{Map, Value, json};

const SECOND: Duration = Duration::from_secs(1);
const KEY: &str = "conductor.failure_workflow";

/// Undoes by giving its whole input back.
fn unwinding() -> WorkflowDef {
    let step = WorkflowTask::simple("undo", "u").input("all", "${workflow.input}");
    WorkflowDef::builder("unwinding").task(step).output("got", "${u.output.all}").build().unwrap()
}

fn order(name: &str, policy: TaskDef) -> WorkflowDef {
    let step =
        WorkflowTask::simple("work", "w").definition(policy).input("n", "${workflow.input.n}");
    let def = WorkflowDef::builder(name).task(WorkflowTask::simple("after", "a")).task(step);
    def.failure_workflow("unwinding").build().unwrap()
}

fn policy() -> TaskDef {
    TaskDef::new("work").retry_count(0).response_timeout(SECOND)
}

async fn engine(database: &oms_engine::testkit::TestDatabase, work: Work) -> Engine {
    let undo = Undo::new(|_, input| async move { Ok(input) });
    let after = After::new(|_, _| async { Ok(json!({"done": true})) });
    let engine = told(database).task(work).task(undo).task(after).build().await.unwrap();
    engine.register_workflow(&unwinding()).await.unwrap();
    engine
}

async fn started(engine: &Engine, def: &WorkflowDef, input: Value) -> WorkflowId {
    engine.register_workflow(def).await.unwrap();
    let request = StartRequest::new(&def.name).input(input).correlation_id("order-7");
    engine.start(request).await.unwrap().id
}

/// The failure workflow of a run, ended, and what it was started with.
async fn failure_of(engine: &Engine, run: &Execution) -> (Execution, Map<String, Value>) {
    let id = run.failure_workflow_id.unwrap_or_else(|| panic!("none: {run:#?}"));
    assert_eq!(run.output[KEY], id.to_string());
    let failure = wait(engine, id).await;
    assert_eq!(failure.status, WorkflowStatus::Completed);
    let Value::Object(input) = failure.input.clone() else { panic!("{failure:#?}") };
    // What it is started with is what its first task sees.
    assert_eq!(failure.output["got"], failure.input);
    (failure, input)
}

#[tokio::test]
async fn a_failed_run_starts_it_with_conductor_s_inputs() {
    let database = database().await;
    let work = Work::new(|_, _| async { Err(TaskError::terminal("no stock")) });
    let engine = engine(&database, work).await;
    let id = started(&engine, &order("order", policy()), json!({"n": 3, "reason": "mine"})).await;
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    let (failure, input) = failure_of(&engine, &run).await;
    assert_eq!(failure.correlation_id.as_deref(), Some("order-7"));
    assert_eq!(failure.workflow_name, "unwinding");
    assert_eq!(input["n"], 3);
    assert_eq!(input["workflowId"], id.to_string());
    assert_eq!(input["failureStatus"], "FAILED");
    assert_eq!(input["failureTaskId"], json!(run.failed_task_id));
    assert_eq!(input["reason"], json!(run.reason_for_incompletion));
    let failed = &input["failedWorkflow"];
    assert_eq!((&failed["status"], &failed["workflowId"]), (&json!("FAILED"), &json!(id)));
    let tasks = failed["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 2);
    assert_eq!(tasks[0]["outputData"], json!({"done": true}));
    assert_eq!(tasks[1]["inputData"], json!({"n": 3}));
    assert_eq!(tasks[1]["reasonForIncompletion"], "no stock");
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn runs_that_time_out_start_it_too() {
    let database = database().await;
    let work = Work::new(|cx, _| async move {
        cx.cancelled().await;
        Ok(json!({}))
    });
    let engine = engine(&database, work).await;
    let by_task = order("by_task", policy().timeout(SECOND, TimeoutPolicy::TimeOutWorkflow));
    let mut by_workflow = order("by_workflow", policy());
    by_workflow.timeout_seconds = 1;
    by_workflow.timeout_policy = WorkflowTimeoutPolicy::TimeOutWorkflow;
    for (def, names_task) in [(by_task, true), (by_workflow, false)] {
        let id = started(&engine, &def, json!({})).await;
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::TimedOut);
        let (_, input) = failure_of(&engine, &run).await;
        assert_eq!(input["failureStatus"], "TIMED_OUT");
        assert_eq!(input.contains_key("failureTaskId"), names_task);
    }
}

#[tokio::test]
async fn a_permissive_failure_starts_it_at_the_end_of_the_run() {
    let database = database().await;
    let work = Work::new(|_, _| async { Err(TaskError::retry("no")) });
    let engine = engine(&database, work).await;
    let step = WorkflowTask::simple("work", "w").definition(policy()).permissive();
    let def = WorkflowDef::builder("permissive").task(step);
    let def = def.task(WorkflowTask::simple("after", "a")).failure_workflow("unwinding");
    let id = started(&engine, &def.build().unwrap(), json!({})).await;
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Failed, 2));
    failure_of(&engine, &run).await;
}

#[tokio::test]
async fn neither_a_completed_nor_a_terminated_run_starts_it() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = engine(&database, work).await;
    let def = order("order", policy());
    let (completes, ends) =
        (started(&engine, &def, json!({})).await, started(&engine, &def, json!({})).await);
    gate.entered().await;
    gate.entered().await;
    engine.terminate(ends, "by hand").await.unwrap();
    gate.open(2);
    for (id, status) in [(completes, "COMPLETED"), (ends, "TERMINATED")] {
        let run = wait(&engine, id).await;
        assert_eq!((run.status.as_str(), run.failure_workflow_id), (status, None));
        assert_eq!(run.output.get(KEY), None);
    }
    assert_eq!(engine.list(&Default::default()).await.unwrap().results.len(), 2);
}

#[tokio::test]
async fn one_that_is_missing_is_noted_and_holds_nothing_up() {
    let database = database().await;
    let work = Work::new(|_, _| async { Err(TaskError::terminal("no")) });
    let engine = engine(&database, work).await;
    let mut named = order("named", policy());
    named.failure_workflow = Some("nowhere".to_owned());
    let mut versioned = order("versioned", policy());
    versioned.failure_workflow_version = Some(9);
    let mut by_input = order("by_input", policy());
    by_input.failure_workflow = Some("$workflow.input.undo".to_owned());
    for (def, why) in [(named, "nowhere"), (versioned, "version 9"), (by_input, "\"undo\"")] {
        let run = wait(&engine, started(&engine, &def, json!({})).await).await;
        assert_eq!((run.status, run.failure_workflow_id), (WorkflowStatus::Failed, None));
        let note = run.output[KEY].as_str().unwrap();
        assert!(note.contains("not started") && note.contains(why), "{note}");
    }
}

#[tokio::test]
async fn its_name_may_stand_in_the_input() {
    let database = database().await;
    let work = Work::new(|_, _| async { Err(TaskError::terminal("no")) });
    let engine = engine(&database, work).await;
    let mut def = order("by_input", policy());
    def.failure_workflow = Some("$workflow.input.undo".to_owned());
    let run = wait(&engine, started(&engine, &def, json!({"undo": "unwinding"})).await).await;
    let (_, input) = failure_of(&engine, &run).await;
    assert_eq!(input["undo"], "unwinding");
}

#[tokio::test]
async fn a_run_too_large_to_hand_over_whole_is_unwound_all_the_same() {
    let database = database().await;
    let work = Work::new(|_, _| async {
        let big = json!({"big": "x".repeat(2_900_000)});
        Err(TaskError::retry("no").with_output(big))
    });
    let engine = engine(&database, work).await;
    let twice = TaskDef { retry_count: 1, retry_delay_seconds: 0, ..policy() };
    let deep = (0..95).fold(json!(1), |inner, _| json!([inner]));
    let run =
        wait(&engine, started(&engine, &order("large", twice), json!({"n": deep})).await).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Failed, 3));
    let (_, input) = failure_of(&engine, &run).await;
    assert_eq!(input["workflowId"], run.workflow_id.to_string());
    let tasks = input["failedWorkflow"]["tasks"].as_array().unwrap();
    assert_eq!((tasks.len(), tasks[2].get("outputData")), (3, None));
    assert_eq!(tasks[2]["referenceTaskName"], "w");
}

#[tokio::test]
async fn an_output_over_the_limit_fails_the_run_and_starts_it() {
    let database = database().await;
    let work = Work::new(|_, _| async { Ok(json!({"big": "x".repeat(2_900_000)})) });
    let engine = engine(&database, work).await;
    let step = WorkflowTask::simple("work", "w").definition(policy());
    let def = WorkflowDef::builder("output").task(step).failure_workflow("unwinding");
    let def = def.output("one", "${w.output}").output("two", "${w.output}").build().unwrap();
    let run = wait(&engine, started(&engine, &def, json!({})).await).await;
    assert_eq!(run.status, WorkflowStatus::Failed, "{:?}", run.reason_for_incompletion);
    let reason = run.reason_for_incompletion.clone().unwrap();
    assert!(reason.contains("output of the workflow $: is larger than 5242880"), "{reason}");
    let (_, input) = failure_of(&engine, &run).await;
    assert_eq!((&input["failureStatus"], &input["reason"]), (&json!("FAILED"), &json!(reason)));
}
