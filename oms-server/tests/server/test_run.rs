//! Test-runs: what a request says stands for the workers.

use serde_json::{Value, json};

use crate::running::{Running, server};

fn simple(name: &str) -> Value {
    json!({"name": name, "taskReferenceName": name, "type": "SIMPLE"})
}

fn define(server: &Running, name: &str, tasks: &Value) {
    let given = if tasks.to_string().contains("\"pay\"") { "pay" } else { "child" };
    let paid = format!("${{{given}.output.sum}}");
    let def = json!({"name": name, "version": 1, "schemaVersion": 2, "tasks": tasks,
        "outputParameters": {"sum": paid, "seen": "${workflow.input.n}"}});
    server.post("/api/metadata/workflow", &def).expect(200);
}

fn test(server: &Running, body: &Value) -> Value {
    server.post("/api/workflow/test", body).expect(200).json()
}

fn statuses(run: &Value) -> Vec<(&str, &str)> {
    let tasks = run["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| (task["referenceTaskName"].as_str().unwrap(), task["status"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mocks_stand_for_workers_attempt_by_attempt_and_retries_are_not_waited_for() {
    let (_database, server) = server().await;
    let retried = json!([{"name": "pay", "retryCount": 1, "retryDelaySeconds": 3600}]);
    server.post("/api/metadata/taskdefs", &retried).expect(200);
    let wait = json!({"name": "w", "taskReferenceName": "w", "type": "WAIT",
        "inputParameters": {"duration": "2 hours"}});
    let say = json!({"name": "say", "taskReferenceName": "say", "type": "SET_VARIABLE",
        "inputParameters": {"by": "${w.output.by}"}});
    define(&server, "order", &json!([simple("pay"), wait, say]));
    let run = test(
        &server,
        &json!({"name": "order", "version": 1, "correlationId": "c", "input": {"n": 7},
        "taskRefToMockOutput": {
            "pay": [{"status": "FAILED"}, {"output": {"sum": 12}, "executionTime": 500,
                "queueWaitTime": 250}],
            "w": [{"status": "COMPLETED", "output": {"by": "me"}}],
            "elsewhere": [{}],
        }}),
    );
    assert_eq!(
        statuses(&run),
        [("pay", "FAILED"), ("pay", "COMPLETED"), ("w", "COMPLETED"), ("say", "COMPLETED")]
    );
    assert_eq!((&run["status"], &run["correlationId"]), (&json!("COMPLETED"), &json!("c")));
    assert_eq!(run["output"], json!({"sum": 12, "seen": 7}));
    assert_eq!(run["variables"], json!({"by": "me"}));
    let paid = &run["tasks"][1];
    let time = |key: &str| paid[key].as_i64().unwrap();
    assert_eq!(time("endTime") - time("startTime"), 500);
    assert_eq!(time("queueWaitTime"), 250);
    // It is a run as any other.
    let id = run["workflowId"].as_str().unwrap();
    assert_eq!(server.run(id)["status"], json!("COMPLETED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_a_mock_is_left_open_and_no_worker_gets_it() {
    let (_database, server) = server().await;
    define(&server, "order", &json!([simple("work"), simple("pay")]));
    let run = test(&server, &json!({"name": "order", "taskRefToMockOutput": {"work": [{}]}}));
    assert_eq!(run["status"], json!("RUNNING"));
    assert_eq!(statuses(&run), [("work", "COMPLETED"), ("pay", "SCHEDULED")]);
    let run = test(&server, &json!({"name": "order"}));
    assert_eq!(statuses(&run), [("work", "SCHEDULED")]);
    server.get("/api/tasks/poll/work?workerid=w&timeout=300").expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_and_sub_workflows_take_their_own_mocks() {
    let (_database, server) = server().await;
    define(&server, "inner", &json!([simple("pay")]));
    let child = json!({"name": "inner", "taskReferenceName": "child", "type": "SUB_WORKFLOW",
        "subWorkflowParam": {"name": "inner", "version": 1}});
    let turns = json!({"name": "turns", "taskReferenceName": "turns", "type": "DO_WHILE",
        "loopCondition": "if ($.turns['iteration'] < 2) { true; } else { false; }",
        "loopOver": [simple("work")]});
    define(&server, "outer", &json!([turns, child]));
    let mocks = json!({"work__1": [{}], "work__2": [{"output": {"last": true}}]});
    let stuck = test(&server, &json!({"name": "outer", "taskRefToMockOutput": mocks}));
    assert_eq!(stuck["status"], json!("RUNNING"));
    assert_eq!(statuses(&stuck).last(), Some(&("child", "IN_PROGRESS")));
    let below = json!({"child": {"name": "inner", "taskRefToMockOutput": {
        "pay": [{"output": {"sum": 3}}]}}});
    let request = json!({"name": "outer", "taskRefToMockOutput": mocks,
        "subWorkflowTestRequest": below});
    let run = test(&server, &request);
    assert_eq!(run["status"], json!("COMPLETED"));
    assert_eq!(run["output"]["sum"], json!(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_would_call_itself_is_not_called() {
    let database = oms_engine::testkit::TestDatabase::migrated()
        .await
        .unwrap()
        .as_application()
        .await
        .unwrap();
    let gateway = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    gateway.set_nonblocking(true).unwrap();
    let address = gateway.local_addr().unwrap().to_string();
    let server = Running::start(database.url(), &["--http-allow", &address]);
    let call = json!({"name": "pay", "taskReferenceName": "pay", "type": "HTTP",
        "inputParameters": {"http_request": {"uri": format!("http://{address}/"), "method": "GET"}}});
    let def = json!({"name": "call", "version": 1, "tasks": [call, simple("work")]});
    let mocks = json!({"pay": [{"output": {"response": {"statusCode": 200}}}]});
    let run =
        test(&server, &json!({"name": "call", "workflowDef": def, "taskRefToMockOutput": mocks}));
    assert_eq!(statuses(&run), [("pay", "COMPLETED"), ("work", "SCHEDULED")]);
    let unmocked = test(&server, &json!({"name": "call", "workflowDef": def}));
    assert_eq!(statuses(&unmocked), [("pay", "SCHEDULED")]);
    assert!(gateway.accept().is_err(), "it was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_test_run_cannot_heed_is_refused_with_its_place() {
    let (_database, server) = server().await;
    let set = json!({"name": "set", "taskReferenceName": "set", "type": "SET_VARIABLE",
        "inputParameters": {"a": 1}});
    define(&server, "order", &json!([set, simple("pay")]));
    for (more, place) in [
        (json!({"taskToDomain": {"*": "eu"}}), "taskToDomain"),
        (json!({"idempotencyKey": "k"}), "idempotencyKey"),
        (json!({"createdBy": "me"}), "createdBy"),
        (json!({"taskRefToMockOutput": {"set": [{}]}}), "$.taskRefToMockOutput.set"),
        (
            json!({"taskRefToMockOutput": {"pay": [{"status": "DONE"}]}}),
            "$.taskRefToMockOutput.pay[0].status",
        ),
        (json!({"taskRefToMockOutput": {"pay": {}}}), "$.taskRefToMockOutput.pay"),
        (
            json!({"subWorkflowTestRequest": {"x": {"taskRefToMockOutput": {"y": [{"status": 1}]}}}}),
            "$.subWorkflowTestRequest.x.taskRefToMockOutput.y[0].status",
        ),
    ] {
        let mut request = json!({"name": "order"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = server.post("/api/workflow/test", &request).expect(400);
        assert!(refused.text.contains(place), "{place}: {refused:?}");
    }
    server.post("/api/workflow/test", &json!({"name": "none"})).expect(404);
    let running = server.get("/api/workflow/running/order").expect(200).json();
    assert_eq!(running, json!([]), "a refused one does not go on");
}
