//! Definitions over HTTP.

use serde_json::{Value, json};

use crate::running::server;

fn def(name: &str, version: i32, task: &str) -> Value {
    let task = json!({"name": task, "taskReferenceName": "t", "type": "SIMPLE"});
    json!({"name": name, "version": version, "tasks": [task], "ownerEmail": "a@example.com"})
}

#[tokio::test(flavor = "multi_thread")]
async fn task_definitions_are_kept_read_replaced_and_removed() {
    let (_database, server) = server().await;
    let list = json!([{"name": "a", "retryCount": 1}, {"name": "b", "unknown": {"x": 1}}]);
    assert_eq!(server.post("/api/metadata/taskdefs", &list).expect(200).text, "");
    let a = server.get("/api/metadata/taskdefs/a").expect(200).json();
    assert_eq!((&a["name"], &a["retryCount"]), (&json!("a"), &json!(1)));
    assert_eq!(a["responseTimeoutSeconds"], json!(3600));
    server.put("/api/metadata/taskdefs", &json!({"name": "a", "retryCount": 2})).expect(200);
    let all = server.get("/api/metadata/taskdefs").expect(200).json();
    let counts: Vec<_> = all.as_array().unwrap().iter().map(|d| &d["retryCount"]).collect();
    assert_eq!(counts, [2, 3]);
    server.delete("/api/metadata/taskdefs/a").expect(200);
    for refused in [
        server.get("/api/metadata/taskdefs/a"),
        server.delete("/api/metadata/taskdefs/a"),
        server.put("/api/metadata/taskdefs", &json!({"name": "a"})),
    ] {
        let body = refused.expect(404).json();
        assert_eq!((&body["status"], &body["retryable"]), (&json!(404), &json!(false)));
        assert!(body["message"].as_str().unwrap().contains("\"a\""), "{body}");
        assert!(!body["instance"].as_str().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_definition_is_written_over_only_where_that_is_asked_for() {
    let (_database, server) = server().await;
    server.post("/api/metadata/workflow", &def("w", 1, "x")).expect(200);
    let refused = server.post("/api/metadata/workflow", &def("w", 1, "y")).expect(409).json();
    assert!(refused["message"].as_str().unwrap().contains("\"w\" version 1"), "{refused}");
    server.post("/api/metadata/workflow?overwrite=True", &def("w", 1, "y")).expect(200);
    server.post("/api/metadata/workflow", &def("w", 2, "z")).expect(200);
    let read = |path: &str| server.get(path).expect(200).json();
    let latest = read("/api/metadata/workflow/w");
    assert_eq!((&latest["version"], &latest["tasks"][0]["name"]), (&json!(2), &json!("z")));
    let first = read("/api/metadata/workflow/w?version=1&metadata=false");
    assert_eq!(first["tasks"][0]["name"], json!("y"));
    assert_eq!(read("/api/metadata/workflow").as_array().unwrap().len(), 2);
    assert_eq!(read("/api/metadata/workflow/names"), json!(["w"]));
    assert_eq!(read("/api/metadata/workflow/names-and-versions")["w"][1]["version"], json!(2));
    assert_eq!(read("/api/metadata/workflow/w/versions")[0]["version"], json!(1));
    assert_eq!(read("/api/metadata/workflow/latest-versions").as_array().unwrap().len(), 1);
    server.delete("/api/metadata/workflow/w/2").expect(200);
    assert_eq!(read("/api/metadata/workflow/w")["version"], json!(1));
    server.delete("/api/metadata/workflow/w/2").expect(404);
    server.get("/api/metadata/workflow/w?version=2").expect(404);
    server.get("/api/metadata/workflow/none").expect(404);
    server.get("/api/metadata/workflow/none/versions").expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workflow_definitions_are_taken_each_by_itself() {
    let (_database, server) = server().await;
    let list = json!([def("a", 1, "x"), {"name": "b", "tasks": 7}, def("c", 1, "x")]);
    let done = server.put("/api/metadata/workflow", &list).expect(200).json();
    assert_eq!(done["bulkSuccessfulResults"], json!(["a", "c"]));
    assert!(done["bulkErrorResults"]["b"].is_string(), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_definition_is_told_with_its_place_and_nothing_is_kept() {
    let (_database, server) = server().await;
    let mut wrong = def("w", 1, "x");
    wrong["tasks"] = json!([
        {"name": "x", "taskReferenceName": "t", "type": "SIMPLE"},
        {"name": "y", "taskReferenceName": "t", "type": "SIMPLE"},
    ]);
    for path in ["/api/metadata/workflow", "/api/metadata/workflow/validate"] {
        let body = server.post(path, &wrong).expect(400).json();
        let faults = body["validationErrors"].as_array().unwrap();
        assert!(faults[0]["path"].as_str().unwrap().starts_with("$.tasks[1]"), "{body}");
    }
    server.post("/api/metadata/workflow/validate", &def("w", 1, "x")).expect(200);
    server.get("/api/metadata/workflow/w").expect(404);
}
