//! Limits of task definitions: exact, whatever engines claim; and nothing polls in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::script::{After, Gate, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, engine, line, until, wait};
use oms_engine::chrono::{DateTime, Utc};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, StartRequest, TaskContext, TaskDef, TaskError, TransactionalTask, WorkflowDef,
    WorkflowStatus,
};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

fn limited(name: &str, most: i32) -> TaskDef {
    let mut def = TaskDef::new(name);
    def.concurrent_exec_limit = Some(most);
    def
}

/// How many of a task run at this moment, and how many did at most.
#[derive(Clone, Default)]
struct Meter(Arc<(AtomicUsize, AtomicUsize)>);

impl Meter {
    async fn run(&self, time: Duration) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

fn worker(meter: &Meter, time: Duration) -> Work {
    let meter = meter.clone();
    Work::new(move |_cx, _input| {
        let meter = meter.clone();
        async move {
            meter.run(time).await;
            Ok(json!({}))
        }
    })
}

fn gated(gate: &Gate) -> Work {
    let gate = gate.clone();
    Work::new(move |_cx, _input| {
        let gate = gate.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    })
}

/// The most intervals of a task that lie over each other, by history.
const OVERLAP: &str = "
    SELECT coalesce(max(n), 0) FROM (
        SELECT count(*) AS n FROM oms_engine.task_history a JOIN oms_engine.task_history b
            ON b.queue = a.queue AND b.started_at <= a.started_at AND b.ended_at > a.started_at
        WHERE a.queue = 'work' GROUP BY a.workflow_id, a.reference_name) x";

/// The most hand-outs of a task in any window of so many seconds that begins with one of them.
const IN_WINDOW: &str = "
    SELECT coalesce(max(n), 0) FROM (
        SELECT count(*) AS n FROM oms_engine.task_history a JOIN oms_engine.task_history b
            ON b.queue = a.queue AND b.started_at >= a.started_at
                AND b.started_at < a.started_at + $1::float8 * interval '1 second'
        WHERE a.queue = 'work' GROUP BY a.workflow_id, a.reference_name) x";

async fn overlap(database: &TestDatabase) -> i64 {
    let client = database.connect().await.unwrap();
    client.query_one(OVERLAP, &[]).await.unwrap().get(0)
}

async fn start(engine: &Engine, name: &str, runs: usize) -> Vec<oms_engine::WorkflowId> {
    let requests = (0..runs).map(|_| StartRequest::new(name)).collect();
    engine.start_many(requests).await.unwrap().iter().map(|started| started.id).collect()
}

/// A fork of this many branches of `work`.
fn wide(name: &str, branches: usize) -> WorkflowDef {
    let tasks: Vec<Value> = (0..branches)
        .map(|n| json!({"name": "work", "taskReferenceName": format!("b{n}"), "type": "SIMPLE"}))
        .collect();
    let def = json!({"name": name, "tasks": [
        {"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN_DYNAMIC",
         "dynamicForkTasksParam": "tasks", "dynamicForkTasksInputParamName": "inputs",
         "inputParameters": {"tasks": tasks, "inputs": {}}},
        {"name": "join", "taskReferenceName": "join", "type": "JOIN"}]});
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

/// Both engines hand tasks over from one to the next when it is registered.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_limit_is_kept_by_all_engines_from_when_it_is_registered() {
    let database = database().await;
    let work = || worker(&Meter::default(), Duration::from_millis(2));
    let first = engine(&database).task(work()).build().await.unwrap();
    let second = engine(&database).task(work()).build().await.unwrap();
    first.register_workflow(&line("long", &["work"; 30])).await.unwrap();
    let mut ids = start(&first, "long", 6).await;
    ids.extend(start(&second, "long", 6).await);
    let client = database.connect().await.unwrap();
    until(&client, "SELECT count(*) > 40 FROM oms_engine.task_history").await;
    let registered = first.register_task(&limited("work", 1)).await.unwrap();
    assert!(registered.notices.is_empty(), "{registered:?}");
    let now = "SELECT clock_timestamp()";
    let since: DateTime<Utc> = client.query_one(now, &[]).await.unwrap().get(0);
    for id in ids {
        assert_eq!(wait(&second, id).await.status, WorkflowStatus::Completed);
    }
    let sql = "SELECT max(n), count(*) FROM (
        SELECT count(*) AS n FROM oms_engine.task_history a JOIN oms_engine.task_history b
            ON b.started_at <= a.started_at AND b.ended_at > a.started_at
        WHERE a.started_at > $1 GROUP BY a.workflow_id, a.reference_name) x";
    let row = client.query_one(sql, &[&since]).await.unwrap();
    let (most, tasks): (i64, i64) = (row.get(0), row.get(1));
    assert!(most == 1 && tasks > 50, "{most} at once, of {tasks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_engines_with_batches_never_pass_a_limit() {
    let database = database().await;
    let meter = Meter::default();
    let mut engines = Vec::new();
    for _ in 0..5 {
        let work = worker(&meter, Duration::from_millis(5));
        engines.push(engine(&database).task(work).build().await.unwrap());
    }
    let tasks = [limited("work", 3)];
    engines[0].register(&tasks, &[line("five", &["work"; 5]), wide("wide", 60)]).await.unwrap();
    let mut ids = start(&engines[1], "five", 60).await;
    ids.extend(start(&engines[2], "wide", 1).await);
    for engine in &engines {
        ids.push(engine.start(StartRequest::new("five")).await.unwrap().id);
    }
    for id in ids {
        assert_eq!(wait(&engines[3], id).await.status, WorkflowStatus::Completed);
    }
    assert_eq!(meter.most(), 3);
    assert_eq!(overlap(&database).await, 3);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_makes_room_without_a_poll_wherever_the_next_one_can_run() {
    let database = database().await;
    let gate = Gate::new();
    // The first has one slot: what becomes free beside it is the second's.
    let first = told(&database).task(gated(&gate)).concurrency(1).build().await.unwrap();
    let second = told(&database).task(gated(&gate)).build().await.unwrap();
    first.register(&[limited("work", 2)], &[line("one", &["work"])]).await.unwrap();
    let ids = start(&first, "one", 6).await;
    for _ in 0..2 {
        gate.entered().await;
    }
    for _ in 0..4 {
        gate.open(1);
        gate.entered().await;
    }
    gate.open(2);
    for id in ids {
        assert_eq!(wait(&second, id).await.status, WorkflowStatus::Completed);
    }
    assert_eq!(overlap(&database).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_run_s_task_makes_room_at_once() {
    let database = database().await;
    let gate = Gate::new();
    let inner = gate.clone();
    let work = Work::new(move |cx: TaskContext, _input| {
        let gate = inner.clone();
        async move {
            tokio::select! {
                () = gate.enter() => Ok(json!({})),
                () = cx.cancelled() => Err(TaskError::retry("canceled")),
            }
        }
    });
    let worker = told(&database).task(work).build().await.unwrap();
    let operator = told(&database).build().await.unwrap();
    worker.register(&[limited("work", 1)], &[line("one", &["work"])]).await.unwrap();
    let first = worker.start(StartRequest::new("one")).await.unwrap().id;
    gate.entered().await;
    let next = worker.start(StartRequest::new("one")).await.unwrap().id;
    operator.terminate(first, "no").await.unwrap();
    gate.entered().await;
    gate.open(2);
    assert_eq!(wait(&worker, next).await.status, WorkflowStatus::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_used_up_is_not_asked_for() {
    let database = database().await;
    let gate = Gate::new();
    let work = gated(&gate);
    let engine = told(&database).task(work).build().await.unwrap();
    engine.register(&[limited("work", 1)], &[line("one", &["work"])]).await.unwrap();
    let ids = start(&engine, "one", 300).await;
    gate.entered().await;
    let client = database.connect().await.unwrap();
    // Commits of the engine's: heartbeats, and what else there is.
    let count = || async {
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = count().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let commits = count().await - before;
    println!("{commits} transactions in four seconds of a limit that is used up");
    assert!(commits < 100, "{commits}");
    gate.open(300);
    for id in ids {
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_changes_holds_for_runs_that_are_under_way() {
    let database = database().await;
    let gate = Gate::new();
    let first = told(&database).task(gated(&gate)).build().await.unwrap();
    let second = told(&database).task(gated(&gate)).build().await.unwrap();
    // Without a limit at first: what runs then counts when there is one.
    first.register(&[TaskDef::new("work")], &[wide("wide", 12)]).await.unwrap();
    let id = first.start(StartRequest::new("wide")).await.unwrap().id;
    for _ in 0..12 {
        gate.entered().await;
    }
    let more = first.start(StartRequest::new("wide")).await.unwrap().id;
    for _ in 0..12 {
        gate.entered().await;
    }
    second.register_task(&limited("work", 4)).await.unwrap();
    let client = database.connect().await.unwrap();
    let queued = second.start(StartRequest::new("wide")).await.unwrap().id;
    let leased = |n: usize| {
        format!(
            "SELECT count(*) FILTER (WHERE state = 1) = {n} AND count(*) FILTER (WHERE state = 0) > 0
             FROM oms_engine.open_tasks WHERE queue = 'work'"
        )
    };
    until(&client, &leased(24)).await;
    gate.open(21);
    until(&client, &leased(4)).await;
    gate.entered().await;
    // More room is room at once.
    first.register_task(&limited("work", 6)).await.unwrap();
    for _ in 0..2 {
        gate.entered().await;
    }
    until(&client, &leased(6)).await;
    // And none is none.
    second.register_task(&TaskDef::new("work")).await.unwrap();
    for _ in 0..(12 - 3) {
        gate.entered().await;
    }
    gate.open(100);
    for id in [id, more, queued] {
        assert_eq!(wait(&first, id).await.status, WorkflowStatus::Completed);
    }
    let rows = client.query("SELECT FROM oms_engine.task_permits", &[]).await.unwrap();
    assert!(rows.is_empty(), "{}", rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_its_callback_leaves_room() {
    let database = database().await;
    let gate = Gate::new();
    let inner = gate.clone();
    let work = Work::new(move |_cx, input: Value| {
        let gate = inner.clone();
        async move {
            if input["from_start"] == json!("waits") {
                return Err(TaskError::in_progress(Duration::from_secs(3_600)));
            }
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(work).build().await.unwrap();
    engine.register(&[limited("work", 1)], &[line("one", &["work"])]).await.unwrap();
    let waits = StartRequest::new("one").input(json!({"value": "waits"}));
    let waits = engine.start(waits).await.unwrap().id;
    until_task(&engine, waits, "work_0", "SCHEDULED").await;
    let next = engine.start(StartRequest::new("one")).await.unwrap().id;
    gate.entered().await;
    gate.open(1);
    assert_eq!(wait(&engine, next).await.status, WorkflowStatus::Completed);
}

struct Store;

impl TransactionalTask for Store {
    const NAME: &'static str = "work";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        _input: Value,
    ) -> Result<Value, TaskError> {
        let n: i64 = tx
            .query_one("SELECT count(*) FROM oms_engine.open_tasks WHERE state = 1", &[])
            .await?
            .get(0);
        tx.execute("INSERT INTO seen SELECT $1", &[&n]).await?;
        Ok(json!({}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_tasks_count_and_are_not_handed_over() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    client.batch_execute("CREATE TABLE seen (n bigint)").await.unwrap();
    let engine = || told(&database).transactional_task(Store).build();
    let engines = [engine().await.unwrap(), engine().await.unwrap()];
    engines[0].register(&[limited("work", 2)], &[line("five", &["work"; 5])]).await.unwrap();
    for id in start(&engines[0], "five", 20).await {
        assert_eq!(wait(&engines[1], id).await.status, WorkflowStatus::Completed);
    }
    let row = client.query_one("SELECT max(n), count(*) FROM seen", &[]).await.unwrap();
    let (most, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(most <= 2, "{most}");
    assert_eq!(all, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_window_sees_more_hand_outs_than_the_rate_allows() {
    let database = database().await;
    let mut engines = Vec::new();
    for _ in 0..3 {
        let work = worker(&Meter::default(), Duration::ZERO);
        engines.push(told(&database).task(work).build().await.unwrap());
    }
    let mut def = TaskDef::new("work");
    def.rate_limit_per_frequency = 7;
    def.rate_limit_frequency_in_seconds = 1;
    engines[0].register(&[def], &[line("two", &["work"; 2])]).await.unwrap();
    let begun = std::time::Instant::now();
    for id in start(&engines[1], "two", 18).await {
        assert_eq!(wait(&engines[2], id).await.status, WorkflowStatus::Completed);
    }
    let took = begun.elapsed();
    let client = database.connect().await.unwrap();
    let most: i64 = client.query_one(IN_WINDOW, &[&1.0_f64]).await.unwrap().get(0);
    println!("36 tasks at 7 a second in {took:?}, {most} in a window at most");
    assert_eq!(most, 7);
    // Five windows pass; a slow poll would take a minute each.
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
    let kept: i64 =
        client.query_one("SELECT count(*) FROM oms_engine.rate_steps", &[]).await.unwrap().get(0);
    assert!(kept <= 101, "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tasks_pass_a_limited_one_by_the_hand_over() {
    let database = database().await;
    let gate = Gate::new();
    let work = gated(&gate);
    let after = After::new(|_cx, _input| async { Ok(json!({})) });
    let engine = told(&database).task(work).task(after).build().await.unwrap();
    let workflows = [line("held", &["work"]), line("free", &["after", "after", "after"])];
    engine.register(&[limited("work", 1)], &workflows).await.unwrap();
    let held = start(&engine, "held", 20).await;
    gate.entered().await;
    for id in start(&engine, "free", 100).await {
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    }
    gate.open(20);
    for id in held {
        assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    }
}
