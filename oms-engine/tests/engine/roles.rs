//! The roles of `roles_sql`: an engine does all of its work as the application, and no more.

use std::time::Duration;

use crate::common::script::Work;
use crate::common::{assert_nothing_stuck, line, until, wait};
use oms_engine::chrono::{DateTime, Utc};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    ApiRole, DoctorLimits, Engine, EventRequest, PollRequest, Retention, StartRequest, Tables,
    TaskDef, TaskUpdate, WorkflowDef, WorkflowId, WorkflowSearch, roles_sql,
};
use serde_json::json;

/// Roles are of the whole server: each test has its own.
struct Roles {
    owner: String,
    application: String,
    reader: String,
}

/// The database as this role sees it.
fn as_role(database: &TestDatabase, role: &str) -> String {
    let sign = if database.url().contains('?') { '&' } else { '?' };
    format!("{}{sign}options=-c%20role%3D{role}", database.url())
}

async fn migrated_by_the_owner() -> (TestDatabase, Roles) {
    let database = TestDatabase::empty().await.unwrap();
    let client = database.connect().await.unwrap();
    let unique = WorkflowId::new().as_uuid().simple().to_string();
    let name = |what: &str| format!("{what}_{unique}");
    let roles = Roles { owner: name("owner"), application: name("app"), reader: name("reader") };
    for role in [&roles.owner, &roles.application, &roles.reader] {
        client.batch_execute(&format!("CREATE ROLE {role}")).await.unwrap();
    }
    let create = format!(
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {}', current_database()); END $$",
        roles.owner
    );
    client.batch_execute(&create).await.unwrap();
    let url = as_role(&database, &roles.owner);
    let tables = Tables::new(&url, "oms_engine", Duration::from_secs(30)).unwrap();
    tables.migrate().await.unwrap();
    let sql = roles_sql("oms_engine", &roles.owner, &roles.application, &roles.reader).unwrap();
    client.batch_execute(&format!("SET ROLE {}; {sql} RESET ROLE", roles.owner)).await.unwrap();
    (database, roles)
}

async fn forget(database: &TestDatabase, roles: &Roles) {
    let client = database.connect().await.unwrap();
    for role in [&roles.application, &roles.reader, &roles.owner] {
        let sql = format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}");
        client.batch_execute(&sql).await.unwrap();
    }
}

async fn refused(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let running = tokio::spawn(connection);
    let error = client.batch_execute(sql).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code().to_owned()).as_deref(), Some("42501"), "{sql}");
    drop(client);
    running.await.unwrap().unwrap();
}

/// What a doctor says that this role may not do.
async fn rights_missed(url: &str) -> Vec<String> {
    let tables = Tables::new(url, "oms_engine", Duration::from_secs(30)).unwrap();
    let found = tables.doctor(&DoctorLimits::default(), now).await.unwrap();
    found.into_iter().filter(|found| found.kind == "rights").map(|found| found.what).collect()
}

#[expect(clippy::disallowed_methods, reason = "this machine's time is what is compared")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn family() -> WorkflowDef {
    let def = json!({"name": "family", "tasks": [
        {"name": "sub", "taskReferenceName": "sub", "type": "SUB_WORKFLOW", "subWorkflowParam": {"name": "one"}},
        {"name": "event", "taskReferenceName": "e", "type": "EVENT", "sink": "conductor"},
        {"name": "far", "taskReferenceName": "f", "type": "SIMPLE"}]});
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_does_its_work_as_the_application() {
    let (database, roles) = migrated_by_the_owner().await;
    let url = as_role(&database, &roles.application);
    let work = Work::new(|_, _| async move { Ok(json!({"value": 1})) });
    let engine = Engine::builder(&url)
        .migrate()
        .task(work)
        .heartbeat(Duration::from_millis(200), Duration::from_secs(3))
        .build()
        .await
        .unwrap();
    let client = database.connect().await.unwrap();
    let mut limited = TaskDef::new("work");
    limited.concurrent_exec_limit = Some(2);
    engine.register_task(&limited).await.unwrap();
    engine.register_workflow(&line("one", &["work", "work"])).await.unwrap();
    engine.register_workflow(&family()).await.unwrap();
    let id = engine.start(StartRequest::new("family").idempotency_key("k")).await.unwrap().id;
    let poll = PollRequest::new("far", "me").wait(Duration::from_secs(20));
    let task = engine.poll(&poll).await.unwrap().delivered().remove(0);
    engine.pause(id).await.unwrap();
    engine.resume(id).await.unwrap();
    let done = TaskUpdate::completed(json!({}));
    engine.update_task(&task.task_id.parse().unwrap(), done).await.unwrap();
    wait(&engine, id).await;
    engine.publish(EventRequest::new("conductor:x", json!({}))).await.unwrap();
    assert_eq!(engine.search(&WorkflowSearch::default()).await.unwrap().results.len(), 2);
    assert!(engine.explain(id).await.unwrap().summary.starts_with("COMPLETED"));
    let started = "SELECT oms_engine.start_workflow('one')";
    client
        .batch_execute(&format!("SET ROLE {}; {started}; RESET ROLE", roles.application))
        .await
        .unwrap();
    until(&client, "SELECT count(*) = 3 FROM oms_engine.workflows WHERE status = 2").await;
    let tables = Tables::new(&url, "oms_engine", Duration::from_secs(30)).unwrap();
    tables.create_api_key("id", "name", ApiRole::Read, b"hash").await.unwrap();
    assert_eq!(tables.purge(&Retention::of(Duration::ZERO)).await.unwrap(), 3);
    assert_nothing_stuck(&client).await;
    assert_eq!(rights_missed(&url).await, [""; 0]);
    engine.shutdown(Duration::from_secs(5)).await;
    for sql in [
        "DROP TABLE oms_engine.workflows",
        "ALTER TABLE oms_engine.workflows ADD COLUMN x int",
        "CREATE TABLE oms_engine.x (y int)",
        "TRUNCATE oms_engine.workflows",
        "INSERT INTO oms_engine.migrations (version, name) VALUES (1000, 'x')",
    ] {
        refused(&url, sql).await;
    }
    forget(&database, &roles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_sees_all_but_keys_and_changes_nothing() {
    let (database, roles) = migrated_by_the_owner().await;
    let url = as_role(&database, &roles.reader);
    let client = database.connect().await.unwrap();
    // What a later migration makes is included.
    let later =
        format!("SET ROLE {}; CREATE TABLE oms_engine.later (x int); RESET ROLE", roles.owner);
    client.batch_execute(&later).await.unwrap();
    let looks = format!(
        "SET ROLE {}; SELECT FROM oms_engine.stuck_workflows; SELECT FROM oms_engine.workflows;
        SELECT FROM oms_engine.task_history; SELECT FROM oms_engine.later; RESET ROLE",
        roles.reader
    );
    client.batch_execute(&looks).await.unwrap();
    let missed = rights_missed(&url).await;
    for missing in [
        "no SELECT, INSERT, UPDATE, DELETE on oms_engine.api_keys",
        "no INSERT, UPDATE, DELETE on oms_engine.workflows",
    ] {
        assert!(missed.iter().any(|what| what == missing), "{missing}: {missed:?}");
    }
    for sql in [
        "SELECT * FROM oms_engine.api_keys",
        "SELECT * FROM oms_engine.api_tokens",
        "UPDATE oms_engine.workflows SET status = 2",
        "DELETE FROM oms_engine.task_history",
        "SELECT oms_engine.start_workflow('one')",
    ] {
        refused(&url, sql).await;
    }
    forget(&database, &roles).await;
}
