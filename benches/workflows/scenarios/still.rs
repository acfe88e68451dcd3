//! An engine that has nothing to do, and what it keeps in memory.

use std::time::Duration;

use oms_engine::{Engine, StartRequest};
use serde_json::{Value, json};

use super::linear::{start_all, until_empty};
use super::tasks::one_of;
use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::child::{Child, Job, Role};
use crate::measure::figures::figure;
use crate::measure::linear::LINEAR5;
use crate::measure::place::Database;
use crate::measure::{Failure, check, float, usage};

/// Definitions and timers that are there.
const DEFINITIONS: usize = 1_000;
const TIMERS: usize = 10_000;
/// Tasks that an engine runs at a time when nobody says how many.
const CONCURRENCY: usize = 256;

/// One engine alone, with many definitions and timers that are due later.
pub(super) async fn idle(bench: &Bench, _turn: usize) -> Measured {
    let database = bench.place.database().await?;
    prepare(&database).await?;
    let child = Child::spawn(&job(&database, 256)).await?;
    // Until what a start does is done.
    tokio::time::sleep(Duration::from_secs(if bench.quick { 2 } else { 10 })).await;
    let seconds = bench.size(10, 60);
    let process = child.id()?;
    let (transactions, cpu) = (bench.place.transactions(&database).await?, usage::cpu_of(process)?);
    tokio::time::sleep(Duration::from_secs(u64::try_from(seconds)?)).await;
    let transactions = bench.place.transactions(&database).await? - transactions;
    let cpu = usage::cpu_of(process)? - cpu;
    let memory = usage::memory_of(process)?;
    child.stop().await?;
    let open = count(&database, "due_at > now()").await?;
    if open != TIMERS {
        return Err(format!("{open} of {TIMERS} timers are there").into());
    }
    database.drop().await?;
    let a_minute = 60.0 / float(seconds);
    Ok(vec![
        (figure("transactions in pg_stat_database, in 60 s", ""), transactions * a_minute),
        (figure("CPU of the engine, in 60 s", "s"), cpu * a_minute),
        (figure("resident memory", "MiB"), memory),
    ])
}

fn job(database: &Database<'_>, concurrency: usize) -> Job {
    Job { url: database.url().to_owned(), role: Role::Works, concurrency }
}

async fn prepare(database: &Database<'_>) -> Result<(), Failure> {
    let engine = engine(database, |builder| builder).await?;
    for n in 0..DEFINITIONS {
        let mut definition = LINEAR5.definition();
        if let Some(name) = definition.get_mut("name") {
            *name = json!(format!("linear5-{n}"));
        }
        register(&engine, &definition).await?;
    }
    let definition = json!({"name": "later", "tasks": [
        {"name": "timer", "taskReferenceName": "timer", "type": "WAIT",
         "inputParameters": {"duration": "10 hours"}},
    ]});
    start_many(&engine, &definition, "later", TIMERS).await?;
    until(database, "due_at > now()", TIMERS).await?;
    engine.shutdown(GRACE).await;
    Ok(database.client().batch_execute("VACUUM ANALYZE").await?)
}

async fn start_many(
    engine: &Engine,
    definition: &Value,
    name: &str,
    runs: usize,
) -> Result<(), Failure> {
    register(engine, definition).await?;
    for chunk in (0..runs).collect::<Vec<_>>().chunks(1_000) {
        let requests = chunk.iter().map(|n| {
            StartRequest::new(name).input(json!({"data": format!("{n:-<190}"), "at_us": 0}))
        });
        engine.start_many(requests.collect()).await?;
    }
    Ok(())
}

async fn count(database: &Database<'_>, which: &str) -> Result<usize, Failure> {
    let sql = format!("/* harness */ SELECT count(*) FROM oms_engine.open_tasks WHERE {which}");
    let count: i64 = database.client().query_one(&sql, &[]).await?.get(0);
    Ok(usize::try_from(count)?)
}

/// Waits until there are so many such tasks.
async fn until(database: &Database<'_>, which: &str, wanted: usize) -> Result<(), Failure> {
    while count(database, which).await? < wanted {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Idle, and with ten thousand runs under way: each with its task in the process, and with as many tasks
/// in the process as an engine takes when nobody says how many.
pub(super) async fn in_flight(bench: &Bench, _turn: usize) -> Measured {
    let runs = bench.size(2_000, 10_000);
    let (idle, all) = with_runs(bench, runs, runs).await?;
    let (_, some) = with_runs(bench, runs, CONCURRENCY).await?;
    Ok(vec![
        (figure("resident, idle", "MiB"), idle),
        (
            figure(
                "resident more, per 10,000 workflows in flight, each with a task in the process",
                "MiB",
            ),
            all,
        ),
        (
            figure(
                format!(
                    "resident more, per 10,000 workflows in flight, {CONCURRENCY} tasks at a time"
                ),
                "MiB",
            ),
            some,
        ),
    ])
}

/// Out: resident when idle, and how much more with 10,000 runs under way.
async fn with_runs(bench: &Bench, runs: usize, concurrency: usize) -> Result<(f64, f64), Failure> {
    let database = bench.place.database().await?;
    let starter = engine(&database, |builder| builder).await?;
    let child = Child::spawn(&job(&database, concurrency)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = usage::memory_of(child.id()?)?;
    start_many(&starter, &one_of("waiting", "waits"), "waiting", runs).await?;
    until(&database, "state = 1", concurrency.min(runs)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let full = usage::memory_of(child.id()?)?;
    drop(child);
    starter.shutdown(GRACE).await;
    database.drop().await?;
    Ok((idle, (full - idle) * 10_000.0 / float(runs)))
}

/// After twenty minutes of load, against after ten.
pub(super) async fn in_time(bench: &Bench, _turn: usize) -> Measured {
    const PAUSE: Duration = Duration::from_millis(200);
    let minutes = Duration::from_secs(if bench.quick { 10 } else { 600 });
    let database = bench.place.database().await?;
    let starter = engine(&database, |builder| builder).await?;
    register(&starter, &LINEAR5.definition()).await?;
    let child = Child::spawn(&job(&database, 2_000)).await?;
    let (mut runs, mut resident) = (0, Vec::new());
    for _ in 0..2 {
        let until = tokio::time::Instant::now() + minutes;
        while tokio::time::Instant::now() < until {
            start_all(&starter, LINEAR5, 200).await?;
            runs += 200;
            tokio::time::sleep(PAUSE).await;
        }
        resident.push(usage::memory_of(child.id()?)?);
    }
    until_empty(&database).await?;
    child.stop().await?;
    starter.shutdown(GRACE).await;
    check::line(database.client(), LINEAR5, runs).await?;
    database.drop().await?;
    let [half, whole] = resident.as_slice() else { return Ok(Vec::new()) };
    Ok(vec![
        (figure("resident, half-way", "MiB"), *half),
        (figure("resident, at the end", "MiB"), *whole),
        (figure("at the end ÷ half-way", ""), whole / half),
        (figure("runs meanwhile", ""), float(runs)),
    ])
}
