//! Every statement of the engine: it prepares, it is used, and it goes by the index it was
//! written for.

use std::collections::BTreeSet;

use oms_engine::migration_sql;
use oms_engine::testkit::{TestDatabase, planner, statements};
use oms_engine::tokio_postgres::{Client, SimpleQueryMessage};

const SCHEMA: &str = "oms_engine";

#[tokio::test]
async fn every_statement_prepares_whatever_the_schema_is_called() {
    let database = TestDatabase::empty().await.unwrap();
    let client = database.connect().await.unwrap();
    for schema in [SCHEMA, "_another2"] {
        client.batch_execute(&migration_sql(schema).unwrap()).await.unwrap();
        for (name, sql) in statements(schema).unwrap() {
            assert!(!sql.contains("{schema}"), "{name}");
            let prepared = client.prepare(&sql).await;
            assert!(prepared.is_ok(), "{name} in {schema}: {:?}", prepared.err());
        }
    }
}

#[test]
fn every_sql_file_is_a_statement_of_the_engine() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let used: BTreeSet<String> =
        statements(SCHEMA).unwrap().into_iter().map(|(name, _)| format!("{name}.sql")).collect();
    let made: Vec<&String> = used.difference(&files).collect();
    assert_eq!(made, ["start_new.sql"]);
    assert!(files.is_subset(&used), "{:?}", files.difference(&used));
}

/// A statement, the indexes it must go by, and those it must not.
type Expected = (&'static str, &'static [&'static str], &'static [&'static str]);

const PLANS: &[Expected] = &[
    // By the partial index on holder the fence would walk all leases of a pump, dead ones too.
    (
        "advance",
        &["open_tasks_pkey", "open_tasks_claim", "workflows_pkey"],
        &["open_tasks_holder", "open_tasks_workflow", "open_tasks_due"],
    ),
    (
        "advance_steps",
        &["open_tasks_pkey", "workflows_pkey"],
        &["open_tasks_holder", "open_tasks_workflow", "open_tasks_due"],
    ),
    ("start_workflows", &[], &[]),
    ("start_new", &[], &[]),
    ("return_tasks", &["open_tasks_pkey"], &["open_tasks_holder"]),
    ("release_tasks", &["open_tasks_pkey"], &["open_tasks_holder"]),
    ("postpone_tasks", &["open_tasks_pkey"], &["open_tasks_holder"]),
    ("lock_token", &["open_tasks_pkey"], &["open_tasks_holder"]),
    ("lock_leaves", &["open_tasks_workflow"], &[]),
    ("cancel_tokens", &["open_tasks_workflow"], &[]),
    ("release_due", &["open_tasks_due", "open_tasks_pkey"], &[]),
    ("timed_out", &["open_tasks_due"], &[]),
    ("next_due", &["open_tasks_due", "workflows_overdue"], &[]),
    ("overdue_workflows", &["workflows_overdue"], &[]),
    ("peek_queues", &["open_tasks_claim"], &[]),
    ("claim_limited", &["open_tasks_pkey", "open_tasks_claim"], &["open_tasks_workflow"]),
    ("count_leases", &["open_tasks_holder"], &[]),
    ("heartbeat", &["sessions_pkey", "open_tasks_holder", "open_tasks_due"], &[]),
    ("look_at_sessions", &["open_tasks_holder"], &[]),
    ("release_holders", &["open_tasks_holder"], &[]),
    ("load_runs", &["workflows_pkey"], &[]),
    ("load_history", &["task_history_pkey", "workflows_pkey"], &[]),
    ("find_history", &["task_history_pkey"], &[]),
    ("find_started", &["workflows_pkey", "workflows_idempotency"], &[]),
    ("ended_workflows", &["workflows_pkey"], &[]),
    ("load_logs", &["task_logs_workflow"], &[]),
    ("due_schedules", &["workflows_pkey"], &[]),
];

/// What is not planned like this.
const NOT_BY_INDEX: &[&str] = &[
    "search_tasks",
    "search_workflows",
    "list_workflows",
    "list_queues",
    "count_ended",
    "count_in_tail",
    "ended_in_blocks",
    "doctor",
];

/// The big tables: none of them may be read whole.
const BIG: [&str; 4] = ["open_tasks", "workflows", "task_history", "task_logs"];

fn parameters(sql: &str) -> usize {
    (1..100).rev().find(|n| sql.contains(&format!("${n}::"))).unwrap_or(0)
}

async fn plan(client: &Client, name: &str, sql: &str) -> String {
    let nulls = vec!["NULL"; parameters(sql)].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    client.batch_execute(&format!("PREPARE s_{name} AS {sql}")).await.unwrap();
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE s_{name}{arguments}");
    let messages = client.simple_query(&explain).await.unwrap();
    let lines = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads of big tables by an index that take all of it, and not only its first entry.
fn reads_whole(plan: &str) -> Vec<&str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = plan.lines().collect();
    let of_big = |line: &str| BIG.iter().any(|table| line.contains(&format!(" on {table}")));
    let whole = lines.iter().enumerate().filter(|(n, line)| {
        let below = lines.iter().skip(n + 1).take_while(|other| depth(other) > depth(line));
        let mut details = below.take_while(|other| !other.contains("->"));
        let above = n.checked_sub(1).and_then(|n| lines.get(n));
        let first = above.is_some_and(|above| above.contains("Limit"));
        !first
            && line.contains("Index")
            && of_big(line)
            && !details.any(|own| own.contains("Index Cond:"))
    });
    whole.map(|(_, line)| *line).collect()
}

async fn check_plans(database: &TestDatabase, statistics: &str) {
    // A connection of its own: plans are made once per connection.
    let client = database.connect().await.unwrap();
    client.batch_execute(&planner()).await.unwrap();
    let all = statements(SCHEMA).unwrap();
    for (name, sql) in &all {
        if NOT_BY_INDEX.contains(name) || sql.starts_with("LOCK") || sql.contains("\nLOCK") {
            continue;
        }
        let plan = plan(&client, name, sql).await;
        let known = PLANS.iter().find(|(known, ..)| known == name);
        let (wanted, refused) = known.map_or((&[][..], &[][..]), |found| (found.1, found.2));
        for index in wanted {
            assert!(plan.contains(index), "{name} with {statistics}: not by {index}\n{plan}");
        }
        for index in refused {
            assert!(!plan.contains(index), "{name} with {statistics}: by {index}\n{plan}");
        }
        let whole = reads_whole(&plan);
        assert!(whole.is_empty(), "{name} with {statistics}: {whole:?} takes all\n{plan}");
    }
}

const FILL: &str = "
    INSERT INTO oms_engine.workflow_definitions (name, version, definition, task_definitions)
        SELECT 'd' || n, 1, '{}', '{}' FROM generate_series(1, 50) n;
    INSERT INTO oms_engine.sessions (name, engine_version) SELECT 's', 1 FROM generate_series(1, 5);
    INSERT INTO oms_engine.holders (session_id) SELECT 1 + n % 5 FROM generate_series(1, 20) n;
    INSERT INTO oms_engine.workflows
        (id, definition_id, name, version, input, status, idempotency_key, deadline)
        SELECT gen_random_uuid(), 1, 'd1', 1, '{}', n % 3, n::text, now() + interval '1 hour'
        FROM generate_series(1, 20000) n;
    INSERT INTO oms_engine.open_tasks
        (workflow_id, reference_name, queue, state, holder, due_at)
        SELECT id, 'r', 'q' || n % 10, n % 3, CASE WHEN n % 3 = 1 THEN 1 + n % 20 END,
            CASE WHEN n % 3 = 2 THEN now() + interval '1 hour' END
        FROM (SELECT id, row_number() OVER () AS n FROM oms_engine.workflows) w;
    INSERT INTO oms_engine.task_history
        (workflow_id, reference_name, attempt, status, seq, queue, poll_count, scheduled_at)
        SELECT id, 'r', a, 3, 1, 'q1', 1, now() FROM oms_engine.workflows, generate_series(0, 2) a;
    INSERT INTO oms_engine.task_logs (workflow_id, reference_name, epoch, attempt, line)
        SELECT id, 'r', 0, 0, 'x' FROM oms_engine.workflows";

#[tokio::test]
async fn hot_statements_go_by_their_indexes_whatever_the_statistics_say() {
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    check_plans(&database, "fresh statistics").await;
    client.batch_execute("ANALYZE").await.unwrap();
    check_plans(&database, "statistics of empty tables").await;
    client.batch_execute("VACUUM").await.unwrap();
    check_plans(&database, "tables vacuumed while they were empty").await;
    client.batch_execute(FILL).await.unwrap();
    check_plans(&database, "full tables and statistics of empty ones").await;
    client.batch_execute("ANALYZE").await.unwrap();
    check_plans(&database, "full statistics").await;
    // As in a quiet hour: all that is open is ready, and nothing is leased.
    client
        .batch_execute("UPDATE oms_engine.open_tasks SET state = 0, holder = NULL; ANALYZE")
        .await
        .unwrap();
    check_plans(&database, "statistics of nothing leased").await;
}
