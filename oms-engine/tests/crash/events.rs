//! Events under kills: each event that was published has each of its effects once.

use std::time::{Duration, Instant};

use oms_engine::definition::EventHandler;
use oms_engine::{Engine, EventRequest, StartRequest, WorkflowDef};
use serde_json::json;

use crate::PATIENCE;
use crate::common::{assert_nothing_stuck, database, line, until};
use crate::graphs::{after_kills, storm, what_is_open};
use crate::witness::Witness;
use crate::worker::Launch;

const RUNS: usize = 200;

fn handlers() -> [EventHandler; 2] {
    let started = json!({
        "name": "child", "input": {"from": "${workflowInstanceId}", "value": 20},
    });
    let handler = |name: &str, event: &str| {
        let handler = json!({
            "name": name, "event": event, "active": true,
            "actions": [{"action": "start_workflow", "start_workflow": started}],
        });
        EventHandler::from_json(&handler.to_string()).unwrap()
    };
    [handler("of_tasks", "conductor:publisher:tell"), handler("from_outside", "conductor:outside")]
}

fn publisher() -> WorkflowDef {
    let def = json!({"name": "publisher", "tasks": [
        {"name": "work", "taskReferenceName": "first", "type": "SIMPLE",
            "inputParameters": {
                "from_start": "${workflow.input.value}",
                "after_kills": "${workflow.input.after_kills}",
            }},
        {"name": "tell", "taskReferenceName": "tell", "type": "EVENT", "sink": "conductor"},
        {"name": "work", "taskReferenceName": "last", "type": "SIMPLE"},
    ]});
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_starts_exactly_one_run_whoever_is_killed() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register(&[], &[publisher(), line("child", &["work"])]).await.unwrap();
    engine.register_event_handlers(&handlers()).await.unwrap();
    let request = |number: usize| {
        let input = json!({"value": 20, "after_kills": after_kills(number, RUNS)});
        StartRequest::new("publisher").input(input)
    };
    engine.start_many((0..RUNS).map(request).collect()).await.unwrap();
    for n in 0..RUNS {
        let key = format!("k{}", n / 2);
        let request = EventRequest::new("conductor:outside", json!({})).idempotency_key(key);
        assert_eq!(engine.publish(request).await.unwrap().existed, n % 2 == 1);
    }
    engine.shutdown(Duration::ZERO).await;
    let launch = Launch::new(database.url(), &witness).concurrency(8);
    let mut workers = [launch.start(), launch.start()];
    storm(&client, &launch, &witness, &mut workers).await;
    let children = RUNS + RUNS / 2;
    let all = RUNS + children;
    let done = format!(
        "SELECT count(*) = {all} AND bool_and(status = 2) FROM oms_engine.workflows
         WHERE (SELECT count(*) FROM oms_engine.event_executions WHERE status = 1) = {children}"
    );
    let begun = Instant::now();
    while !client.query_one(&done, &[]).await.unwrap().get::<_, Option<bool>>(0).unwrap_or(false) {
        assert!(begun.elapsed() < PATIENCE, "still open: {:#?}", what_is_open(&client).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One for each event, and each event one of each task that publishes.
    let once = format!(
        "SELECT count(*) = {children} AND count(DISTINCT input->>'conductor.event.messageId') = {children}
         FROM oms_engine.workflows WHERE name = 'child'"
    );
    assert!(client.query_one(&once, &[]).await.unwrap().get::<_, bool>(0));
    let of_tasks = format!(
        "SELECT count(*) = {RUNS} FROM oms_engine.workflows c
         JOIN oms_engine.workflows p ON p.id::text = c.input->>'from' AND p.name = 'publisher'
         WHERE c.name = 'child' AND c.input->>'conductor.event.messageId' = p.id || '.0.0.tell'"
    );
    assert!(client.query_one(&of_tasks, &[]).await.unwrap().get::<_, bool>(0));
    until(&client, "SELECT NOT EXISTS (SELECT FROM oms_engine.events WHERE pending)").await;
    assert_nothing_stuck(&client).await;
}
