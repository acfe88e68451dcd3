//! What operators ask, and the document of the API.

use serde_json::{Value, json};

use crate::running::{Running, server};

#[tokio::test(flavor = "multi_thread")]
async fn queues_workers_and_pending_tasks_are_told() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let (_first, second) = (server.start_workflow("line"), server.start_workflow("line"));
    server.poll();
    let sizes = server.get("/api/tasks/queue/all/verbose").expect(200).json();
    assert_eq!(sizes, json!({"work": {"a": {"size": 1, "uacked": 0}}}));
    let polls =
        |more: &str| server.get(&format!("/api/tasks/queue/polldata{more}")).expect(200).json();
    let of_work = polls("?taskType=work");
    assert_eq!(of_work[0]["queueName"], json!("work"));
    assert_eq!((&of_work[0]["workerId"], &of_work[0]["domain"]), (&json!("w"), &json!(null)));
    assert!(of_work[0]["lastPollTime"].as_i64().unwrap() > 0);
    assert_eq!(polls("?taskType=other"), json!([]));
    server.get("/api/tasks/poll/other?workerid=v&domain=eu").expect(204);
    let all = polls("/all");
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!((&all[0]["queueName"], &all[0]["domain"]), (&json!("other"), &json!("eu")));
    server.get("/api/tasks/queue/polldata").expect(400);
    assert_eq!(server.post("/api/tasks/queue/requeue/work", &json!(null)).expect(200).text, "0");
    let pending = |more: &str| server.get(&format!("/api/admin/task/{more}")).expect(200).json();
    let tasks = pending("work");
    let statuses: Vec<&str> =
        tasks.as_array().unwrap().iter().map(|task| task["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["SCHEDULED", "IN_PROGRESS"]);
    assert_eq!(tasks[0]["workflowInstanceId"], json!(second));
    assert_eq!(pending("work?start=1&count=1").as_array().unwrap().len(), 1);
    assert_eq!(pending("other"), json!([]));
    server.get("/api/admin/task/work?count=101").expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_need_neither_sweep_nor_repair_and_settings_are_shown() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let post = |path: String| server.post(&path, &json!(null));
    let swept = post(format!("/api/admin/sweep/requeue/{id}")).expect(200).text;
    assert_eq!(swept, format!("false.{id}"));
    let repaired = post(format!("/api/admin/consistency/verifyAndRepair/{id}"));
    assert_eq!(repaired.expect(200).text, "false");
    post("/api/admin/sweep/requeue/none".into()).expect(404);
    post("/api/admin/consistency/verifyAndRepair/none".into()).expect(404);
    let config = server.get("/api/admin/config").expect(200).json();
    assert_eq!(config["version"], json!(env!("CARGO_PKG_VERSION")));
    assert_eq!(server.get("/api/environment").expect(200).json(), json!([]));
    server.get("/api/environment/HOME").expect(404);
    let handler = json!({"name": "h", "event": "conductor:x", "active": true, "actions": [
        {"action": "start_workflow", "start_workflow": {"name": "line"}}]});
    server.post("/api/event", &handler).expect(200);
    server.get("/api/admin/queues?verbose=true").expect(400);
    let queues = server.get("/api/admin/queues").expect(200).json();
    assert_eq!(queues, json!({"conductor:x": "conductor:x"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_rest_and_go_on_many_at_once() {
    let (_database, server) = server().await;
    for name in ["a", "b"] {
        let schedule = json!({"name": name, "cronExpression": "0 30 2 * * *",
            "startWorkflowRequest": {"name": "line"}});
        server.post("/api/scheduler/schedules", &schedule).expect(200);
    }
    let bulk = |what: &str| {
        let done = server.put(&format!("/api/scheduler/bulk/{what}"), &json!(["a", "none", "b"]));
        let done = done.expect(200).json();
        assert_eq!(done["bulkSuccessfulResults"], json!(["a", "b"]));
        assert!(done["bulkErrorResults"]["none"].as_str().unwrap().contains("does not exist"));
    };
    let paused = || server.get("/api/scheduler/schedules/b").expect(200).json()["paused"].clone();
    bulk("pause");
    assert_eq!(paused(), json!(true));
    bulk("resume");
    assert_eq!(paused(), json!(false));
}

fn document(server: &Running, path: &str) -> Value {
    server.get(path).expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_api_is_served() {
    let (_database, server) = server().await;
    let shown = document(&server, "/api-docs");
    assert_eq!(shown, document(&server, "/v3/api-docs"));
    assert_eq!(shown["openapi"], json!("3.1.0"));
    assert!(shown["paths"]["/api/workflow/{id}"]["get"].is_object());
    assert!(shown["paths"]["/api/secrets"].is_null(), "it is not supported");
}
