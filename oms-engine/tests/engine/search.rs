//! Searches: by which indexes they go, how far they count, and what they are stopped by.

use std::time::Duration;

use crate::common::{database, engine};
use oms_engine::testkit::{TestDatabase, planner, statements};
use oms_engine::tokio_postgres::SimpleQueryMessage;
use oms_engine::{
    Error, SortOrder, TaskSearch, TextQuery, WorkflowId, WorkflowSearch, WorkflowSort,
};

/// Ended runs, one a second, a tenth of them failed and a hundredth of a rare name, with two tasks
/// each.
const FILL: &str = "
    INSERT INTO oms_engine.workflows
        (id, definition_id, name, version, input, status, correlation_id, created_at, ended_at)
        SELECT md5(n::text)::uuid, 1, CASE WHEN n % 100 = 0 THEN 'rare' ELSE 'common' END, 1, '{}',
            CASE WHEN n % 10 = 0 THEN 3 ELSE 2 END, 'c' || n, at, at + interval '1 second'
        FROM (SELECT n, timestamptz '2026-01-01' + n * interval '1 second' AS at
              FROM generate_series(1, 30000) n) x;
    INSERT INTO oms_engine.task_history
        (workflow_id, reference_name, attempt, status, seq, queue, poll_count, scheduled_at,
            started_at, ended_at)
        SELECT id, 't' || s, 0, CASE WHEN status = 3 AND s = 1 THEN 3 ELSE 0 END,
            row_number() OVER (ORDER BY created_at, s), 'pay', 1, created_at, created_at, ended_at
        FROM oms_engine.workflows, generate_series(0, 1) s ORDER BY created_at, s;
    ANALYZE oms_engine.workflows; ANALYZE oms_engine.task_history; ANALYZE oms_engine.open_tasks";

async fn filled() -> TestDatabase {
    let database = database().await;
    database.connect().await.unwrap().batch_execute(FILL).await.unwrap();
    database
}

/// The plan of a search with these of its parameters; the others ask for nothing.
async fn plan(database: &TestDatabase, name: &str, given: &[(usize, &str)]) -> String {
    let client = database.connect().await.unwrap();
    let settings = "; SET plan_cache_mode = force_custom_plan; SET enable_seqscan = on; \
         SET enable_bitmapscan = on";
    client.batch_execute(&(planner() + settings)).await.unwrap();
    let all = statements("oms_engine").unwrap();
    let (_, sql) = all.iter().find(|(known, _)| *known == name).unwrap();
    let count = (1..100).rev().find(|n| sql.contains(&format!("${n}::"))).unwrap();
    let common: &[(usize, &str)] = match name {
        "search_workflows" => &[
            (14, "'-startTime'"),
            (15, "10100"),
            (16, "0"),
            (17, "100"),
            (18, "1"),
            (19, "false"),
            (20, "false"),
            (21, "false"),
        ],
        _ => &[(21, "'-scheduledTime'"), (22, "10100"), (23, "0"), (24, "100")],
    };
    let value = |n: usize| {
        let own = given.iter().chain(common).find(|(at, _)| *at == n);
        own.map_or("NULL", |(_, value)| value)
    };
    let values: Vec<&str> = (1..=count).map(value).collect();
    client.batch_execute(&format!("PREPARE s AS {sql}")).await.unwrap();
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE s({})", values.join(", "));
    let messages = client.simple_query(&explain).await.unwrap();
    let lines = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_search_goes_by_the_index_of_what_it_asks_for() {
    let database = filled().await;
    let id = "'{00000000-0000-0000-0000-000000000001}'";
    let workflows: [(&[(usize, &str)], &str); 8] = [
        (&[], "workflows_created"),
        (&[(1, id)], "workflows_pkey"),
        (&[(2, "'{rare}'")], "workflows_name"),
        (&[(4, "'{c7}'")], "workflows_correlation"),
        (&[(6, id)], "workflows_parent"),
        (&[(8, "'{4}'"), (20, "true")], "workflows_unwell"),
        (&[(8, "'{0}'"), (20, "true"), (21, "true")], "open_tasks"),
        (&[(8, "'{2}'"), (9, "'2026-01-01 08:00'")], "workflows_created"),
    ];
    for (given, index) in workflows {
        let plan = plan(&database, "search_workflows", given).await;
        assert!(plan.contains(index), "{given:?} not by {index}\n{plan}");
        assert!(!plan.contains("Seq Scan on workflows"), "{given:?}\n{plan}");
    }
    let recent = [(14, "'2026-01-01 08:19'"), (25, "'2026-01-01 08:19'")];
    let failed = [(8, "'{3}'"), (16, "'2026-01-01 08:00'"), (25, "'2026-01-01 08:00'")];
    let tasks: [(&[(usize, &str)], &str); 6] = [
        (&[(1, id)], "task_history_pkey"),
        (&[(2, id), (3, "'{t}'"), (4, "'{0}'"), (5, "'{0}'")], "task_history_pkey"),
        (&[(10, "'{c7}'")], "task_history_pkey"),
        (&[(8, "'{-1}'")], "open_tasks"),
        (&recent, "task_history_ended"),
        (&failed, "task_history_unsuccessful"),
    ];
    for (given, index) in tasks {
        let plan = plan(&database, "search_tasks", given).await;
        assert!(plan.contains(index), "{given:?} not by {index}\n{plan}");
        assert!(!plan.contains("Seq Scan on task_history"), "{given:?}\n{plan}");
    }
}

#[tokio::test]
async fn hits_are_counted_ten_thousand_behind_the_page_and_exactly_below_that() {
    let database = filled().await;
    let engine = engine(&database).build().await.unwrap();
    let mut search = WorkflowSearch::default();
    (search.start, search.size) = (5, 10);
    let found = engine.search(&search).await.unwrap();
    assert_eq!((found.total_hits, found.results.len()), (10_015, 10));
    search.name = Some(TextQuery::OneOf(vec!["rare".to_owned()]));
    search.sort = WorkflowSort::CorrelationId;
    search.order = SortOrder::Ascending;
    let found = engine.search(&search).await.unwrap();
    let ids: Vec<&str> =
        found.results.iter().filter_map(|run| run.summary.correlation_id.as_deref()).collect();
    assert_eq!((found.total_hits, &ids[..2]), (300, &["c10300", "c10400"][..]));
    assert_eq!(found.results[0].failed_reference_task_names, ["t1"]);
    search.start = 29_000;
    search.name = None;
    assert_eq!(engine.search(&search).await.unwrap().total_hits, 30_000);
    let mut tasks = TaskSearch::default();
    tasks.task_type = Some(TextQuery::Like("p*y".to_owned()));
    assert_eq!(engine.search_tasks(&tasks).await.unwrap().total_hits, 10_100);
    tasks.workflow_names = Some(vec!["rare".to_owned()]);
    assert_eq!(engine.search_tasks(&tasks).await.unwrap().total_hits, 600);
    search.size = 1_001;
    let refused = engine.search(&search).await.unwrap_err().to_string();
    assert_eq!(refused, "size refused: 1001 is more than 1000");
    search.size = 1;
    search.workflow_ids = Some(vec![WorkflowId::new(); 1_001]);
    let refused = engine.search(&search).await.unwrap_err().to_string();
    assert_eq!(refused, "workflow ids refused: has 1001 values, at most 1000");
}

#[tokio::test]
async fn a_search_whose_time_is_up_is_stopped_and_keeps_nobody_else() {
    let database = database().await;
    let engine = engine(&database).deadline(Duration::from_secs(4)).build().await.unwrap();
    let mut other = database.connect().await.unwrap();
    let tx = other.transaction().await.unwrap();
    // As if there were too much to read.
    tx.batch_execute("LOCK TABLE oms_engine.workflows").await.unwrap();
    let search = WorkflowSearch::default();
    let tasks = TaskSearch::default();
    let (one, another, next) =
        tokio::join!(engine.search(&search), engine.search_tasks(&tasks), engine.queue_sizes());
    for error in [one.unwrap_err(), another.unwrap_err()] {
        let text = error.to_string();
        assert!(matches!(error, Error::TooWide { .. }) && !error.is_retryable(), "{text}");
        assert!(text.starts_with("the search did not end within 2s: narrow it"), "{text}");
    }
    assert!(next.unwrap().is_empty());
    tx.rollback().await.unwrap();
    assert_eq!(engine.search(&search).await.unwrap().total_hits, 0);
}
