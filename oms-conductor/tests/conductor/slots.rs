//! No more is asked for than can begin, and one task follows the other without a poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use oms_conductor::{Conductor, Error, Worker};
use oms_engine::WorkflowStatus;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::world::{World, until, work, writes};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_never_holds_more_tasks_than_it_has_slots() {
    const SLOTS: usize = 3;
    let world = World::new(1).await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(world.start().await);
    }
    let (gate, held) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opens, holds) = (gate.clone(), held.clone());
    let worker = world.worker().concurrency(SLOTS).task(work(move |_| {
        let (gate, held) = (gate.clone(), held.clone());
        async move {
            assert!(held.fetch_add(1, Ordering::SeqCst) < SLOTS, "more than it has slots");
            gate.acquire().await.unwrap().forget();
            held.fetch_sub(1, Ordering::SeqCst);
            Ok(json!({}))
        }
        .boxed()
    }));
    let worker = worker.start().unwrap();
    until("all slots are taken", async || holds.load(Ordering::SeqCst) == SLOTS).await;
    // Nothing is asked for while no slot is free: the server has all others.
    let leased = world.engine.queues().await.unwrap();
    assert_eq!(leased[0].leased, i64::try_from(SLOTS).unwrap(), "{leased:?}");
    let asked: usize =
        world.wire.seen(|asked| asked.is_poll()).iter().map(|p| p.number("count")).sum();
    opens.add_permits(12);
    for id in ids {
        let run = world.end_of(id).await;
        assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.tasks);
    }
    // One by one at first, then for the slots that are left.
    assert!(asked <= SLOTS + 1, "{asked} asked for");
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_brings_the_next_task_without_a_poll() {
    const STEPS: usize = 30;
    let world = World::new(STEPS).await;
    let worker = world.worker().task(work(|_| async { Ok(json!({})) }.boxed()));
    let worker = worker.concurrency(1).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let tasks = world.wire.seen(|asked| asked.path == "/api/tasks/update-v2").len();
    assert_eq!(tasks, STEPS);
    let polls = world.wire.seen(|asked| asked.is_poll()).len();
    assert!(polls < STEPS / 2, "{polls} polls");
    worker.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_when_it_is_made() {
    let conductor = Conductor::builder("http://127.0.0.1:1").build().unwrap();
    let worker = || Worker::builder(conductor.clone());
    let none = || work(|_| async { Ok(json!({})) }.boxed());
    let writes = writes(|_| async { Ok(json!({})) }.boxed());
    for (refused, why) in [
        (worker().start(), "without a task"),
        (worker().task(none()).concurrency(0).start(), "concurrency of 0"),
        (worker().task(none()).task_concurrency("walk", 1).start(), "\"walk\""),
        (worker().task(none()).poll_wait(Duration::from_secs(6)).start(), "poll_wait"),
        (worker().transactional_task(writes).start(), "WorkerBuilder::database"),
    ] {
        let Err(Error::Config(text)) = refused else { panic!("{why}: {refused:?}") };
        assert!(text.contains(why), "{text}");
    }
    for address in ["127.0.0.1:1", "ftp://a", "http://u:p@a", "http://a/?b"] {
        let refused = Conductor::builder(address).build().unwrap_err();
        assert!(refused.to_string().contains("no address"), "{refused}");
    }
}
