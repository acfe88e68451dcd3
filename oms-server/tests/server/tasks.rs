//! Workers over HTTP.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::running::{result_of, server};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_polls_and_gets_the_next_task_with_its_update() {
    let (_database, server) = server().await;
    server.register("line", 3);
    let id = server.start_workflow("line");
    let first = server.poll();
    assert_eq!((&first["status"], &first["taskType"]), (&json!("IN_PROGRESS"), &json!("work")));
    assert_eq!((&first["inputData"], &first["pollCount"]), (&json!({"n": 7}), &json!(1)));
    assert_eq!((&first["workflowInstanceId"], &first["retryCount"]), (&json!(id), &json!(0)));
    let second = server.post("/api/tasks/update-v2", &result_of(&first, "COMPLETED")).expect(200);
    let second = second.json();
    assert_eq!(second["referenceTaskName"], json!("work_1"));
    let third = server.post("/api/tasks/update-v2", &result_of(&second, "COMPLETED")).expect(200);
    let third = third.json();
    let none = server.post("/api/tasks/update-v2", &result_of(&third, "COMPLETED")).expect(204);
    assert_eq!(none.text, "");
    let run = server.run(&id);
    assert_eq!(run["status"], json!("COMPLETED"));
    let workers: Vec<&Value> =
        run["tasks"].as_array().unwrap().iter().map(|task| &task["workerId"]).collect();
    assert_eq!(workers, ["w"; 3]);
    // What comes twice has no effect, and is answered as ever.
    server.post("/api/tasks/update-v2", &result_of(&third, "FAILED")).expect(204);
    let again = server.post("/api/tasks", &result_of(&third, "FAILED")).expect(200);
    assert_eq!(json!(again.text), third["taskId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_queue_is_answered_as_conductor_does() {
    let (_database, server) = server().await;
    let batch = server.get("/api/tasks/poll/batch/work?workerid=w&count=5&timeout=50").expect(200);
    assert_eq!(batch.json(), json!([]));
    assert_eq!(server.get("/api/tasks/poll/work?workerid=w").expect(204).text, "");
    let refused = server.get("/api/tasks/poll/batch/work?timeout=5001").expect(400).json();
    assert_eq!(refused["validationErrors"][0]["path"], json!("timeout"));
    server.get("/api/tasks/poll/batch/work?count=0").expect(400);
    server.get("/api/tasks/poll/batch/work?count=x").expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_read_logged_acknowledged_and_reported_by_name() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let id = server.start_workflow("line");
    let task = server.get("/api/tasks/poll/work?workerid=w&timeout=5000").expect(200).json();
    let at = |what: &str| format!("/api/tasks/{}{what}", task["taskId"].as_str().unwrap());
    let shown = server.get(&at("")).expect(200).json();
    assert_eq!((&shown["status"], &shown["seq"]), (&json!("IN_PROGRESS"), &json!(1)));
    assert_eq!(server.post(&at("/ack"), &json!(null)).expect(200).json(), json!(true));
    assert_eq!(server.get(&at("/log")).expect(204).text, "");
    server.send("POST", &at("/log"), b"a line".to_vec()).expect(200);
    let mut result = result_of(&task, "IN_PROGRESS");
    result["logs"] = json!([{"log": "another", "createdTime": 1, "taskId": task["taskId"]}]);
    result["callbackAfterSeconds"] = json!(60);
    server.post("/api/tasks", &result).expect(200);
    let begun = Instant::now();
    loop {
        let log = server.get(&at("/log")).expect(200).json();
        if log.as_array().unwrap().len() == 2 {
            assert_eq!((&log[0]["log"], &log[1]["log"]), (&json!("a line"), &json!("another")));
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{log}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let named = format!("/api/tasks/{id}/work_0/COMPLETED?workerid=me");
    let done = server.post(&named, &json!({"more": 1})).expect(200);
    assert_eq!(json!(done.text), task["taskId"]);
    assert_eq!(server.post(&named, &json!({})).expect(200).text, "");
    let run = server.run(&id);
    assert_eq!(run["tasks"][0]["outputData"], json!({"done": true, "more": 1}));
    assert_eq!(run["tasks"][0]["workerId"], json!("me"));
    let sync = format!("/api/tasks/{id}/work_1/COMPLETED/sync");
    let run = server.post(&sync, &json!({})).expect(200).json();
    assert_eq!(run["status"], json!("COMPLETED"));
    server.post(&sync, &json!({})).expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_tell_how_many_tasks_wait() {
    let (_database, server) = server().await;
    server.register("line", 1);
    for _ in 0..3 {
        server.start_workflow("line");
    }
    server.poll();
    let get = |path: &str| server.get(&format!("/api/tasks/queue/{path}")).expect(200).json();
    assert_eq!(get("size?taskType=work"), json!(2));
    assert_eq!(get("size?taskType=work&domain=eu"), json!(0));
    assert_eq!(get("sizes?taskType=work&taskType=none"), json!({"none": 0, "work": 2}));
    assert_eq!(get("all"), json!({"work": 2}));
    server.get("/api/tasks/queue/size").expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_poll_has_gone_comes_to_the_next_at_once() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let path = "/api/tasks/poll/batch/work?workerid=gone&timeout=5000";
    for _ in 0..10 {
        let mut gone = TcpStream::connect(server.address()).unwrap();
        write!(gone, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        drop(gone);
    }
    let mut gone = TcpStream::connect(server.address()).unwrap();
    write!(gone, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(gone);
    server.start_workflow("line");
    let begun = Instant::now();
    server.poll();
    assert!(begun.elapsed() < Duration::from_secs(4), "after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_extended_and_a_result_that_cannot_be_meant() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let task = server.poll();
    let mut result = result_of(&task, "IN_PROGRESS");
    result["extendLease"] = json!(true);
    server.post("/api/tasks", &result).expect(200);
    server.post("/api/tasks/update-v2", &result).expect(204);
    assert_eq!(server.run(&id)["tasks"][0]["status"], json!("IN_PROGRESS"));
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut result = result_of(&task, "COMPLETED");
        change(&mut result);
        server.post("/api/tasks", &result)
    };
    wrong(&|r| r["status"] = json!("DONE")).expect(400);
    wrong(&|r| r["taskId"] = json!(null)).expect(400);
    wrong(&|r| r["workflowInstanceId"] = json!("other")).expect(400);
    wrong(&|r| r["externalOutputPayloadStoragePath"] = json!("s3")).expect(400);
    wrong(&|r| r["outputData"] = json!([1])).expect(400);
    wrong(&|r| r["taskId"] = json!("no task")).expect(404);
    wrong(&|r| r["taskId"] = json!(format!("{id}.0.0.other"))).expect(404);
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
}
