//! Up to eight engines, with different tasks, that come, go, hang and are killed under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Client;
use oms_engine::{Engine, StartRequest};
use serde_json::json;

use crate::common::{assert_nothing_stuck, database, line, until};
use crate::wait_until;
use crate::witness::Witness;
use crate::worker::{EFFECTS, Launch, Worker};

const ENGINES: usize = 8;
const RUNS: usize = 40;
/// What a task takes.
const TASK_MS: u64 = 30;

/// Puts as much into the queues as all engines can do in a second or two.
async fn load(engine: &Engine) {
    let request = || StartRequest::new("mixed").input(json!({"value": TASK_MS}));
    engine.start_many((0..RUNS).map(|_| request()).collect()).await.unwrap();
}

/// How long it takes until each of them has run a task.
fn until_all_work(witness: &Witness, workers: &[&Worker]) -> Duration {
    let (begun, seen) = (Instant::now(), witness.lines().len());
    let all: BTreeSet<u32> = workers.iter().map(|worker| worker.id()).collect();
    wait_until("all engines work", || {
        let lines = witness.lines();
        let working: BTreeSet<u32> = lines[seen..].iter().map(|seen| seen.process).collect();
        all.is_subset(&working)
    });
    begun.elapsed()
}

/// Each attempt ended once, with its effect; what ran again was on an engine that was killed or
/// hung.
async fn check(client: &Client, witness: &Witness, runs: usize, held: usize) {
    let done = format!("SELECT count(*) = {runs} FROM oms_engine.workflows WHERE status = 2");
    until(client, &done).await;
    let sql = "SELECT count(*), count(*) FILTER (WHERE status = 0),
            count(*) FILTER (WHERE queue = 'book'), (SELECT count(*) FROM public.effects),
            (SELECT count(DISTINCT task_id) FROM public.effects)
        FROM oms_engine.task_history";
    let row = client.query_one(sql, &[]).await.unwrap();
    let numbers: Vec<i64> = (0..5).map(|at| row.get(at)).collect();
    let runs = i64::try_from(runs).unwrap();
    assert_eq!(numbers, [3 * runs, 3 * runs, runs, runs, runs]);
    let counts = witness.counts();
    let again = counts.values().filter(|times| **times > 1).count();
    println!("{again} of {} tasks ran again; those that fell held {held}", counts.len());
    assert!(again <= held, "{again} tasks ran again, of {held} that were held");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_join_leave_hang_and_die_under_load_and_nothing_is_lost() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(EFFECTS).await.unwrap();
    let starter = Engine::builder(database.url()).build().await.unwrap();
    starter.register_workflow(&line("mixed", &["work", "book", "work"])).await.unwrap();
    let concurrency = 8;
    let launch = || Launch::new(database.url(), &witness).concurrency(concurrency);

    // They join one by one, every other with a part of the tasks only.
    let (mut workers, mut runs, mut spreads) = (Vec::new(), 0, Vec::new());
    for n in 0..ENGINES {
        load(&starter).await;
        runs += RUNS;
        let launch = if n % 2 == 0 { launch() } else { launch().work_alone() };
        workers.push(launch.start());
        if [2, 4, 8].contains(&workers.len()) {
            load(&starter).await;
            runs += RUNS;
            let took = until_all_work(&witness, &workers.iter().collect::<Vec<_>>());
            spreads.push((workers.len(), took));
        }
    }
    println!("until each engine had run a task: {spreads:?}");

    // One hangs: the others work on.
    let hung = workers.remove(0);
    hung.signal("-STOP");
    load(&starter).await;
    runs += RUNS;
    let took = until_all_work(&witness, &workers.iter().collect::<Vec<_>>());
    println!("with one of {ENGINES} hanging, until each other had run a task: {took:?}");
    spreads.push((ENGINES - 1, took));
    hung.signal("-CONT");
    workers.push(hung);

    // They leave: every other is killed, the rest are asked to.
    let mut held = concurrency;
    for n in 0..ENGINES - 1 {
        load(&starter).await;
        runs += RUNS;
        // One that has all tasks stays.
        let worker = workers.remove(0);
        if n % 2 == 0 {
            worker.kill();
            held += concurrency;
        } else {
            worker.shut_down();
        }
    }
    check(&client, &witness, runs, held).await;
    drop(workers);
    assert_nothing_stuck(&client).await;
    // The goal is a second; a busy machine gets more.
    let late = spreads.iter().filter(|(_, took)| *took > Duration::from_secs(4)).count();
    assert_eq!(late, 0, "{spreads:?}");
}
