//! Events from outside, what handlers did, and what keeps others waiting.

use crate::common::{database, engine, line, until};
use oms_engine::definition::EventHandler;
use oms_engine::tokio_postgres::Client;
use oms_engine::{
    Engine, Error, EventExecutionRequest, EventExecutionStatus, EventRequest, StartRequest,
};
use serde_json::{Value, json};

fn handler(name: &str, event: &str, actions: &Value) -> EventHandler {
    let handler = json!({"name": name, "event": event, "active": true, "actions": actions});
    EventHandler::from_json(&handler.to_string()).unwrap()
}

fn start() -> Value {
    json!([{"action": "start_workflow", "start_workflow": {"name": "w", "input": {"v": "${v}"}}}])
}

async fn all_done(client: &Client) {
    let done = "SELECT NOT EXISTS (SELECT FROM oms_engine.events WHERE pending)
        AND NOT EXISTS (SELECT FROM oms_engine.event_executions WHERE status = 0)";
    until(client, done).await;
}

async fn started(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM oms_engine.workflows", &[]).await.unwrap().get(0)
}

async fn with_handler() -> (oms_engine::testkit::TestDatabase, Engine, Client) {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let engine = engine(&database).build().await.unwrap();
    engine.register_workflow(&line("w", &["elsewhere"])).await.unwrap();
    engine.register_event_handler(&handler("h", "conductor:x", &start())).await.unwrap();
    (database, engine, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_are_replaced_by_name_listed_by_event_and_removed() {
    let (_database, engine, client) = with_handler().await;
    let other = handler("g", "conductor:y", &start());
    engine.register_event_handlers(std::slice::from_ref(&other)).await.unwrap();
    let moved = handler("h", "conductor:y", &start());
    engine.register_event_handler(&moved).await.unwrap();
    assert_eq!(engine.event_handlers(None).await.unwrap(), [other.clone(), moved.clone()]);
    assert!(engine.event_handlers(Some("conductor:x")).await.unwrap().is_empty());
    assert!(engine.remove_event_handler("g").await.unwrap());
    assert!(!engine.remove_event_handler("g").await.unwrap());
    assert_eq!(engine.event_handlers(Some("conductor:y")).await.unwrap(), [moved]);
    let bad = handler("bad", "kafka:t", &start());
    let refused = engine.register_event_handlers(&[other, bad]).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidDefinition { .. }), "{refused}");
    assert_eq!(engine.event_handlers(None).await.unwrap().len(), 1, "all or none");
    engine.publish(EventRequest::new("conductor:x", json!({}))).await.unwrap();
    all_done(&client).await;
    assert_eq!(started(&client).await, 0, "nobody handles it any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_published_with_the_transaction_of_the_caller() {
    let (database, engine, client) = with_handler().await;
    let mut own = database.connect().await.unwrap();
    let request = || EventRequest::new("conductor:x", json!({"v": 1})).idempotency_key("k");
    let tx = own.transaction().await.unwrap();
    assert!(!engine.publish_in(&tx, request()).await.unwrap().existed);
    tx.rollback().await.unwrap();
    let tx = own.transaction().await.unwrap();
    assert!(!engine.publish_in(&tx, request()).await.unwrap().existed);
    tx.commit().await.unwrap();
    until(&client, "SELECT count(*) = 1 FROM oms_engine.workflows").await;
    assert!(engine.publish(request()).await.unwrap().existed);
    let other = EventRequest::new("conductor:x", json!({"v": 2})).idempotency_key("k");
    let refused = engine.publish(other).await.unwrap_err();
    assert!(refused.to_string().contains("another payload"), "{refused}");
    all_done(&client).await;
    assert_eq!(started(&client).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_recorded_and_holds_up_nobody() {
    let (_database, engine, client) = with_handler().await;
    let nowhere = json!([
        {"action": "start_workflow", "start_workflow": {"name": "nobody"}},
        {"action": "terminate_workflow", "terminate_workflow": {"workflowId": "${nobody}"}},
    ]);
    engine.register_event_handler(&handler("a", "conductor:x", &nowhere)).await.unwrap();
    let published = engine.publish(EventRequest::new("conductor:x", json!({"v": 1}))).await;
    let message_id = published.unwrap().message_id;
    all_done(&client).await;
    assert_eq!(started(&client).await, 1);
    let mut request = EventExecutionRequest::default();
    request.message_id = Some(message_id.clone());
    let all = engine.event_executions(&request).await.unwrap();
    let seen: Vec<_> = all.iter().map(|e| (e.name.as_str(), e.status)).collect();
    let failed = EventExecutionStatus::Failed;
    let expected = [("a", failed), ("a", failed), ("h", EventExecutionStatus::Completed)];
    assert_eq!(seen, expected);
    let why = all[0].output["exception"].as_str().unwrap();
    assert!(why.contains("\"nobody\" (any version) is not registered"), "{why}");
    assert_eq!(all[1].id, format!("{message_id}_1"));
    assert!(all[2].output["workflowId"].is_string());
    request.statuses = vec![failed];
    request.size = 1;
    assert_eq!(engine.event_executions(&request).await.unwrap().len(), 1);
    request.below = Some(all[0].event_number);
    assert!(engine.event_executions(&request).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_wrong_is_refused_at_the_door() {
    let (_database, engine, _client) = with_handler().await;
    let refused = [
        EventRequest::new("x", json!({})),
        EventRequest::new("", json!({})),
        EventRequest::new("conductor:x", json!([])),
        EventRequest::new("conductor:x", json!({"v": "a\u{0}"})),
        EventRequest::new("conductor:x", json!({})).idempotency_key(""),
    ];
    for request in refused {
        let error = engine.publish(request.clone()).await.unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{request:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_forgotten_and_open_ones_are_kept() {
    let (_database, engine, client) = with_handler().await;
    for n in 0..3 {
        engine.publish(EventRequest::new("conductor:x", json!({"v": n}))).await.unwrap();
    }
    all_done(&client).await;
    engine.shutdown(std::time::Duration::ZERO).await;
    let age = "UPDATE oms_engine.events SET published_at = published_at - interval '8 days'
        WHERE id < (SELECT max(id) FROM oms_engine.events);
        UPDATE oms_engine.event_executions SET status = 0
        WHERE event_id = (SELECT min(id) FROM oms_engine.events)";
    client.batch_execute(age).await.unwrap();
    let forget = oms_engine::testkit::statements("oms_engine").unwrap();
    let (_, forget) = forget.into_iter().find(|(name, _)| *name == "forget_events").unwrap();
    let week: i64 = 7 * 24 * 3_600_000;
    client.query(&forget, &[&week, &100_i64]).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM oms_engine.events),
        (SELECT count(*) FROM oms_engine.event_executions)";
    let row = client.query_one(left, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_from_outside_are_seen_by_a_run_that_decides_from_memory() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let def = json!({"name": "r", "variables": {"n": 0}, "tasks": [
        {"name": "elsewhere", "taskReferenceName": "a", "type": "SIMPLE"},
        {"name": "p", "taskReferenceName": "p", "type": "HUMAN",
            "inputParameters": {"n": "${workflow.variables.n}"}},
    ]});
    let engine = engine(&database).build().await.unwrap();
    let def = oms_engine::WorkflowDef::from_json(&def.to_string()).unwrap();
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("r")).await.unwrap().id;
    let set = json!([{"action": "update_workflow_variables", "update_workflow_variables": {
        "workflowId": "${id}", "variables": {"n": 5},
    }}]);
    engine.register_event_handler(&handler("h", "conductor:set", &set)).await.unwrap();
    let payload = json!({"id": id.to_string()});
    engine.publish(EventRequest::new("conductor:set", payload)).await.unwrap();
    all_done(&client).await;
    let bumped = "SELECT bool_and(rev = 1) FROM oms_engine.open_tasks";
    assert!(client.query_one(bumped, &[]).await.unwrap().get::<_, bool>(0));
    engine.signal(id, "a", oms_engine::Signal::completed(json!({}))).await.unwrap();
    let run = engine.get(id).await.unwrap();
    assert_eq!(run.task("p").unwrap().input_data, json!({"n": 5}));
}
