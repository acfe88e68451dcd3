//! Shutdown, limits and fairness.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::script::{After, Gate, Notes, Work, told};
use crate::common::{assert_nothing_stuck, database, line, until, wait};
use oms_engine::definition::TimeoutPolicy;
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Error, StartRequest, TaskDef, WorkflowDef, WorkflowId, WorkflowStatus, WorkflowTask,
};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn gated(gate: &Gate) -> Work {
    let gate = gate.clone();
    Work::new(move |_, _| {
        let gate = gate.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    })
}

async fn start(engine: &Engine, name: &str) -> WorkflowId {
    engine.start(StartRequest::new(name)).await.unwrap().id
}

async fn nothing_stuck(database: &TestDatabase) {
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn shutdown_gives_leases_back_at_once_to_an_engine_that_is_there() {
    let database = database().await;
    let (first_gate, second_gate) = (Gate::new(), Gate::new());
    let first = told(&database).task(gated(&first_gate)).build().await.unwrap();
    first.register_workflow(&line("one", &["work"])).await.unwrap();
    let id = start(&first, "one").await;
    first_gate.entered().await;
    let second = told(&database).task(gated(&second_gate)).build().await.unwrap();
    let sessions = "SELECT count(*) = 2 FROM oms_engine.sessions";
    until(&database.connect().await.unwrap(), sessions).await;
    let begun = Instant::now();
    first.shutdown(Duration::ZERO).await;
    second_gate.entered().await;
    assert!(begun.elapsed() < SECOND, "handed over after {:?}", begun.elapsed());
    second_gate.open(1);
    let run = wait(&second, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 1));
    assert_eq!((run.tasks[0].retry_count, run.tasks[0].poll_count), (0, 2));
    nothing_stuck(&database).await;
}

#[tokio::test]
async fn shutdown_waits_for_running_tasks_within_the_grace_and_no_longer() {
    let database = database().await;
    let gate = Gate::new();
    let other = told(&database).build().await.unwrap();
    let engine = told(&database).task(gated(&gate)).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let id = start(&engine, "one").await;
    gate.entered().await;
    let stopping = engine.clone();
    let begun = Instant::now();
    let stopped = tokio::spawn(async move { stopping.shutdown(SECOND * 30).await });
    let refused = "SELECT true FROM oms_engine.open_tasks WHERE state = 1";
    until(&database.connect().await.unwrap(), refused).await;
    assert!(!stopped.is_finished());
    gate.open(1);
    stopped.await.unwrap();
    assert!(begun.elapsed() < SECOND * 5, "waited on for {:?}", begun.elapsed());
    assert_eq!(other.get(id).await.unwrap().status, WorkflowStatus::Completed);
}

#[tokio::test]
async fn shutdown_without_work_is_quick_and_a_second_one_does_nothing() {
    let database = database().await;
    let engine = told(&database).task(gated(&Gate::new())).build().await.unwrap();
    let begun = Instant::now();
    engine.shutdown(SECOND * 30).await;
    engine.shutdown(SECOND * 30).await;
    assert!(begun.elapsed() < SECOND * 5, "{:?}", begun.elapsed());
    let dead = "SELECT bool_and(dead_at IS NOT NULL) FROM oms_engine.sessions";
    until(&database.connect().await.unwrap(), dead).await;
}

#[tokio::test]
async fn every_call_after_shutdown_says_so_and_waiters_are_told() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    engine.register_workflow(&line("one", &["work"])).await.unwrap();
    let id = start(&engine, "one").await;
    let waiting = engine.clone();
    let waiting = tokio::spawn(async move { waiting.wait(id).await.map(drop) });
    tokio::task::yield_now().await;
    engine.shutdown(SECOND).await;
    let soon = SECOND * 10;
    let waited = tokio::time::timeout(soon, waiting).await.unwrap().unwrap();
    let done = [
        waited,
        engine.wait(id).await.map(drop),
        engine.get(id).await.map(drop),
        engine.start(StartRequest::new("one")).await.map(drop),
        engine.start_many(vec![StartRequest::new("one")]).await.map(drop),
        engine.terminate(id, "").await,
        engine.list(&Default::default()).await.map(drop),
        engine.register_workflow(&line("one", &["work"])).await.map(drop),
    ];
    for (n, done) in done.into_iter().enumerate() {
        assert!(matches!(done, Err(Error::Shutdown)), "{n}: {done:?}");
    }
}

/// How many run at once, and the most that ever did.
#[derive(Clone, Debug, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gauge {
    fn enter(&self) -> Inside {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Inside(self.now.clone())
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_limit_of_a_task_nor_that_of_all_is_passed() {
    let database = database().await;
    let (all, work, after) = (Gauge::default(), Gauge::default(), Gauge::default());
    let (in_all, in_work) = (all.clone(), work.clone());
    let work_body = Work::new(move |_, _| {
        let inside = (in_all.enter(), in_work.enter());
        async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            drop(inside);
            Ok(json!({}))
        }
    });
    let (in_all, in_after) = (all.clone(), after.clone());
    let after_body = After::new(move |_, _| {
        let inside = (in_all.enter(), in_after.enter());
        async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            drop(inside);
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(work_body).task(after_body);
    let engine = engine.concurrency(5).task_concurrency("work", 2).build().await.unwrap();
    engine.register_workflow(&line("def", &["work", "after", "work", "after"])).await.unwrap();
    let starts = (0..100).map(|_| StartRequest::new("def")).collect();
    for started in engine.start_many(starts).await.unwrap() {
        assert_eq!(wait(&engine, started.id).await.status, WorkflowStatus::Completed);
    }
    assert_eq!((work.most(), all.most() <= 5, after.most() <= 5), (2, true, true));
    assert!(all.most() > 2, "the slots were not used: {}", all.most());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_goes_on_after_its_time_out_keeps_its_slot() {
    let database = database().await;
    let gauge = Gauge::default();
    let counted = gauge.clone();
    let body = Work::new(move |cx, _| {
        let inside = counted.enter();
        async move {
            if cx.attempt() == 0 {
                // Deaf to its cancellation, and for longer than a future is left to end by itself.
                std::thread::sleep(Duration::from_millis(2_500));
            }
            drop(inside);
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(body).concurrency(1).build().await.unwrap();
    let policy = TaskDef::new("work").retry_count(1).retry_delay(Duration::ZERO);
    let policy = policy.response_timeout(SECOND).timeout(SECOND, TimeoutPolicy::Retry);
    let step = WorkflowTask::simple("work", "w").definition(policy);
    let def = WorkflowDef::builder("def").task(step).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    let run = wait(&engine, start(&engine, "def").await).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 2));
    assert_eq!(gauge.most(), 1);
}

#[tokio::test]
async fn a_task_that_blocks_the_user_s_runtime_keeps_its_lease() {
    let database = database().await;
    let notes = Notes::default();
    let (first, second) = (notes.clone(), notes.clone());
    let blocks = Work::new(move |_, _| {
        first.add("ran", "first");
        // The test's runtime has this one thread.
        std::thread::sleep(SECOND * 5);
        async { Ok(json!({"by": "first"})) }
    });
    let other = Work::new(move |_, _| {
        second.add("ran", "second");
        async { Ok(json!({"by": "second"})) }
    });
    let other_database = database.url().to_owned();
    let starter = told(&database).build().await.unwrap();
    starter.register_workflow(&line("one", &["work"])).await.unwrap();
    let engine = told(&database).task(blocks).build().await.unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let id = start(&starter, "one").await;
    let rival = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let builder = Engine::builder(&other_database).heartbeat(SECOND / 5, SECOND * 3);
        std::thread::sleep(SECOND);
        let rival = runtime.block_on(builder.poll_interval(SECOND).task(other).build()).unwrap();
        stopped.recv().unwrap();
        drop(rival);
    });
    let run = wait(&engine, id).await;
    stop.send(()).unwrap();
    rival.join().unwrap();
    assert_eq!((run.status, &run.output), (WorkflowStatus::Completed, &json!({"by": "first"})));
    assert_eq!(notes.of("ran"), ["first"]);
}

/// Forty steps of one run keep coming; two hundred short ones share its one slot.
#[tokio::test]
async fn one_long_chain_and_many_short_runs_share_a_slot_and_nothing_starves() {
    let database = database().await;
    let notes = Notes::default();
    let (long, short) = (notes.clone(), notes.clone());
    let work = Work::new(move |_, _| {
        long.add("order", "long");
        async {
            tokio::time::sleep(Duration::from_millis(25)).await;
            Ok(json!({}))
        }
    });
    let after = After::new(move |_, _| {
        short.add("order", "short");
        async { Ok(json!({})) }
    });
    let engine = told(&database).task(work).task(after).concurrency(1).build().await.unwrap();
    engine.register_workflow(&line("chain", &["work"; 120])).await.unwrap();
    engine.register_workflow(&line("short", &["after"])).await.unwrap();
    let chain = start(&engine, "chain").await;
    let starts = (0..200).map(|_| StartRequest::new("short")).collect();
    let started = engine.start_many(starts).await.unwrap();
    for one in started {
        assert_eq!(wait(&engine, one.id).await.status, WorkflowStatus::Completed);
    }
    let so_far = notes.of("order");
    let long = so_far.iter().filter(|name| *name == "long").count();
    assert!(long < 120, "the short runs had to wait for the whole chain");
    assert_eq!(wait(&engine, chain).await.status, WorkflowStatus::Completed);
    nothing_stuck(&database).await;
}
