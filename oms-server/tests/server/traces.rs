//! Traces of requests, by the headers of W3C Trace Context.

use serde_json::{Value, json};

use crate::running::{Answered, Running, server};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn start(server: &Running, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answered {
    server.send_with("POST", path, body.to_string().into_bytes(), headers).expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_s_headers_come_to_the_worker_of_its_tasks() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let headers = [("traceparent", PARENT), ("tracestate", "shop=7")];
    let (of_start, input) = (json!({"name": "line", "input": {"n": 1}}), json!({"n": 1}));
    for (path, body) in [
        ("/api/workflow", &of_start),
        ("/api/workflow/line", &input),
        ("/api/workflow/execute/line/1?waitForSeconds=0&requestId=r", &of_start),
    ] {
        start(&server, path, body, &headers);
        let task = server.poll();
        let (trace, rest) = task["traceparent"].as_str().unwrap().split_at(36);
        assert_eq!(trace, "00-4bf92f3577b34da6a3ce929d0e0e4736-", "{path}");
        assert!(rest.ends_with("-01") && !rest.starts_with("00f067aa0ba902b7"), "{path}: {task}");
        assert_eq!(task["tracestate"], json!("shop=7"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_name_no_trace_are_passed_over() {
    let (_database, server) = server().await;
    server.register("line", 1);
    for headers in [&[][..], &[("traceparent", "00-what")], &[("tracestate", "shop=7")]] {
        let id = start(&server, "/api/workflow/line", &json!({}), headers).text;
        let task = server.poll();
        let own = format!("00-{}-", id.replace('-', ""));
        assert!(task["traceparent"].as_str().unwrap().starts_with(&own), "{task}");
        assert_eq!(task.get("tracestate"), None);
    }
}

#[test]
fn an_address_of_a_collector_is_held_to() {
    let mut oms = std::process::Command::new(env!("CARGO_BIN_EXE_oms"));
    let told = oms.args(["server", "--otlp-endpoint", "nowhere"]).output().unwrap();
    let (code, what) = if cfg!(feature = "otel") {
        (2, "is no address of a collector")
    } else {
        (4, "this oms was built without the feature `otel`")
    };
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(code), "{said}");
    assert!(said.contains(what), "{said}");
}
