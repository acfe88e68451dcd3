//! `Tables::doctor` finds the faults that are planted, and no others.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod common;

use std::time::Duration;

use common::script::Work;
use common::{database, engine, line, until};
use oms_engine::chrono::{DateTime, TimeDelta, Utc};
use oms_engine::testkit::TestDatabase;
use oms_engine::{DoctorLimits, Finding, Severity, StartRequest, Tables, WorkflowId};
use serde_json::json;
use tokio_postgres::Client;

#[expect(clippy::disallowed_methods, reason = "this machine's time is what is compared")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

async fn found_by(url: &str, limits: &DoctorLimits) -> Vec<Finding> {
    let tables = Tables::new(url, "oms_engine", Duration::from_secs(30)).unwrap();
    tables.doctor(limits, now).await.unwrap()
}

/// What its owner finds of one kind, who sees all sessions.
async fn of_kind(database: &TestDatabase, kind: &str) -> Vec<String> {
    let found = found_by(database.owner_url(), &limits()).await;
    found.into_iter().filter(|f| f.kind == kind).map(|f| f.what).collect()
}

fn limits() -> DoctorLimits {
    let mut limits = DoctorLimits::default();
    limits.long_transaction = Duration::ZERO;
    limits.silence = Duration::from_secs(20);
    limits.connections = 1;
    limits.dead_rows = 500;
    limits
}

async fn planted(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap();
}

/// The tests' server has fsync off, and that is found.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_database_that_is_well_only_the_server_s_settings_are_told() {
    let database = database().await;
    let work = Work::new(|_, _| async { Ok(json!({})) });
    let engine = engine(&database).task(work).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let id = engine.start(StartRequest::new("one")).await.unwrap().id;
    common::wait(&engine, id).await;
    let mut wide = limits();
    wide.long_transaction = Duration::from_secs(300);
    let found = found_by(database.url(), &wide).await;
    assert!(
        found.iter().all(|f| f.kind == "durability" && f.severity == Severity::Fault),
        "{found:?}"
    );
    assert!(found.iter().any(|f| f.what == "fsync is off"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tables_and_missing_rights_are_found() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    let role = format!("little_{}", WorkflowId::new().as_uuid().simple());
    planted(
        &client,
        &format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA oms_engine TO {role};
        GRANT SELECT ON ALL TABLES IN SCHEMA oms_engine TO {role}"
        ),
    )
    .await;
    let sign = if database.owner_url().contains('?') { '&' } else { '?' };
    let url = format!("{}{sign}options=-c%20role%3D{role}", database.owner_url());
    let found = found_by(&url, &limits()).await;
    let rights: Vec<&str> =
        found.iter().filter(|f| f.kind == "rights").map(|f| f.what.as_str()).collect();
    for missing in [
        "no INSERT, UPDATE, DELETE on oms_engine.workflows",
        "no INSERT, UPDATE, DELETE on oms_engine.open_tasks",
        "no USAGE on oms_engine.token_ids",
    ] {
        assert!(rights.contains(&missing), "{missing}: {rights:?}");
    }
    assert!(rights.iter().any(|what| what.starts_with("no EXECUTE on oms_engine.start_workflow")));
    assert!(!rights.iter().any(|what| what.contains("migrations")), "{rights:?}");
    planted(&client, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    planted(&client, "DELETE FROM oms_engine.migrations WHERE version > 15").await;
    let old = of_kind(&database, "schema").await;
    assert!(old.len() == 1 && old.concat().contains("0016_ends_in_place"), "{old:?}");
    planted(&client, "INSERT INTO oms_engine.migrations (version, name) VALUES (1000, 'later')")
        .await;
    let newer = of_kind(&database, "schema").await;
    assert!(newer.concat().contains("1000"), "{newer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_of_vacuum_is_found() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    planted(&client, "ALTER TABLE oms_engine.schemas SET (autovacuum_enabled = false)").await;
    planted(
        &client,
        "INSERT INTO oms_engine.schemas (name, version, definition)
        SELECT 's' || n, 1, '{}' FROM generate_series(1, 1000) n",
    )
    .await;
    planted(&client, "DELETE FROM oms_engine.schemas").await;
    planted(&client, "SELECT pg_stat_force_next_flush()").await;
    assert_eq!(of_kind(&database, "vacuum").await, ["autovacuum is off for oms_engine.schemas"]);
    let dead = "SELECT n_dead_tup >= 1000 FROM pg_stat_user_tables WHERE relid = 'oms_engine.schemas'::regclass";
    until(&client, dead).await;
    let bloat = of_kind(&database, "bloat").await;
    assert!(bloat.concat().starts_with("oms_engine.schemas has 1000 dead rows"), "{bloat:?}");
    assert_eq!(of_kind(&database, "long transaction").await, [""; 0]);
    planted(&client, "SET application_name = 'forgetful'; BEGIN; SELECT 1").await;
    let long = of_kind(&database, "long transaction").await;
    assert!(
        long.concat().contains("(forgetful)") && long.concat().contains("idle in transaction"),
        "{long:?}"
    );
    planted(&client, "COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_connections_and_a_wrong_clock_are_found() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    planted(
        &client,
        "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 15', current_database()); END $$",
    )
    .await;
    let mut limits = limits();
    limits.connections = 20;
    let found = found_by(database.url(), &limits).await;
    let few =
        found.iter().find(|f| f.kind == "connections" && f.what.contains("limit of database"));
    assert!(few.is_some_and(|few| few.what.contains("an engine needs 20")), "{found:?}");
    let tables = Tables::new(database.url(), "oms_engine", Duration::from_secs(30)).unwrap();
    for (hours, side) in [(1, "ahead of"), (-1, "behind")] {
        let shifted = move || now() + TimeDelta::hours(hours);
        let found = tables.doctor(&limits, shifted).await.unwrap();
        let clock = found.iter().find(|f| f.kind == "clock");
        assert!(clock.is_some_and(|clock| clock.what.contains(side)), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_missing_and_what_stands_still_is_found() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    assert_eq!(of_kind(&database, "no engine").await, ["no engine lives"]);
    let first = engine(&database).name("kitchen").build().await.unwrap();
    first.register_workflow(&line("one", &["work"])).await.unwrap();
    let id = first.start(StartRequest::new("one")).await.unwrap().id;
    assert_eq!(of_kind(&database, "no worker").await, [""; 0]);
    let later =
        "UPDATE oms_engine.open_tasks SET scheduled_at = scheduled_at - interval '1 minute'";
    planted(&client, later).await;
    let missing = of_kind(&database, "no worker").await;
    assert!(missing.concat().starts_with("1 tasks are ready in the queue work"), "{missing:?}");
    planted(&client, "INSERT INTO oms_engine.worker_polls (task_type, domain) VALUES ('work', '')")
        .await;
    assert_eq!(of_kind(&database, "no worker").await, [""; 0]);
    // Until the engine that lives has buried it.
    let overdue = "INSERT INTO oms_engine.sessions (name, engine_version, heartbeat_at)
        VALUES ('asleep', 1, now() - interval '25 seconds')";
    let mut told = Vec::new();
    for _ in 0..20 {
        planted(&client, overdue).await;
        told = of_kind(&database, "session").await;
        if !told.is_empty() {
            break;
        }
    }
    assert!(told.concat().starts_with("asleep (session"), "{told:?}");
    planted(&client, "DELETE FROM oms_engine.open_tasks").await;
    let stuck = of_kind(&database, "stuck").await;
    assert!(stuck.contains(&format!("workflow {id}: no open task")), "{stuck:?}");
}
