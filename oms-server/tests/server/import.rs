//! `oms import`, from another server and from a stand-in that answers as Conductor does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::running::server;

/// Answers GETs by their path until the test ends.
fn stand_in(answers: Vec<(&'static str, Value)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
            let path = head.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(of, _)| *of == path);
            let (status, body) = match found {
                Some((_, body)) => ("200 OK", body.to_string()),
                None => ("404 Not Found", json!({"status": 404, "message": path}).to_string()),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let mut stream = stream.into_inner();
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        }
    });
    url
}

/// What became of a definition.
fn verdict<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["definitions"].as_array().unwrap();
    all.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
}

/// A task definition as Conductor writes it.
fn task(name: &str, retries: i64) -> Value {
    json!({
        "createTime": 1_700_000_000_000_i64, "updateTime": 0, "createdBy": "", "updatedBy": "",
        "accessPolicy": {}, "name": name, "description": "x", "retryCount": retries,
        "timeoutSeconds": 1200, "inputKeys": [], "outputKeys": [], "timeoutPolicy": "TIME_OUT_WF",
        "retryLogic": "FIXED", "retryDelaySeconds": 5, "responseTimeoutSeconds": 600,
        "concurrentExecLimit": null, "inputTemplate": {}, "rateLimitPerFrequency": 0,
        "rateLimitFrequencyInSeconds": 1, "isolationGroupId": null, "executionNameSpace": null,
        "ownerEmail": "a@example.com", "pollTimeoutSeconds": null, "backoffScaleFactor": 1,
        "baseType": null, "totalTimeoutSeconds": 0,
    })
}

/// A workflow definition as Conductor writes it.
fn workflow(name: &str, step: &Value) -> Value {
    let mut full = json!({
        "inputParameters": {}, "description": null, "dynamicTaskNameParam": null,
        "caseValueParam": null, "caseExpression": null, "scriptExpression": null,
        "dynamicForkJoinTasksParam": null, "dynamicForkTasksParam": null,
        "dynamicForkTasksInputParamName": null, "startDelay": 0, "subWorkflowParam": null,
        "sink": null, "optional": false, "rateLimited": null, "asyncComplete": false,
        "loopCondition": null, "retryCount": null, "permissive": false,
        "decisionCases": {}, "defaultCase": [], "forkTasks": [], "joinOn": [],
        "defaultExclusiveJoinTask": [], "loopOver": [], "onStateChange": {},
    });
    full.as_object_mut().unwrap().extend(step.as_object().unwrap().clone());
    json!({
        "createTime": 1_700_000_000_000_i64, "updateTime": 1_700_000_000_001_i64,
        "accessPolicy": {}, "name": name, "description": "x", "version": 3, "tasks": [full],
        "inputParameters": ["n"], "outputParameters": {}, "failureWorkflow": null,
        "schemaVersion": 2, "restartable": true, "workflowStatusListenerEnabled": false,
        "ownerEmail": "a@example.com", "timeoutPolicy": "ALERT_ONLY", "timeoutSeconds": 0,
        "variables": {}, "inputTemplate": {}, "workflowStatusListenerSink": null,
    })
}

fn handler(name: &str) -> Value {
    let start = json!({"name": "pay", "input": {"n": "${n}"}});
    json!({
        "name": name, "event": "conductor:paid", "condition": null, "active": true,
        "actions": [{"action": "start_workflow", "start_workflow": start}],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_conductor_has_is_registered_and_what_cannot_be_is_told_with_the_reason() {
    let (_database, server) = server().await;
    let simple = json!({"name": "pay", "taskReferenceName": "pay_ref", "type": "SIMPLE"});
    let odd = json!({"name": "k", "taskReferenceName": "k", "type": "LLM_CHAT_COMPLETE"});
    let negative = task("negative", -1);
    let from = stand_in(vec![
        ("/api/metadata/taskdefs", json!([task("pay", 2), negative])),
        ("/api/metadata/workflow", json!([workflow("pay", &simple), workflow("llm", &odd)])),
        ("/api/event", json!([handler("on paid")])),
    ]);
    let arguments = ["--json", "import", "--from", &from];
    let dry = server.oms(&[&arguments[..], &["--dry-run"]].concat()).expect(7).json();
    assert_eq!(verdict(&dry, "llm")["verdict"], json!("refused"));
    server.get("/api/metadata/taskdefs/pay").expect(404);

    let report = server.oms(&arguments).expect(7).json();
    for name in ["pay", "on paid"] {
        let line = verdict(&report, name);
        assert_eq!((&line["verdict"], &line["differences"]), (&json!("registered"), &json!([])));
    }
    for (name, why) in [("llm", "LLM_CHAT_COMPLETE"), ("negative", "retryCount")] {
        let line = verdict(&report, name);
        assert_eq!(line["verdict"], json!("refused"));
        assert!(line["reason"].as_str().unwrap().contains(why), "{line}");
    }
    assert_eq!(server.get("/api/metadata/workflow/pay").expect(200).json()["version"], json!(3));
    assert_eq!(server.get("/api/metadata/taskdefs/pay").expect(200).json()["retryCount"], 2);
    let again = server.oms(&arguments).expect(7).json();
    assert_eq!(again["counts"]["same"], json!(3), "{again}");
    assert_eq!(again["counts"]["refused"], json!(2), "{again}");

    let none = stand_in(Vec::new());
    server.oms(&["import", "--from", &none]).expect(3);
    server.oms(&["import", "--from", "http://127.0.0.1:1"]).expect(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_already_is_kept_unless_it_is_to_be_written_over() {
    let ((_a, there), (_b, here)) = (server().await, server().await);
    there.register("line", 2);
    there.post("/api/metadata/taskdefs", &json!([{"name": "work", "retryCount": 9}])).expect(200);
    there.post("/api/event", &handler("on paid")).expect(200);
    here.register("line", 1);
    let from = format!("{}/api", there.url);
    let report = here.oms(&["--json", "import", "--from", &from]).expect(7).json();
    let line = verdict(&report, "line");
    assert_eq!(line["verdict"], json!("kept"));
    assert_eq!(line["differences"][0]["path"], json!("$.tasks"));
    assert_eq!(verdict(&report, "work")["verdict"], json!("registered"));
    let text = here.oms(&["import", "--from", &from, "--overwrite"]).expect(0).out;
    assert!(text.contains("workflow definition\tline\t1\tregistered"), "{text}");
    let steps = here.get("/api/metadata/workflow/line").expect(200).json();
    assert_eq!(steps["tasks"].as_array().unwrap().len(), 2);
    let report = here.oms(&["--json", "import", "--from", &from]).expect(0).json();
    assert_eq!(report["counts"]["same"], json!(3));
}
