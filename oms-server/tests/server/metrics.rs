//! What `GET /metrics` says when things break.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use oms_engine::telemetry;
use oms_engine::tokio_postgres::{self, NoTls};
use oms_server::METRICS;
use serde_json::json;

use crate::access::Key;
use crate::running::{Running, result_of, server};

/// The sum of a metric's series that have all these labels.
fn value(server: &Running, name: &str, labels: &[&str]) -> f64 {
    let text = server.get("/metrics").expect(200).text;
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn wait_for(server: &Running, name: &str, labels: &[&str], least: f64) {
    let begun = Instant::now();
    while value(server, name, labels) < least {
        let text = server.get("/metrics").text;
        assert!(begun.elapsed() < Duration::from_secs(30), "{name} {labels:?} {least}: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn registered(server: &Running) {
    let def = json!([{"name": "work", "retryCount": 3, "retryLogic": "FIXED",
        "retryDelaySeconds": 0, "timeoutSeconds": 0, "ownerEmail": "a@example.com"}]);
    server.post("/api/metadata/taskdefs", &def).expect(200);
    server.register("line", 1);
}

/// Breaks all that is measured once, and reads that it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_is_counted_and_every_documented_name_is_emitted_and_no_other() {
    let (database, server) = server().await;
    registered(&server);
    let of_work = ["queue=\"work\""];
    for _ in 0..3 {
        server.start_workflow("line");
    }
    wait_for(&server, "oms_queue_ready", &of_work, 3.0);
    wait_for(&server, "oms_queue_oldest_seconds", &of_work, 0.5);
    assert!(value(&server, "oms_workflows_started_total", &["workflow=\"line\""]) >= 3.0);

    // A task that fails is tried again.
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "FAILED")).expect(200);
    wait_for(&server, "oms_task_retries_total", &of_work, 1.0);
    let failed = [of_work[0], "outcome=\"failed\""];
    wait_for(&server, "oms_task_seconds_count", &failed, 1.0);
    assert!(value(&server, "oms_task_claim_seconds_sum", &of_work) > 0.0);

    // A run that an operator ends takes its task from the worker.
    let task = server.poll();
    let id = task["workflowInstanceId"].as_str().unwrap();
    server.delete(&format!("/api/workflow/{id}")).expect(200);
    wait_for(&server, "oms_leases_lost_total", &[], 1.0);
    let terminated = ["workflow=\"line\"", "status=\"TERMINATED\""];
    wait_for(&server, "oms_workflows_ended_total", &terminated, 1.0);

    // A server that is killed in the middle of a task.
    let mut other = Running::start(database.url(), &[]);
    let _held = other.poll();
    assert!(!other.stop("-KILL"));
    wait_for(&server, "oms_tasks_rescued_total", &of_work, 1.0);
    assert!(value(&server, "oms_sessions_buried_total", &[]) >= 1.0);

    // Connections that the database ends.
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()";
    client.execute(kill, &[]).await.unwrap();
    wait_for(&server, "oms_database_retries_total", &["sqlstate="], 1.0);
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    let completed = ["workflow=\"line\"", "status=\"COMPLETED\""];
    wait_for(&server, "oms_workflows_ended_total", &completed, 1.0);

    let foreign = [("origin", "https://elsewhere.example")];
    server.send_with("GET", "/api/version", Vec::new(), &foreign).expect(403);
    assert!(value(&server, "oms_requests_refused_total", &["reason=\"foreign\""]) >= 1.0);

    let text = server.get("/metrics").expect(200).text;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let emitted: BTreeSet<(&str, &str)> = types.map(|line| line.split_once(' ').unwrap()).collect();
    let all = telemetry::METRICS.iter().chain(&METRICS);
    let documented: BTreeSet<(&str, &str)> =
        all.map(|metric| (metric.name, metric.kind.as_str())).collect();
    assert_eq!(emitted, documented);
    assert!(!text.contains(id), "an id stands in a label");
}

#[test]
fn the_page_lists_every_metric_with_its_kind_and_labels() {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let said: BTreeMap<String, (String, String)> = rows
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let labels = cells[3].replace('`', "");
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        })
        .collect();
    let all = telemetry::METRICS.iter().chain(&METRICS);
    let there = all.map(|metric| {
        let labels = metric.labels.join(", ");
        (metric.name.to_owned(), (metric.kind.as_str().to_owned(), labels))
    });
    assert_eq!(said, there.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_a_scrape_needs_a_key_as_its_token_or_by_basic_authentication() {
    let (database, server) = server().await;
    server.get("/metrics").expect(200);
    let key = Key::create(&database, "read");
    let begun = Instant::now();
    while server.get("/metrics").status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody is asked");
        std::thread::sleep(Duration::from_millis(100));
    }
    let with = |name: &str, value: &str| {
        server.send_with("GET", "/metrics", Vec::new(), &[(name, value)]).status
    };
    let basic = |id: &str, secret: &str| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        with("authorization", &format!("Basic {text}"))
    };
    assert_eq!(basic(&key.id, &key.secret), 200);
    assert_eq!(with("x-authorization", &key.token(&server)), 200);
    assert_eq!(basic(&key.id, "wrong"), 401);
    assert_eq!(basic("nobody", &key.secret), 401);
    assert_eq!(with("authorization", "Basic %%%"), 401);
    assert_eq!(with("authorization", "Bearer x"), 401);
}
