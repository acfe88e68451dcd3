//! `oms server` exports the spans of the runs that it ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use oms_engine::testkit::TestDatabase;
use serde_json::{Value, json};

use crate::collector::{Collector, Told};

/// A server; it is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            self.0.wait().unwrap();
        }
    }
}

fn ask(url: &str, path: &str, body: Option<&Value>) -> String {
    let url = format!("{url}{path}");
    let answer = match body {
        Some(body) => {
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let request = ureq::post(&url).header("traceparent", parent);
            request.header("content-type", "application/json").send(body.to_string())
        }
        None => ureq::get(&url).call(),
    };
    answer.unwrap().body_mut().read_to_string().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_a_collector_of_a_run_by_the_trace_of_its_start() {
    let collector = Collector::start();
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_oms"))
        .args(["server", "--port", "0", "--database-url", database.url()])
        .args(["--otlp-endpoint", &collector.url])
        .env("OTEL_SERVICE_NAME", "shop")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let mut server = Running(server);
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("oms server listens on ").unwrap().to_owned();
    let step = json!({"name": "work", "taskReferenceName": "step", "type": "SIMPLE"});
    let def = json!({"name": "line", "version": 1, "schemaVersion": 2, "tasks": [step]});
    ask(&url, "/api/metadata/workflow?overwrite=true", Some(&def));
    let id = ask(&url, "/api/workflow/line", Some(&json!({})));
    let polled = ask(&url, "/api/tasks/poll/batch/work?workerid=w&count=1&timeout=5000", None);
    let polled: Value = serde_json::from_str(&polled).unwrap();
    let result =
        json!({"workflowInstanceId": id, "taskId": polled[0]["taskId"], "status": "COMPLETED"});
    ask(&url, "/api/tasks", Some(&result));
    // What it has not told yet it tells when it stops.
    let told = Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap();
    assert!(told.success() && server.0.wait().unwrap().success());
    let spans = collector.wait("the run's span", |spans: &[Told]| !spans.is_empty());
    let [run] = &spans[..] else { unreachable!("{spans:#?}") };
    assert_eq!((run.name.as_str(), run.service.as_str()), ("workflow line", "shop"));
    assert_eq!(run.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(run.parent, "b7ad6b7169203331");
    assert_eq!(run.attribute("workflow_id"), id);
    // What the worker was told is where its own spans stand.
    let parent = format!("00-{}-{}-01", run.trace_id, run.id);
    assert_eq!(polled[0]["traceparent"], json!(parent));
}
