//! Starts from SQL: `oms_engine.start_workflow`.

use crate::common::script::{Work, told};
use crate::common::{assert_nothing_stuck, database, line, until, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, Execution, StartRequest, WorkflowDef, WorkflowId};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// An engine that looks for work when it is told, with the definition `one`.
async fn ready(database: &TestDatabase) -> Engine {
    let work = Work::new(|_, input| async move { Ok(json!({"value": input})) });
    let engine = told(database).task(work).build().await.unwrap();
    engine.register_workflow(&line("one", &["work", "work"])).await.unwrap();
    engine
}

async fn id_of(client: &impl tokio_postgres::GenericClient, call: &str) -> WorkflowId {
    let sql = format!("SELECT oms_engine.start_workflow({call})");
    WorkflowId::from_uuid(client.query_one(&sql, &[]).await.unwrap().get(0))
}

/// The SQLSTATE and the message with which a start is refused.
async fn refusal(client: &Client, call: &str) -> (String, String) {
    let sql = format!("SELECT oms_engine.start_workflow({call})");
    let error = client.query_one(&sql, &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    (error.code().code().to_owned(), error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_sql_is_there_with_the_caller_s_row_or_not_at_all() {
    let database = database().await;
    let engine = ready(&database).await;
    let mut client = database.connect().await.unwrap();
    client.batch_execute("CREATE TABLE orders (id int)").await.unwrap();
    let tx = client.transaction().await.unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", &[]).await.unwrap();
    let gone = id_of(&tx, "'one'").await;
    tx.rollback().await.unwrap();
    let tx = client.transaction().await.unwrap();
    tx.execute("INSERT INTO orders VALUES (2)", &[]).await.unwrap();
    let id = id_of(&tx, r#"'one', '{"value": 7}'"#).await;
    assert!(engine.get(id).await.is_err(), "it is there before the commit");
    tx.commit().await.unwrap();
    // The engine asks by itself after a minute: the commit has woken it.
    let run = wait(&engine, id).await;
    assert_eq!(run.output["value"]["from_start"], json!(7));
    assert!(engine.get(gone).await.is_err());
    let client = database.connect().await.unwrap();
    let rows: i64 = client.query_one("SELECT count(*) FROM orders", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1);
    assert_nothing_stuck(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_starts_a_run_for_each_row() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let trigger = "
        CREATE TABLE orders (id int PRIMARY KEY, total numeric);
        CREATE FUNCTION start_order() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM oms_engine.start_workflow(
                'one', jsonb_build_object('value', NEW.id), idempotency_key => 'order-' || NEW.id
            );
            RETURN NEW;
        END $$;
        CREATE TRIGGER start_order AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION start_order();
        INSERT INTO orders SELECT n, 10 FROM generate_series(1, 50) n";
    client.batch_execute(trigger).await.unwrap();
    until(&client, "SELECT count(*) = 50 FROM oms_engine.workflows WHERE status = 2").await;
    let keyed = StartRequest::new("one").input(json!({"value": 7})).idempotency_key("order-7");
    assert!(engine.start(keyed).await.unwrap().existed);
    assert_nothing_stuck(&client).await;
}

fn told_of(run: &Execution) -> (i32, i16, Option<String>, Option<String>, Value, Value) {
    (
        run.workflow_version,
        run.priority,
        run.correlation_id.clone(),
        run.idempotency_key.clone(),
        run.input.clone(),
        run.variables.clone(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_sql_is_as_one_by_an_engine() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    for version in [1, 2, 3] {
        let def = json!({"name": "held", "version": version, "timeoutSeconds": 600,
            "inputTemplate": {"a": 1, "b": {"c": 2}}, "variables": {"v": version},
            "tasks": [{"name": "nobody", "taskReferenceName": "n", "type": "SIMPLE",
                       "inputParameters": {"a": "${workflow.input.a}"}}]});
        let def = WorkflowDef::from_json(&def.to_string()).unwrap();
        engine.register_workflow(&def).await.unwrap();
    }
    let call = r#"'held', '{"b": 3}', correlation_id => 'c', priority => 5, version => 2"#;
    let id = id_of(&client, &format!("{call}, idempotency_key => 'k1'")).await;
    let request = StartRequest::new("held").input(json!({"b": 3})).correlation_id("c").priority(5);
    let other = engine.start(request.version(2).idempotency_key("k2")).await.unwrap().id;
    until(&client, "SELECT count(*) = 2 FROM oms_engine.open_tasks WHERE queue = 'nobody'").await;
    let (by_sql, by_engine) = (engine.get(id).await.unwrap(), engine.get(other).await.unwrap());
    let mut expected = told_of(&by_engine);
    expected.3 = Some("k1".to_owned());
    assert_eq!(told_of(&by_sql), expected);
    assert_eq!(by_sql.task("n").unwrap().input_data, by_engine.task("n").unwrap().input_data);
    let deadlines = "SELECT count(*) = 2 FROM oms_engine.workflows
        WHERE deadline BETWEEN created_at + interval '599 seconds' AND created_at + interval '601 seconds'";
    until(&client, deadlines).await;
    let plain = engine.get(id_of(&client, "'held', null").await).await.unwrap();
    assert_eq!((plain.workflow_version, &plain.input), (3, &json!({})));
    assert_eq!(id.as_uuid().get_version_num(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_gives_the_run_that_has_it_and_refuses_another_input() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let keyed = |value: i32| format!(r#"'one', '{{"value": {value}}}', idempotency_key => 'k'"#);
    let first = id_of(&client, &keyed(1)).await;
    assert_eq!(id_of(&client, &keyed(1)).await, first);
    let (code, message) = refusal(&client, &keyed(2)).await;
    assert_eq!(code, "23505");
    assert!(message.contains(&first.to_string()), "{message}");
    let same = StartRequest::new("one").input(json!({"value": 1})).idempotency_key("k");
    assert_eq!(engine.start(same).await.unwrap().id, first);
    wait(&engine, first).await;
    let runs = "SELECT count(*) = 1 FROM oms_engine.workflows";
    until(&client, runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_would_refuse_is_refused_and_nothing_is_left_of_it() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let schema = json!({"name": "held", "tasks": [
        {"name": "nobody", "taskReferenceName": "n", "type": "SIMPLE"}],
        "inputSchema": {"name": "s", "version": 1, "type": "JSON", "data": {"type": "object"}}});
    let schema = WorkflowDef::from_json(&schema.to_string()).unwrap();
    engine.register_workflow(&schema).await.unwrap();
    let deep = format!("'one', '{{\"a\": {}{}}}'", "[".repeat(100), "]".repeat(100));
    let long = format!("'one', idempotency_key => '{}'", "k".repeat(256));
    let large = "'one', jsonb_build_object('a', repeat('x', 5300000))";
    for (call, code, part) in [
        ("'nothing'", "P0002", "no workflow definition nothing"),
        ("'one', version => 9", "P0002", "version 9"),
        ("null", "22023", "is empty"),
        ("''", "22023", "is empty"),
        ("'one', '[1]'", "22023", "no JSON object"),
        ("'one', '7'", "22023", "no JSON object"),
        (&*deep, "22023", "100 levels"),
        ("'one', '{\"a\": [{\"b\": 1e400}]}'", "22023", "number"),
        (large, "22023", "bytes of text"),
        (&*long, "22023", "256 bytes"),
        ("'one', correlation_id => ''", "22023", "is empty"),
        ("'one', priority => 100", "22023", "100 is not within"),
        ("'one', priority => null", "22023", "priority"),
        ("'held'", "0A000", "schema"),
    ] {
        let (got, message) = refusal(&client, call).await;
        assert!(got == code && message.contains(part), "{call:.80}: {got} {message}");
    }
    until(&client, "SELECT count(*) = 0 FROM oms_engine.workflows").await;
    let deepest = format!("'one', '{{\"a\": {}{}}}'", "[".repeat(99), "]".repeat(99));
    wait(&engine, id_of(&client, &deepest).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_execute_it_needs_no_right_on_the_tables() {
    let database = database().await;
    let engine = ready(&database).await;
    let client = database.connect().await.unwrap();
    let role = format!("shop_{}", WorkflowId::new().as_uuid().simple());
    let begin =
        format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA oms_engine TO {role}; SET ROLE {role}");
    client.batch_execute(&begin).await.unwrap();
    assert_eq!(refusal(&client, "'one'").await.0, "42501");
    let grant = format!(
        "RESET ROLE; GRANT EXECUTE ON FUNCTION oms_engine.start_workflow TO {role};
        SET ROLE {role}"
    );
    client.batch_execute(&grant).await.unwrap();
    assert!(client.query("SELECT FROM oms_engine.workflows", &[]).await.is_err());
    wait(&engine, id_of(&client, "'one'").await).await;
    let end = format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}");
    client.batch_execute(&end).await.unwrap();
}
