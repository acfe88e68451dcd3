//! How many tasks end, counted from the history.

use std::collections::BTreeMap;
use std::time::Duration;

use oms_engine::Engine;
use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::Client;

/// Rows of which four fill a block, so many; the last ended `newest` ago, each of the others
/// `apart` before the next.
async fn fill(client: &Client, rows: u32, newest: &str, apart: &str) {
    let sql = format!(
        "INSERT INTO oms_engine.task_history
             (workflow_id, reference_name, attempt, status, seq, queue, poll_count, output, scheduled_at, ended_at)
         SELECT gen_random_uuid(), 'r', 0, 0, n, CASE WHEN n % 4 = 0 THEN 'slow' ELSE 'quick' END, 1,
             (SELECT to_jsonb(string_agg(md5(n::text || m), '')) FROM generate_series(1, 55) m), now(),
             now() - interval '{newest}' - ({rows} - n) * interval '{apart}'
         FROM generate_series(1, {rows}) n"
    );
    client.batch_execute(&sql).await.unwrap();
    let blocks = "SELECT pg_relation_size('oms_engine.task_history') / 8192";
    let blocks: i64 = client.query_one(blocks, &[]).await.unwrap().get(0);
    assert!(blocks > 1_100, "{blocks}");
}

async fn counted(database: &TestDatabase) -> (Duration, BTreeMap<String, i64>) {
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let found = engine.throughput().await.unwrap();
    engine.shutdown(Duration::from_secs(5)).await;
    (found.over, found.ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_a_worker_had_are_counted_by_queue_and_nothing_else() {
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    let rows = "INSERT INTO oms_engine.task_history
            (workflow_id, reference_name, attempt, status, seq, queue, poll_count, scheduled_at, ended_at)
        VALUES ('00000000-0000-7000-8000-000000000001', 'a', 0, 0, 1, 'pay', 1, now(), now()),
            ('00000000-0000-7000-8000-000000000001', 'b', 0, 3, 2, 'pay', 2, now(), now() - interval '4 min'),
            ('00000000-0000-7000-8000-000000000001', 'c', 0, 0, 3, 'book', 1, now(), now()),
            ('00000000-0000-7000-8000-000000000001', 'old', 0, 0, 4, 'book', 1, now(), now() - interval '6 min'),
            ('00000000-0000-7000-8000-000000000001', 'join', 0, 0, 5, 'JOIN', 0, now(), now()),
            ('00000000-0000-7000-8000-000000000001', 'own', 0, 0, 6, '$system', 1, now(), now())";
    client.batch_execute(rows).await.unwrap();
    let (over, ended) = counted(&database).await;
    assert_eq!(over, Duration::from_secs(300));
    assert_eq!(ended, BTreeMap::from([("book".to_owned(), 1), ("pay".to_owned(), 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_much_ends_the_end_of_the_history_is_counted_over_the_time_in_which_it_grew() {
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    fill(&client, 8_000, "0 s", "10 ms").await;
    let (over, ended) = counted(&database).await;
    // 500 blocks of four, a hundred rows a second, and what has passed since they were written.
    assert!((19..60).contains(&over.as_secs()), "{over:?}");
    assert!((1_400..1_501).contains(&ended["quick"]), "{ended:?} in {over:?}");
    assert!((450..501).contains(&ended["slow"]), "{ended:?} in {over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_lately_is_found_in_room_that_removed_runs_left() {
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    fill(&client, 8_000, "1 h", "1 s").await;
    let removed = "DELETE FROM oms_engine.task_history WHERE seq < 2000";
    client.batch_execute(removed).await.unwrap();
    client.batch_execute("VACUUM ANALYZE oms_engine.task_history").await.unwrap();
    let added = "INSERT INTO oms_engine.task_history
            (workflow_id, reference_name, attempt, status, seq, queue, poll_count, scheduled_at)
        SELECT gen_random_uuid(), 'r', 0, 0, n, 'again', 1, now() FROM generate_series(1, 700) n";
    client.batch_execute(added).await.unwrap();
    let sql = "SELECT max(split_part(trim('(' FROM ctid::text), ',', 1)::int) FROM oms_engine.task_history
        WHERE queue = 'again'";
    let block: i32 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(block < 900, "{block}");
    let (over, ended) = counted(&database).await;
    assert_eq!(over, Duration::from_secs(300));
    assert_eq!(ended, BTreeMap::from([("again".to_owned(), 700)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_read_is_counted_over_a_shorter_time() {
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    fill(&client, 8_000, "1 h", "1 s").await;
    let removed = "DELETE FROM oms_engine.task_history WHERE seq < 7000";
    client.batch_execute(removed).await.unwrap();
    client.batch_execute("VACUUM ANALYZE oms_engine.task_history").await.unwrap();
    // Before the end of the table, which stays old.
    let added = "INSERT INTO oms_engine.task_history
            (workflow_id, reference_name, attempt, status, seq, queue, poll_count, scheduled_at, ended_at)
        SELECT gen_random_uuid(), 'r', 0, 0, n, 'again', 1, now(), now() - n * interval '2 ms'
        FROM generate_series(1, 60000) n";
    client.batch_execute(added).await.unwrap();
    let (over, ended) = counted(&database).await;
    assert_eq!(over, Duration::from_secs(20));
    assert!((1_000..10_001).contains(&ended["again"]), "{ended:?}");
}
