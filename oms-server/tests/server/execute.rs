//! Runs that are waited for, and the tasks that they wait at.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::running::{Running, result_of, server};

fn define(server: &Running, name: &str, tasks: &Value) {
    let def = json!({"name": name, "version": 1, "schemaVersion": 2, "tasks": tasks});
    server.post("/api/metadata/workflow", &def).expect(200);
}

/// A WAIT, and a task behind it.
fn waiting(server: &Running, name: &str) {
    let tasks = json!([
        {"name": "wait", "taskReferenceName": "wait", "type": "WAIT"},
        {"name": "work", "taskReferenceName": "work", "type": "SIMPLE"}]);
    define(server, name, &tasks);
}

fn execute(server: &Running, name: &str, more: &str) -> Value {
    let path = format!("/api/workflow/execute/{name}/1?{more}");
    let body = json!({"name": "other", "input": {"n": 1}, "correlationId": "c", "priority": 3});
    server.post(&path, &body).expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_is_answered_with_its_output() {
    let (_database, server) = server().await;
    let tasks = json!([{"name": "set", "taskReferenceName": "set", "type": "SET_VARIABLE",
        "inputParameters": {"seen": "${workflow.input.n}"}}]);
    define(&server, "quick", &tasks);
    let begun = Instant::now();
    let run = execute(&server, "quick", "requestId=r1&waitUntilTaskRef=None&waitForSeconds=20");
    assert!(begun.elapsed() < Duration::from_secs(10));
    for (key, expected) in [
        ("responseType", json!("TARGET_WORKFLOW")),
        ("requestId", json!("r1")),
        ("status", json!("COMPLETED")),
        ("targetWorkflowStatus", json!("COMPLETED")),
        ("targetWorkflowId", run["workflowId"].clone()),
        ("correlationId", json!("c")),
        ("input", json!({"n": 1})),
        ("variables", json!({"seen": 1})),
        ("priority", json!(3)),
        ("signalTimeout", json!(false)),
    ] {
        assert_eq!(run[key], expected, "{key}");
    }
    assert_eq!(run["tasks"][0]["referenceTaskName"], json!("set"));
    assert!(run["createTime"].as_i64().unwrap() > 0);
    // The latest version.
    server.post("/api/workflow/execute/quick/0", &json!({"requestId": "r2"})).expect(200);
    server.post("/api/workflow/execute/none/1", &json!({})).expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_answered_at_once_and_goes_on_by_a_signal() {
    let (_database, server) = server().await;
    waiting(&server, "line");
    let begun = Instant::now();
    let run = execute(&server, "line", "returnStrategy=BLOCKING_TASK&waitForSeconds=30");
    assert!(begun.elapsed() < Duration::from_secs(15));
    for (key, expected) in [
        ("responseType", json!("BLOCKING_TASK")),
        ("taskType", json!("WAIT")),
        ("referenceTaskName", json!("wait")),
        ("status", json!("IN_PROGRESS")),
        ("targetWorkflowStatus", json!("RUNNING")),
        ("signalTimeout", json!(false)),
    ] {
        assert_eq!(run[key], expected, "{key}");
    }
    let id = run["targetWorkflowId"].as_str().unwrap();
    let answer = json!({"answer": 42});
    server.post(&format!("/api/tasks/{id}/COMPLETED/signal"), &answer).expect(200);
    server.post("/api/tasks", &result_of(&server.poll(), "COMPLETED")).expect(200);
    let run = server.run(id);
    assert_eq!((&run["status"], &run["output"]), (&json!("COMPLETED"), &json!({"done": true})));
    assert_eq!(run["tasks"][0]["outputData"], answer);
    // Nothing waits any more.
    server.post(&format!("/api/tasks/{id}/COMPLETED/signal"), &answer).expect(404);
    server.post(&format!("/api/tasks/{id}/COMPLETED/signal/sync"), &answer).expect(404);
    server.post("/api/tasks/none/COMPLETED/signal", &answer).expect(404);
    server.post(&format!("/api/tasks/{id}/DONE/signal"), &answer).expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_in_a_sub_workflow_is_found_and_signalled_and_the_answer_tells_of_either() {
    let (_database, server) = server().await;
    let wait = json!({"name": "wait", "taskReferenceName": "wait", "type": "WAIT"});
    let again = json!({"name": "again", "taskReferenceName": "again", "type": "WAIT"});
    define(&server, "inner", &json!([wait, again]));
    let child = json!({"name": "inner", "taskReferenceName": "child", "type": "SUB_WORKFLOW",
        "subWorkflowParam": {"name": "inner", "version": 1}});
    define(&server, "outer", &json!([child]));
    let run = execute(&server, "outer", "returnStrategy=BLOCKING_WORKFLOW&waitForSeconds=30");
    assert_eq!(run["responseType"], json!("BLOCKING_WORKFLOW"));
    let (outer, inner) = (run["targetWorkflowId"].clone(), run["workflowId"].clone());
    assert_ne!(outer, inner);
    let outer = outer.as_str().unwrap();
    let sync = |more: &str| {
        let path = format!("/api/tasks/{outer}/COMPLETED/signal/sync?timeoutMillis=20000&{more}");
        server.post(&path, &json!({"answer": 1})).expect(200).json()
    };
    let next = sync("returnStrategy=BLOCKING_TASK_INPUT");
    assert_eq!(next["responseType"], json!("BLOCKING_TASK_INPUT"));
    assert_eq!(next["referenceTaskName"], json!("again"));
    assert_eq!(next["workflowId"], inner);
    let end = sync("");
    assert_eq!(end["targetWorkflowStatus"], json!("COMPLETED"));
    assert_eq!((&end["workflowId"], &end["status"]), (&json!(outer), &json!("COMPLETED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_named_task_is_waited_for() {
    let (_database, server) = server().await;
    server.register("line", 2);
    std::thread::scope(|scope| {
        let more = "returnStrategy=BLOCKING_TASK&waitUntilTaskRef=none,%20work_0&waitForSeconds=30";
        let waits = scope.spawn(|| execute(&server, "line", more));
        let mut result = result_of(&server.poll(), "COMPLETED");
        result["outputData"] = json!({"answer": 7});
        server.post("/api/tasks", &result).expect(200);
        let task = waits.join().unwrap();
        assert_eq!(task["referenceTaskName"], json!("work_0"));
        assert_eq!(
            (&task["status"], &task["output"]),
            (&json!("COMPLETED"), &json!({"answer": 7}))
        );
        assert_eq!(task["targetWorkflowStatus"], json!("RUNNING"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_over_is_answered_with_the_run_as_it_is() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let begun = Instant::now();
    let run = execute(&server, "line", "waitForSeconds=1&returnStrategy=BLOCKING_TASK");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_eq!((&run["signalTimeout"], &run["status"]), (&json!(true), &json!("RUNNING")));
    assert_eq!(run["responseType"], json!("TARGET_WORKFLOW"));
    let refused = |more: &str| {
        let path = format!("/api/workflow/execute/line/1?{more}");
        server.post(&path, &json!({})).expect(400).json()["message"].as_str().unwrap().to_owned()
    };
    assert!(refused("waitForSeconds=31").contains("waitForSeconds"));
    assert!(refused("returnStrategy=NOTHING").contains("returnStrategy"));
    assert!(refused("consistency=NONE").contains("consistency"));
    server.post("/api/workflow/execute/line/one", &json!({})).expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_updated_by_the_queue_s_endpoints() {
    let (_database, server) = server().await;
    waiting(&server, "line");
    let start = || {
        let id = server.start_workflow("line");
        let begun = Instant::now();
        while server.run(&id)["tasks"] == json!([]) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never waits");
        }
        id
    };
    let (first, second) = (start(), start());
    let update = |of: &str, body: Value| server.post(&format!("/api/queue/update/{of}"), &body);
    update(&format!("{first}/wait/IN_PROGRESS"), json!({"so": "far"})).expect(200);
    update(&format!("{first}/wait/COMPLETED"), json!({"answer": 1})).expect(200);
    assert_eq!(server.run(&first)["tasks"][0]["outputData"], json!({"so": "far", "answer": 1}));
    update(&format!("{first}/wait/COMPLETED"), json!({})).expect(409);
    let task = server.run(&second)["tasks"][0]["taskId"].clone();
    let task = task.as_str().unwrap();
    update(&format!("{first}/task/{task}/FAILED"), json!({})).expect(400);
    update(&format!("{second}/task/{task}/SKIPPED"), json!({})).expect(400);
    update(&format!("{second}/task/{task}/FAILED"), json!({"why": "no"})).expect(200);
    assert_eq!(server.run(&second)["status"], json!("FAILED"));
}
