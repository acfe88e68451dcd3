//! Event handlers and schedules over HTTP.

use serde_json::{Value, json};

use crate::running::server;

#[tokio::test(flavor = "multi_thread")]
async fn event_handlers_are_added_replaced_listed_and_removed() {
    let (_database, server) = server().await;
    let handler = |active: bool| {
        json!({"name": "h", "event": "conductor:x", "active": active, "actions": [
            {"action": "start_workflow", "start_workflow": {"name": "line"}}]})
    };
    server.put("/api/event", &handler(true)).expect(404);
    server.post("/api/event", &handler(false)).expect(200);
    server.post("/api/event", &handler(true)).expect(409);
    server.post("/api/event", &json!({"name": "w", "event": "kafka:x"})).expect(400);
    let of_event = |more: &str| -> Value {
        server.get(&format!("/api/event/conductor:x{more}")).expect(200).json()
    };
    assert_eq!(of_event(""), json!([]));
    assert_eq!(of_event("?activeOnly=false")[0]["name"], json!("h"));
    server.put("/api/event", &handler(true)).expect(200);
    assert_eq!(of_event("")[0]["active"], json!(true));
    assert_eq!(server.get("/api/event").expect(200).json().as_array().unwrap().len(), 1);
    server.delete("/api/event/h").expect(200);
    server.delete("/api/event/h").expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_kept_rest_and_go_on() {
    let (_database, server) = server().await;
    let schedule = |cron: &str| {
        json!({"name": "nightly", "cronExpression": cron, "zoneId": "Europe/Berlin",
            "startWorkflowRequest": {"name": "line", "input": {"n": 1}, "idempotencyStrategy": "FAIL"}})
    };
    let kept =
        server.post("/api/scheduler/schedules", &schedule("0 30 2 * * *")).expect(200).json();
    assert!(kept["nextRunTime"].as_i64().unwrap() > 0, "{kept}");
    server.post("/api/scheduler/schedules", &schedule("often")).expect(400);
    let mut once = schedule("0 30 2 * * *");
    once["startWorkflowRequest"]["idempotencyKey"] = json!("k");
    server.post("/api/scheduler/schedules", &once).expect(400);
    let at = |what: &str| format!("/api/scheduler/schedules/nightly{what}");
    server.put(&at("/pause?reason=holidays"), &json!(null)).expect(200);
    let shown = server.get(&at("")).expect(200).json();
    assert_eq!((&shown["paused"], &shown["pausedReason"]), (&json!(true), &json!("holidays")));
    server.put(&at("/resume"), &json!(null)).expect(200);
    let of = |name: &str| {
        let path = format!("/api/scheduler/schedules?workflowName={name}");
        server.get(&path).expect(200).json().as_array().unwrap().len()
    };
    assert_eq!((of("line"), of("none")), (1, 0));
    server.delete(&at("")).expect(200);
    server.delete(&at("")).expect(404);
    server.get(&at("")).expect(404);
    server.put(&at("/pause"), &json!(null)).expect(404);
}
