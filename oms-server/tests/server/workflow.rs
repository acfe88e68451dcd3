//! Runs over HTTP.

use serde_json::{Value, json};

use crate::running::{Running, result_of, server};

fn finish(server: &Running) -> Value {
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_shown_and_ends_as_conductor_shows_it() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let body = json!({"name": "line", "version": 1, "correlationId": "c", "input": {"n": 1},
        "priority": 3, "workflowDef": null, "taskToDomain": {}, "whatever": 1});
    let started = server.post("/api/workflow", &body).expect(200);
    assert!(started.kind.starts_with("text/plain"), "{started:?}");
    let id = started.text;
    let run = server.run(&id);
    assert_eq!((&run["status"], &run["workflowName"]), (&json!("RUNNING"), &json!("line")));
    assert_eq!((&run["correlationId"], &run["priority"]), (&json!("c"), &json!(3)));
    assert_eq!(run["workflowDefinition"]["tasks"][1]["taskReferenceName"], json!("work_1"));
    assert_eq!((&run["endTime"], &run["startTime"]), (&json!(0), &run["createTime"]));
    let task = &run["tasks"][0];
    assert_eq!((&task["status"], &task["seq"]), (&json!("SCHEDULED"), &json!(1)));
    assert_eq!((&task["taskType"], &task["workflowType"]), (&json!("work"), &json!("line")));
    assert_eq!(task["workflowTask"]["taskReferenceName"], json!("work_0"));
    finish(&server);
    finish(&server);
    let run = server.run(&id);
    assert_eq!((&run["status"], &run["output"]), (&json!("COMPLETED"), &json!({"done": true})));
    assert!(run["endTime"].as_i64().unwrap() >= run["startTime"].as_i64().unwrap());
    let path = format!("/api/workflow/{id}?includeTasks=False");
    assert_eq!(server.get(&path).expect(200).json()["tasks"], json!([]));
    let path = format!("/api/workflow/{id}/status?includeOutput=true&includeVariables=true");
    let status = server.get(&path).expect(200).json();
    assert_eq!(
        status,
        json!({"workflowId": id, "correlationId": "c", "status": "COMPLETED",
        "output": {"done": true}, "variables": {}})
    );
    let path = format!("/api/workflow/{id}/tasks?start=1&count=5&status=COMPLETED");
    let tasks = server.get(&path).expect(200).json();
    assert_eq!((&tasks["totalHits"], tasks["results"].as_array().unwrap().len()), (&json!(2), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_by_name_by_key_and_with_a_definition_of_its_own() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let path = "/api/workflow/line?version=1&correlationId=x&priority=2";
    let id = server.post(path, &json!({"n": 5})).expect(200).text;
    let run = server.run(&id);
    assert_eq!((&run["input"], &run["correlationId"]), (&json!({"n": 5}), &json!("x")));
    server.post("/api/workflow/none", &json!({})).expect(404);
    let keyed = |input: i32, strategy: &str| {
        let body = json!({"name": "line", "input": {"n": input}, "idempotencyKey": "k",
            "idempotencyStrategy": strategy});
        server.post("/api/workflow", &body)
    };
    let first = keyed(1, "FAIL").expect(200).text;
    assert_eq!(keyed(2, "RETURN_EXISTING").expect(200).text, first);
    keyed(1, "FAIL").expect(409);
    keyed(1, "SOMETIMES").expect(400);
    let own = json!({"name": "own", "version": 1, "tasks": [
        {"name": "end", "taskReferenceName": "end", "type": "TERMINATE",
         "inputParameters": {"terminationStatus": "COMPLETED", "workflowOutput": {"a": 1}}}]});
    let body = json!({"name": "own", "workflowDef": own});
    let id = server.post("/api/workflow", &body).expect(200).text;
    let ended = || server.run(&id)["status"] == json!("COMPLETED");
    let begun = std::time::Instant::now();
    while !ended() {
        assert!(begun.elapsed().as_secs() < 30);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.get("/api/metadata/workflow/own").expect(404);
    let wrong = json!({"name": "own", "workflowDef": {"name": "own", "tasks": []}});
    server.post("/api/workflow", &wrong).expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_act_with_conductor_s_status_codes() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let id = server.start_workflow("line");
    let at = |what: &str| format!("/api/workflow/{id}{what}");
    server.put(&at("/pause"), &json!(null)).expect(200);
    assert_eq!(server.run(&id)["status"], json!("PAUSED"));
    server.put(&at("/resume"), &json!(null)).expect(200);
    server.put(&at("/resume"), &json!(null)).expect(409);
    server.post(&at("/restart"), &json!(null)).expect(409);
    server.put(&at("/skiptask/work_1"), &json!({"taskOutput": {"skipped": 1}})).expect(200);
    server.put(&at("/skiptask/nothing"), &json!(null)).expect(409);
    server.post(&at("/resetcallbacks"), &json!(null)).expect(204);
    server.put(&format!("/api/workflow/decide/{id}"), &json!(null)).expect(200);
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "FAILED_WITH_TERMINAL_ERROR")).expect(200);
    assert_eq!(server.run(&id)["status"], json!("FAILED"));
    server.post(&at("/retry"), &json!(null)).expect(204);
    assert_eq!(finish(&server)["retryCount"], json!(1));
    let run = server.run(&id);
    assert_eq!(run["status"], json!("COMPLETED"));
    assert_eq!(run["failedTaskNames"], json!(["work"]));
    let skipped = &run["tasks"].as_array().unwrap().iter().find(|t| t["status"] == "SKIPPED");
    assert_eq!(skipped.unwrap()["outputData"], json!({"skipped": 1}));
    server.delete(&at("?reason=late")).expect(409);
    server.post(&at("/restart"), &json!(null)).expect(204);
    let again = server.poll();
    assert_eq!((&again["retryCount"], &again["workflowInstanceId"]), (&json!(0), &json!(id)));
    server.delete(&at("?reason=enough%20of%20it")).expect(200);
    server.delete(&at("")).expect(200);
    let run = server.run(&id);
    assert_eq!(run["reasonForIncompletion"], json!("enough of it"));
    let rerun = json!({"reRunFromTaskId": again["taskId"], "taskInput": {"n": 9}});
    assert_eq!(server.post(&at("/rerun"), &rerun).expect(200).text, id);
    assert_eq!(server.poll()["inputData"], json!({"n": 9}));
    for path in ["/pause", "/resume", "/skiptask/x"] {
        server.put(&format!("/api/workflow/none{path}"), &json!(null)).expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_found_by_state_and_by_correlation_id() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let body = |id: &str| json!({"name": "line", "correlationId": id});
    let a = server.post("/api/workflow", &body("a")).expect(200).text;
    let b = server.post("/api/workflow", &body("b")).expect(200).text;
    let running = || server.get("/api/workflow/running/line?version=1").expect(200).json();
    assert_eq!(running(), json!([b, a]));
    server.delete(&format!("/api/workflow/{a}")).expect(200);
    assert_eq!(running(), json!([b]));
    assert_eq!(server.get("/api/workflow/running/line?version=2").expect(200).json(), json!([]));
    let of = |path: &str| server.get(&format!("/api/workflow/line/correlated/{path}")).expect(200);
    assert_eq!(of("a").json(), json!([]));
    let found = of("a?includeClosed=true&includeTasks=true").json();
    assert_eq!(
        (&found[0]["workflowId"], &found[0]["tasks"][0]["status"]),
        (&json!(a), &json!("CANCELED"))
    );
    let both = server.post("/api/workflow/line/correlated?includeClosed=true", &json!(["a", "b"]));
    let both = both.expect(200).json();
    assert_eq!((&both["a"][0]["workflowId"], &both["b"][0]["workflowId"]), (&json!(a), &json!(b)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_iteration_of_a_loop_is_the_turn_that_it_is_in() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let turns = json!({"name": "l", "taskReferenceName": "l", "type": "DO_WHILE",
        "items": "${workflow.input.list}",
        "loopOver": [{"name": "work", "taskReferenceName": "work", "type": "SIMPLE"}]});
    let body = json!({"name": "turns", "input": {"list": [7, 8]},
        "workflowDef": {"name": "turns", "version": 1, "tasks": [turns]}});
    let id = server.post("/api/workflow", &body).expect(200).text;
    finish(&server);
    let second = server.poll();
    let iterations = || {
        let run = server.run(&id);
        let tasks = run["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["iteration"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(iterations(), [2, 1, 2]);
    server.post("/api/tasks", &result_of(&second, "COMPLETED")).expect(200);
    assert_eq!(iterations(), [2, 1, 2]);
}
