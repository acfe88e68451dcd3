//! Runs that are removed.

use serde_json::json;

use crate::running::{Running, result_of, server};

fn ended(server: &Running) -> String {
    let id = server.start_workflow("line");
    let task = server.poll();
    let mut result = result_of(&task, "COMPLETED");
    result["logs"] = json!([{"log": "a line"}]);
    server.post("/api/tasks", &result).expect(200);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_is_removed_with_all_that_is_kept_of_it() {
    let (database, server) = server().await;
    server.register("line", 1);
    let (id, other) = (ended(&server), ended(&server));
    let remove = |id: &str, more: &str| server.delete(&format!("/api/workflow/{id}/remove{more}"));
    // There is no archive: without a word about it nothing is lost.
    for more in ["", "?archiveWorkflow=true"] {
        let refused = remove(&id, more).expect(400).json();
        assert!(refused["message"].as_str().unwrap().contains("archiveWorkflow"), "{refused}");
    }
    let task = server.run(&id)["tasks"][0]["taskId"].as_str().unwrap().to_owned();
    remove(&id, "?archiveWorkflow=false").expect(200);
    server.get(&format!("/api/workflow/{id}")).expect(404);
    server.get(&format!("/api/tasks/{task}")).expect(404);
    server.get(&format!("/api/tasks/{task}/log")).expect(204);
    remove(&id, "?archiveWorkflow=false").expect(404);
    server.run(&other);
    let client = database.connect().await.unwrap();
    for table in ["workflows", "task_history", "task_logs"] {
        let sql = format!("SELECT count(*) FROM oms_engine.{table}");
        let left: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(left, 1, "{table}");
    }
    // A worker that still has something to say of it.
    let late = json!({"taskId": task, "workflowInstanceId": id, "status": "COMPLETED"});
    server.post("/api/tasks", &late).expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_not_ended_is_terminated_first_or_stays() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let refused = server.delete(&format!("/api/workflow/{id}/remove?archiveWorkflow=false"));
    assert!(refused.expect(409).json()["message"].as_str().unwrap().contains("RUNNING"));
    let path = format!("/api/workflow/{id}/terminate-remove?archiveWorkflow=false&reason=enough");
    server.delete(&path).expect(200);
    server.get(&format!("/api/workflow/{id}")).expect(404);
    assert_eq!(server.get("/api/tasks/queue/size?taskType=work").expect(200).text, "0");
    // One that has COMPLETED cannot be terminated.
    let id = ended(&server);
    let path = format!("/api/workflow/{id}/terminate-remove?archiveWorkflow=false");
    server.delete(&path).expect(409);
    server.run(&id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parent_waits_for_stays_until_the_parent_has_ended() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let child = json!({"name": "line", "taskReferenceName": "child", "type": "SUB_WORKFLOW",
        "subWorkflowParam": {"name": "line", "version": 1}});
    let wait = json!({"name": "wait", "taskReferenceName": "wait", "type": "WAIT"});
    let def = json!({"name": "outer", "version": 1, "schemaVersion": 2, "tasks": [child, wait]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let outer = server.start_workflow("outer");
    let task = server.poll();
    let inner = task["workflowInstanceId"].as_str().unwrap().to_owned();
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    let remove =
        |id: &str| server.delete(&format!("/api/workflow/{id}/remove?archiveWorkflow=false"));
    let refused = remove(&inner).expect(409).json();
    assert!(refused["message"].as_str().unwrap().contains(&outer), "{refused}");
    // By then the parent stands at its WAIT.
    let execute = format!("/api/tasks/{outer}/COMPLETED/signal/sync?timeoutMillis=20000");
    let begun = std::time::Instant::now();
    while server.post(&execute, &json!({})).status != 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the parent never waits");
    }
    assert_eq!(server.run(&outer)["status"], json!("COMPLETED"));
    remove(&inner).expect(200);
    assert_eq!(server.run(&outer)["tasks"][0]["status"], json!("COMPLETED"));
    // The parent's restart starts another.
    server.post(&format!("/api/workflow/{outer}/restart"), &json!(null)).expect(204);
    server.post("/api/tasks", &result_of(&server.poll(), "COMPLETED")).expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_removed_each_by_itself() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let (done, open) = (ended(&server), server.start_workflow("line"));
    let bulk = |what: &str, more: &str| {
        let ids = json!([done, open, "none"]).to_string().into_bytes();
        server.send("DELETE", &format!("/api/workflow/bulk/{what}?archiveWorkflow={more}"), ids)
    };
    bulk("remove", "true").expect(400);
    let removed = bulk("remove", "false").expect(200).json();
    assert_eq!(removed["bulkSuccessfulResults"], json!([done]));
    let refused = removed["bulkErrorResults"].as_object().unwrap();
    assert!(refused[&open].as_str().unwrap().contains("RUNNING"), "{refused:?}");
    let removed = bulk("terminate-remove", "false&reason=enough").expect(200).json();
    assert_eq!(removed["bulkSuccessfulResults"], json!([open]));
    assert_eq!(removed["bulkErrorResults"].as_object().unwrap().len(), 2);
    server.get(&format!("/api/workflow/{open}")).expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_ago_is_purged_and_exported_by_the_command_and_by_the_server() {
    let (database, server) = server().await;
    server.register("line", 1);
    let (old, running) = (server.start_workflow("line"), server.start_workflow("line"));
    server.oms(&["workflow", "terminate", &old]).expect(0);
    let folder = crate::cli::Scratch::new("purge");
    let file = folder.0.join("ended.jsonl");
    let file = file.to_str().unwrap();
    let purge = |age: &str| {
        let command = ["--json", "purge", "--older-than", age, "--export", file];
        crate::command::oms_with(&command, "", &[("DATABASE_URL", database.url())])
    };
    assert_eq!(purge("1h").expect(0).json(), json!({"removed": 0}));
    assert_eq!(purge("0s").expect(0).json(), json!({"removed": 1}));
    purge("yesterday").expect(2);
    let exported: serde_json::Value =
        serde_json::from_str(std::fs::read_to_string(file).unwrap().trim()).unwrap();
    assert_eq!(exported["workflowId"], json!(old));
    server.oms(&["workflow", "get", &old]).expect(3);
    drop(server);
    let server = Running::start(database.url(), &["--keep-ended", "1s"]);
    server.oms(&["workflow", "terminate", &running]).expect(0);
    let begun = std::time::Instant::now();
    while server.oms(&["workflow", "get", &running]).code != 3 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it is kept");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
