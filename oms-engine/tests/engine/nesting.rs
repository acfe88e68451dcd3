//! Tasks in each other, on PostgreSQL. That all kinds of them run to their end as deep as they may be
//! is played with the conformance cases.

use crate::common::script::{Work, told};
use crate::common::{assert_nothing_stuck, database, wait};
use oms_engine::definition::{NESTED_MAX, WorkflowSchedule};
use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, StartRequest, WorkflowDef, WorkflowStatus};
use serde_json::{Value, json};

async fn ready(database: &TestDatabase) -> Engine {
    let work = Work::new(|_, _| async { Ok(json!({"done": true})) });
    told(database).task(work).build().await.unwrap()
}

/// So many loops around one task.
fn loops(tasks: usize) -> Value {
    let mut inside = json!({"name": "work", "taskReferenceName": "work", "type": "SIMPLE"});
    for n in 0..tasks - 1 {
        inside = json!({
            "name": "loop", "taskReferenceName": format!("loop{n}"), "type": "DO_WHILE",
            "loopCondition": "false", "loopOver": [inside],
        });
    }
    json!({ "name": "deep", "tasks": [inside] })
}

/// So many runs in each other, written out.
fn runs(tasks: usize) -> Value {
    let mut def = json!({
        "name": "deep",
        "tasks": [{"name": "work", "taskReferenceName": "work", "type": "SIMPLE"}],
    });
    for n in 0..tasks - 1 {
        def = json!({"name": "deep", "tasks": [{
            "name": "run", "taskReferenceName": format!("run{n}"), "type": "SUB_WORKFLOW",
            "subWorkflowParam": {"workflowDefinition": def},
        }]});
    }
    def
}

fn read(def: &Value) -> WorkflowDef {
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

#[tokio::test]
async fn another_engine_reads_and_runs_a_definition_that_is_as_deep_as_allowed() {
    let database = database().await;
    let def = read(&loops(NESTED_MAX));
    ready(&database).await.register_workflow(&def).await.unwrap();
    let engine = ready(&database).await;
    assert!(engine.workflow_definitions().await.unwrap() == [def.clone()]);
    engine.register_workflow(&def).await.unwrap();
    let client = database.connect().await.unwrap();
    let count = "SELECT count(*) FROM oms_engine.workflow_definitions";
    let rows: i64 = client.query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(rows, 1, "the same text is not registered again");
    let id = engine.start(StartRequest::new("deep")).await.unwrap().id;
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, NESTED_MAX));
    assert_nothing_stuck(&client).await;
}

#[tokio::test]
async fn tasks_that_stand_deeper_are_refused_with_their_place_also_in_a_definition_written_out() {
    let database = database().await;
    let engine = ready(&database).await;
    for (def, place) in [
        (loops(NESTED_MAX + 1), ".loopOver[0]"),
        (runs(NESTED_MAX + 1), ".subWorkflowParam.workflowDefinition.tasks[0]"),
    ] {
        let refused = engine.register_workflow(&read(&def)).await.unwrap_err().to_string();
        let place = format!("$.tasks[0]{}", place.repeat(NESTED_MAX));
        assert!(
            refused.contains(&format!("{place}: more than 100 tasks stand in each")),
            "{refused}"
        );
        let given = json!({"definition": def});
        let step = json!({
            "name": "run", "taskReferenceName": "run", "type": "SUB_WORKFLOW",
            "subWorkflowParam": {"workflowDefinition": "${workflow.input.definition}"},
        });
        engine
            .register_workflow(&read(&json!({"name": "by data", "tasks": [step]})))
            .await
            .unwrap();
        // What data brings is a payload, whatever it is.
        let refused = engine.start(StartRequest::new("by data").input(given)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("$.definition.tasks[0]"), "{refused}");
        assert!(refused.contains("is nested deeper than 100: flatten it"), "{refused}");
    }
    let mut schedule = WorkflowSchedule::new("s", "0 0 0 1 1 *", "");
    schedule.start_workflow_request.workflow_def = Some(runs(NESTED_MAX + 1));
    let refused = engine.put_schedule(&schedule).await.unwrap_err().to_string();
    assert!(refused.contains("$.startWorkflowRequest.workflowDef.tasks[0]"), "{refused}");
    schedule.start_workflow_request.workflow_def = Some(runs(NESTED_MAX));
    engine.put_schedule(&schedule).await.unwrap();
    let client = database.connect().await.unwrap();
    let due = "UPDATE oms_engine.schedules SET next_fire_at = now()";
    client.batch_execute(due).await.unwrap();
    client.batch_execute("SELECT pg_notify('oms_engine.ready', '$timer')").await.unwrap();
    let ended = "SELECT count(*) = 100 AND bool_and(status = 2) FROM oms_engine.workflows";
    crate::common::until(&client, ended).await;
    assert!(
        engine.schedule("s").await.unwrap().start_workflow_request
            == schedule.start_workflow_request
    );
}

/// So many forks and switches in turn around one task.
fn forks(tasks: usize) -> Value {
    let mut inside = vec![json!({"name": "work", "taskReferenceName": "work", "type": "SIMPLE"})];
    for n in 0..tasks - 1 {
        let name = format!("in{n}");
        let last = inside.last().unwrap()["taskReferenceName"].clone();
        inside = if n % 2 == 0 {
            let join = json!({
                "name": "join", "taskReferenceName": format!("join{n}"), "type": "JOIN",
                "joinOn": [last],
            });
            let fork = json!({
                "name": "fork", "taskReferenceName": name, "type": "FORK_JOIN",
                "forkTasks": [inside],
            });
            vec![fork, join]
        } else {
            let switch = json!({
                "name": "switch", "taskReferenceName": name, "type": "SWITCH",
                "evaluatorType": "value-param", "expression": "x", "inputParameters": {"x": "c"},
                "decisionCases": {"c": inside},
            });
            let behind = format!("behind{n}");
            vec![switch, json!({"name": "behind", "taskReferenceName": behind, "type": "NOOP"})]
        };
    }
    json!({ "name": "deep", "tasks": inside })
}

/// How many rows are read, and how many bytes are kept, for one run.
async fn cost(def: &Value) -> (i64, i64) {
    let database = database().await;
    let engine = ready(&database).await;
    engine.register_workflow(&read(def)).await.unwrap();
    let id = engine.start(StartRequest::new("deep")).await.unwrap().id;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    engine.shutdown(std::time::Duration::ZERO).await;
    drop(engine);
    let client = database.connect().await.unwrap();
    // What a session has read is counted when it is over.
    let alone = "SELECT count(*) = 1 FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'";
    crate::common::until(&client, alone).await;
    let read = "SELECT sum(idx_tup_fetch + seq_tup_read)::bigint FROM pg_stat_user_tables
        WHERE relname IN ('task_history', 'open_tasks', 'workflows')";
    let kept = "SELECT sum(pg_column_size(h.*))::bigint FROM oms_engine.task_history h";
    let read = client.query_one(read, &[]).await.unwrap().get(0);
    (read, client.query_one(kept, &[]).await.unwrap().get(0))
}

#[tokio::test]
async fn what_a_run_costs_grows_with_the_tasks_in_each_other_and_not_with_their_square() {
    let (half, whole) = (cost(&forks(50)).await, cost(&forks(100)).await);
    println!("{half:?} {whole:?}");
    assert!(half.0 > 0 && whole.0 < 5 * half.0 / 2, "rows read: {half:?}, {whole:?}");
    assert!(half.1 > 0 && whole.1 < 5 * half.1 / 2, "bytes kept: {half:?}, {whole:?}");
}

/// By a wake-up: the engine would look by itself much later.
#[tokio::test]
async fn the_run_that_a_start_workflow_starts_begins_at_once() {
    let database = database().await;
    let engine = ready(&database).await;
    let started = json!({ "name": "started", "tasks": [
        {"name": "work", "taskReferenceName": "work", "type": "SIMPLE"},
    ]});
    let starts = json!({ "name": "starts", "tasks": [{
        "name": "start", "taskReferenceName": "start", "type": "START_WORKFLOW",
        "inputParameters": {"startWorkflow": {"name": "started", "input": {}}},
    }]});
    engine.register(&[], &[read(&started), read(&starts)]).await.unwrap();
    let id = engine.start(StartRequest::new("starts")).await.unwrap().id;
    let run = wait(&engine, id).await;
    let started = run.task("start").unwrap().output_data["workflowId"].as_str().unwrap().to_owned();
    let run = wait(&engine, started.parse().unwrap()).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}
