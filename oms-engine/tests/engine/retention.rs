//! Retention: what ended long ago goes, by whole families and in bounded batches.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::script::{Work, told};
use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, Retention, StartRequest, Tables, WorkflowDef, WorkflowId};
use serde_json::{Value, json};
use tokio_postgres::Client;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn parent(of: &str) -> WorkflowDef {
    let def = json!({"name": format!("parent_of_{of}"), "tasks": [
        {"name": "sub", "taskReferenceName": "sub", "type": "SUB_WORKFLOW", "subWorkflowParam": {"name": of}},
        {"name": "work", "taskReferenceName": "w", "type": "SIMPLE"}]});
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

async fn ready(database: &TestDatabase) -> Engine {
    let work = Work::new(|_, _| async move { Ok(json!({"value": 1})) });
    let engine = told(database).task(work).build().await.unwrap();
    let held = json!({"name": "held", "tasks": [
        {"name": "human", "taskReferenceName": "h", "type": "HUMAN"}]});
    let held = WorkflowDef::from_json(&held.to_string()).unwrap();
    for def in [line("one", &["work"]), held, parent("one"), parent("held")] {
        engine.register_workflow(&def).await.unwrap();
    }
    engine
}

fn tables(database: &TestDatabase) -> Tables {
    Tables::new(database.url(), "oms_engine", Duration::from_secs(10)).unwrap()
}

/// As if all of it had been two days ago.
async fn age(client: &Client) {
    let sql = "UPDATE oms_engine.workflows SET created_at = created_at - interval '2 days',
        ended_at = ended_at - interval '2 days'";
    client.batch_execute(sql).await.unwrap();
}

async fn there(client: &Client) -> BTreeSet<WorkflowId> {
    let rows = client.query("SELECT id FROM oms_engine.workflows", &[]).await.unwrap();
    rows.iter().map(|row| WorkflowId::from_uuid(row.get(0))).collect()
}

async fn child_of(client: &Client, id: WorkflowId) -> WorkflowId {
    let sql = "SELECT id FROM oms_engine.workflows WHERE parent_id = $1";
    WorkflowId::from_uuid(client.query_one(sql, &[&id.as_uuid()]).await.unwrap().get(0))
}

/// Nothing is kept of runs that are not there.
async fn assert_no_rests(client: &Client) {
    for table in ["task_history", "task_logs", "operations", "kept_tasks", "open_tasks"] {
        let sql = format!(
            "SELECT count(*) FROM oms_engine.{table} t
            WHERE NOT EXISTS (SELECT FROM oms_engine.workflows w WHERE w.id = t.workflow_id)"
        );
        let rests: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(rests, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn families_go_whole_and_only_when_all_of_them_ended_long_ago() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let start = async |name: &str| engine.start(StartRequest::new(name)).await.unwrap().id;
    let (family, plain) = (start("parent_of_one").await, start("one").await);
    let (young_parent, living) = (start("parent_of_held").await, start("held").await);
    wait(&engine, family).await;
    wait(&engine, plain).await;
    // A child that ended badly, and whose parent goes on with another attempt of its own.
    until(&client, "SELECT count(*) = 2 FROM oms_engine.open_tasks WHERE queue = 'HUMAN'").await;
    let young = child_of(&client, young_parent).await;
    let old_child = child_of(&client, family).await;
    age(&client).await;
    assert_eq!(tables(&database).purge(&Retention::of(4 * DAY)).await.unwrap(), 0);
    assert_eq!(tables(&database).purge(&Retention::of(DAY)).await.unwrap(), 3);
    let left = there(&client).await;
    assert_eq!(left, BTreeSet::from([young_parent, young, living]));
    assert!(engine.get(old_child).await.is_err());
    assert_no_rests(&client).await;
    // Its child has ended long ago, and it has not: both stay, and it goes on.
    engine.signal(young, "h", oms_engine::Signal::completed(json!({}))).await.unwrap();
    wait(&engine, young).await;
    let ended =
        "UPDATE oms_engine.workflows SET ended_at = ended_at - interval '2 days' WHERE id = $1";
    client.execute(ended, &[&young.as_uuid()]).await.unwrap();
    wait(&engine, young_parent).await;
    assert_eq!(tables(&database).purge(&Retention::of(DAY)).await.unwrap(), 0);
    client.execute(ended, &[&young_parent.as_uuid()]).await.unwrap();
    assert_eq!(tables(&database).purge(&Retention::of(DAY)).await.unwrap(), 2);
    assert_eq!(there(&client).await, BTreeSet::from([living]));
    assert_nothing_stuck(&client).await;
}

/// Ended runs with a line of history each, as if by an engine.
const FILL: &str = "
    INSERT INTO oms_engine.workflows (id, definition_id, name, version, status, input, output, created_at, ended_at)
        SELECT gen_random_uuid(), (SELECT min(id) FROM oms_engine.workflow_definitions WHERE name = 'one'),
            'one', 1, 2, '{}', '{}', now() - interval '3 days' + n * interval '1 second', now() - interval '2 days'
        FROM generate_series(1, 1500) n;
    INSERT INTO oms_engine.task_history (workflow_id, reference_name, attempt, status, seq, queue, poll_count, scheduled_at)
        SELECT id, 'work_0', 0, 0, 1, 'work', 1, created_at FROM oms_engine.workflows";

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_bounded_and_whoever_has_a_row_is_not_waited_for() {
    let database = database().await;
    let _engine = ready(&database).await;
    let mut client = database.connect().await.unwrap();
    client.batch_execute(FILL).await.unwrap();
    let count = "CREATE TABLE batches (runs bigint);
        CREATE FUNCTION count_batch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END $$;
        CREATE TRIGGER count_batch AFTER DELETE ON oms_engine.workflows
            REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_batch()";
    client.batch_execute(count).await.unwrap();
    let other = database.connect().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let lock = "SELECT id FROM oms_engine.workflows WHERE id = (
        SELECT id FROM oms_engine.workflows ORDER BY created_at LIMIT 1 OFFSET 700) FOR UPDATE";
    let held = WorkflowId::from_uuid(tx.query_one(lock, &[]).await.unwrap().get(0));
    assert_eq!(tables(&database).purge(&Retention::of(DAY)).await.unwrap(), 1_499);
    assert_eq!(there(&other).await, BTreeSet::from([held]));
    tx.rollback().await.unwrap();
    assert_eq!(tables(&database).purge(&Retention::of(DAY)).await.unwrap(), 1);
    let largest = "SELECT max(runs), count(*) FROM batches";
    let row = other.query_one(largest, &[]).await.unwrap();
    assert!(row.get::<_, i64>(0) <= 200 && row.get::<_, i64>(1) >= 8, "{row:?}");
    assert_no_rests(&other).await;
}

/// A file that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_has_every_run_and_without_an_export_nothing_goes() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let mut ids = BTreeSet::new();
    for n in 0..50 {
        let request = StartRequest::new("parent_of_one").input(json!({"n": n}));
        ids.insert(engine.start(request).await.unwrap().id);
    }
    for id in &ids {
        wait(&engine, *id).await;
    }
    age(&client).await;
    let all = there(&client).await;
    let nowhere = Retention::of(DAY).export_to(std::env::temp_dir());
    let refused = tables(&database).purge(&nowhere).await.unwrap_err();
    assert!(refused.to_string().contains(std::env::temp_dir().to_str().unwrap()), "{refused}");
    assert_eq!(there(&client).await, all);
    let path = std::env::temp_dir().join(format!("oms-ended-{}.jsonl", WorkflowId::new()));
    let scratch = Scratch(path.clone());
    let export = Retention::of(DAY).export_to(&path);
    assert_eq!(tables(&database).purge(&export).await.unwrap(), 100);
    let text = std::fs::read_to_string(&scratch.0).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written = lines.iter().map(|run| run["workflowId"].as_str().unwrap().parse().unwrap());
    assert_eq!(written.collect::<BTreeSet<WorkflowId>>(), all);
    assert!(lines.iter().all(|run| run["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty())));
    assert!(there(&client).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_remove_while_others_run_and_nothing_that_lives_is_touched() {
    let database = database().await;
    let work = || Work::new(|_, _| async move { Ok(json!({"value": 1})) });
    let keep = || Retention::of(Duration::from_millis(20));
    let first = engine(&database).task(work()).retention(keep()).build().await.unwrap();
    let second = engine(&database).task(work()).retention(keep()).build().await.unwrap();
    for def in [line("one", &["work"; 3]), parent("one")] {
        first.register_workflow(&def).await.unwrap();
    }
    let client = database.connect().await.unwrap();
    for n in 0..20 {
        let of = |name| (0..25).map(move |_| StartRequest::new(name)).collect();
        let by = if n % 2 == 0 { &first } else { &second };
        by.start_many(of("one")).await.unwrap();
        by.start_many(of("parent_of_one")).await.unwrap();
    }
    until(&client, "SELECT count(*) = 0 FROM oms_engine.workflows").await;
    assert_no_rests(&client).await;
}
