//! A transactional task acts once, however often it is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use oms_engine::{TaskContext, TaskError, TaskStatus, TransactionalBatchTask, WorkflowStatus};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use crate::wire::Harm;
use crate::world::{World, work_def, writes};

async fn acted(pool: &Pool) -> i64 {
    let client = pool.get().await.unwrap();
    client.query_one("SELECT count(*) FROM acted", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_repeated_answers_with_the_output_and_does_not_act() {
    let world = World::with(2, work_def(1)).await;
    let pool = world.pool().await;
    // The server never hears of the first attempts, and hands out others.
    world.wire.does(|asked| match asked.is_report() && asked.body.contains(".0.0.") {
        true => Harm::Answer(503, ""),
        false => Harm::None,
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let writes = writes(move |cx| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(json!({ "call": call, "attempt": cx.attempt() })) }.boxed()
    });
    let worker = world.worker().database(pool.clone()).transactional_task(writes);
    let worker = worker.start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.tasks);
    let attempts: Vec<_> =
        run.tasks.iter().map(|task| (task.status, task.output_data.clone())).collect();
    for (n, first) in [(0, 0), (1, 2)] {
        assert_eq!(attempts[first].0, TaskStatus::TimedOut);
        // What the first attempt gave.
        let given = json!({ "call": n, "attempt": 0 });
        assert_eq!(attempts[first + 1], (TaskStatus::Completed, given));
    }
    assert_eq!((calls.load(Ordering::SeqCst), acted(&pool).await), (2, 2));
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_deliveries_at_once_one_acts_and_both_answer_the_same() {
    let world = World::with(1, work_def(1)).await;
    let pool = world.pool().await;
    // Leases are not extended, so that a second delivery comes while the first is at work.
    world.wire.does(|asked| match asked.body.contains("extendLease") {
        true => Harm::Answer(503, ""),
        false => Harm::None,
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let writes = writes(move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            // It goes on when it is canceled, for a while.
            tokio::time::sleep(Duration::from_millis(1_700)).await;
            Ok(json!({ "call": call }))
        }
        .boxed()
    });
    let worker = world.worker().database(pool.clone()).transactional_task(writes);
    let worker = worker.start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.tasks);
    assert!(run.tasks.len() > 1, "there was one delivery alone");
    let last = run.tasks.last().unwrap();
    assert_eq!(last.output_data, json!({ "call": 0 }));
    assert_eq!((calls.load(Ordering::SeqCst), acted(&pool).await), (1, 1));
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_leaves_nothing_and_the_next_one_acts() {
    let world = World::new(1).await;
    let pool = world.pool().await;
    let writes = writes(|cx| {
        async move {
            match cx.attempt() {
                0 => Err(TaskError::retry("no")),
                1 => panic!("by mistake"),
                attempt => Ok(json!(attempt)),
            }
        }
        .boxed()
    });
    let worker = world.worker().database(pool.clone()).transactional_task(writes);
    let worker = worker.start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.task("work_0").unwrap().output_data, json!({ "result": 2 }));
    assert_eq!(acted(&pool).await, 1);
    worker.stop(Duration::from_secs(5)).await;
}

/// Its first three connections are ended by the server in the middle of the work.
struct Torn(AtomicUsize);

impl TransactionalBatchTask for Torn {
    const NAME: &'static str = "work";
    type Input = Value;
    type Output = usize;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Value)>,
    ) -> Result<Vec<Result<usize, TaskError>>, TaskError> {
        let sql = "INSERT INTO acted (idempotency_key) VALUES ($1)";
        tx.execute(sql, &[&tasks[0].0.idempotency_key()]).await?;
        let call = self.0.fetch_add(1, Ordering::SeqCst);
        if call < 3 {
            tx.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await?;
        }
        Ok(vec![Ok(call)])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_repeats_the_transaction_within_the_attempt() {
    let world = World::new(1).await;
    let pool = world.pool().await;
    let torn = Torn(AtomicUsize::new(0));
    let worker = world.worker().database(pool.clone()).transactional_batch_task(torn);
    let worker = worker.start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!((run.tasks.len(), &run.tasks[0].output_data), (1, &json!({ "result": 3 })));
    assert_eq!(acted(&pool).await, 1);
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_is_made_once_by_programs_that_come_together_and_old_rows_go() {
    let world = World::new(1).await;
    let urls = [world.database.url(), world.database.url(), world.database.url()];
    let made = urls.map(|url| {
        let pool = crate::world::pool_of(url);
        async move {
            let mut client = pool.get().await.unwrap();
            oms_conductor::migrate(&mut client).await
        }
    });
    for made in futures_util::future::join_all(made).await {
        made.unwrap();
    }
    let client = world.database.connect().await.unwrap();
    let rows = "INSERT INTO oms_conductor.inbox VALUES
        ('old', 'work', '{}', now() - interval '2 days'), ('new', 'work', '{}', now())";
    client.batch_execute(rows).await.unwrap();
    let day = Duration::from_secs(24 * 3_600);
    assert_eq!(oms_conductor::prune(&client, day).await.unwrap(), 1);
    let left = client.query_one("SELECT idempotency_key FROM oms_conductor.inbox", &[]).await;
    assert_eq!(left.unwrap().get::<_, &str>(0), "new");
    client.batch_execute("UPDATE oms_conductor.migrations SET version = 99").await.unwrap();
    let mut client = world.pool_client().await;
    let refused = oms_conductor::migrate(&mut client).await.unwrap_err();
    assert!(refused.to_string().contains("upgrade"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_for_other_migration_tools_makes_the_same() {
    let world = World::new(1).await;
    let client = world.database.connect().await.unwrap();
    client.batch_execute(&oms_conductor::migration_sql()).await.unwrap();
    // Nothing is left to do.
    let mut client = world.pool_client().await;
    oms_conductor::migrate(&mut client).await.unwrap();
}
