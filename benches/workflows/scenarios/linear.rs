//! The linear five and the linear one, beside bare SQL.

use std::time::{Duration, Instant};

use oms_engine::{Engine, EngineBuilder, StartRequest, WorkflowId};
use tokio::task::JoinSet;

use super::{GRACE, Measured, engine, register, tasks};
use crate::bench::{Bench, Series};
use crate::limit::{self, OneByOne};
use crate::measure::figures::{figure, of, percentiles, value};
use crate::measure::linear::{LINEAR5, Line, ONE, input};
use crate::measure::place::{Begun, Database};
use crate::measure::{Failure, Figures, check, float};

pub(super) const RATE: &str = "workflows per second";

pub(super) fn request(line: Line, n: usize) -> StartRequest {
    StartRequest::new(line.name).input(input(n))
}

/// Five tasks each, all started at once.
pub(super) async fn drain(bench: &Bench, turn: usize) -> Measured {
    drain_beside(bench, turn, LINEAR5, bench.size(2_000, 20_000)).await
}

/// One task each, all started at once.
pub(super) async fn drain_one(bench: &Bench, turn: usize) -> Measured {
    drain_beside(bench, turn, ONE, bench.size(5_000, 50_000)).await
}

async fn drain_beside(bench: &Bench, turn: usize, line: Line, runs: usize) -> Measured {
    let shape = bench.shape().await?;
    let (ours, theirs) = bench
        .in_turn(
            turn,
            async |database| drain_engine(database, line, runs).await,
            async |database| {
                limit::migrate(database.client()).await?;
                limit::drain(database, line, runs, shape).await
            },
        )
        .await?;
    Ok(beside(ours, theirs))
}

/// The figures of both, with what one reaches of the other.
pub(super) fn beside(ours: Figures, theirs: Figures) -> Figures {
    let ratio = value(&ours, RATE) / value(&theirs, RATE);
    let mut figures = vec![(figure("engine ÷ bare SQL", ""), ratio)];
    figures.extend(ours);
    figures.extend(of("bare SQL", theirs));
    figures
}

/// The time runs from the first start to the commit of the last end, which the tables are asked
/// for.
pub(super) async fn drain_engine(database: &Database<'_>, line: Line, runs: usize) -> Measured {
    drain_by(database, line, runs, |builder| builder).await
}

/// Connections that write steps: while one waits for its commit the others have work.
const PUMPS: usize = 4;

/// The same by an engine with more settings.
pub(super) async fn drain_by(
    database: &Database<'_>,
    line: Line,
    runs: usize,
    set: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> Measured {
    let all_at_once = |builder| tasks::steps(builder).concurrency(2_000).pumps(PUMPS);
    let engine = engine(database, |builder| set(all_at_once(builder))).await?;
    register(&engine, &line.definition()).await?;
    let begun = database.begin().await?;
    start_all(&engine, line, runs).await?;
    until_empty(database).await?;
    finish(database, &engine, &begun, (line, runs, 0)).await
}

pub(super) async fn start_all(engine: &Engine, line: Line, runs: usize) -> Result<(), Failure> {
    for chunk in (0..runs).collect::<Vec<_>>().chunks(1_000) {
        engine.start_many(chunk.iter().map(|n| request(line, *n)).collect()).await?;
    }
    Ok(())
}

/// Waits until no task is open. It looks once in each hundredth of the time that it has taken so
/// far, from the newest task on: to look means to pass what is dead in the table, which would count as the
/// engine's work.
pub(super) async fn until_empty(database: &Database<'_>) -> Result<(), Failure> {
    let open = "/* harness */ SELECT id FROM oms_engine.open_tasks ORDER BY id DESC LIMIT 1";
    let open = database.client().prepare(open).await?;
    let begun = Instant::now();
    while database.client().query_opt(&open, &[]).await?.is_some() {
        tokio::time::sleep((begun.elapsed() / 100).max(Duration::from_millis(2))).await;
    }
    Ok(())
}

const AT_ONCE: usize = 64;

/// So many are under way at any time.
pub(super) async fn steady(bench: &Bench, turn: usize) -> Measured {
    let runs = bench.size(1_000, 20_000);
    let (ours, theirs) = bench
        .in_turn(
            turn,
            async |database| steady_engine(database, runs, AT_ONCE).await,
            async |database| {
                limit::migrate(database.client()).await?;
                limit::steady(database, runs, AT_ONCE, limit::CONNECTIONS_OF_FEW).await
            },
        )
        .await?;
    Ok(beside(ours, theirs))
}

/// Each run is started by a call of its own.
pub(super) async fn steady_engine(
    database: &Database<'_>,
    runs: usize,
    at_once: usize,
) -> Measured {
    let line = LINEAR5;
    let engine = engine(database, |builder| tasks::steps(builder).concurrency(2_000)).await?;
    register(&engine, &line.definition()).await?;
    all_ended(&engine, start_some(&engine, at_once).await?).await?;
    let begun = database.begin().await?;
    let mut under_way = JoinSet::new();
    for n in 0..runs {
        if under_way.len() == at_once
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        let engine = engine.clone();
        under_way.spawn(async move {
            let started = engine.start(request(line, n)).await?;
            engine.result(started.id).await.map(|_| ())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    finish(database, &engine, &begun, (line, runs, at_once)).await
}

/// The same with fewer and more at a time, for the plot.
pub(super) async fn concurrency(bench: &Bench, _turn: usize) -> Measured {
    let mut figures = Vec::new();
    for at_once in [1, 4, 16, 64, 256, 1_024] {
        let runs = at_once * bench.size(5, 50) + bench.size(50, 500);
        let done = bench.alone(async |database| steady_engine(database, runs, at_once).await);
        let rate = value(&done.await?, RATE);
        bench.plot(Series::Concurrency, float(at_once), rate);
        figures.push((figure(format!("workflows per second, {at_once} at a time"), "/s"), rate));
    }
    Ok(figures)
}

async fn all_ended(engine: &Engine, ids: Vec<WorkflowId>) -> Result<(), Failure> {
    let mut waiting = JoinSet::new();
    for id in ids {
        let engine = engine.clone();
        waiting.spawn(async move { engine.result(id).await.map(|_| ()) });
    }
    while let Some(ended) = waiting.join_next().await {
        ended??;
    }
    Ok(())
}

/// One at a time, from the start call until its end is known to who waits; between two, one of bare
/// SQL.
pub(super) async fn latency(bench: &Bench, _turn: usize) -> Measured {
    let (runs, warm) = (bench.size(100, 1_000), bench.size(20, 50));
    let database = bench.place.database().await?;
    let beside = bench.place.database().await?;
    limit::migrate(beside.client()).await?;
    let engine = engine(&database, tasks::steps).await?;
    register(&engine, &LINEAR5.definition()).await?;
    let mut bare = OneByOne::open(&beside, LINEAR5).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..runs + warm {
        let at = Instant::now();
        let started = engine.start(request(LINEAR5, n)).await?;
        engine.result(started.id).await?;
        let took = at.elapsed().as_secs_f64() * 1e3;
        let took_bare = bare.run(n).await?;
        if n >= warm {
            ours.push(took);
            theirs.push(took_bare.whole);
        }
    }
    engine.shutdown(GRACE).await;
    check::line(database.client(), LINEAR5, runs + warm).await?;
    check::line(beside.client(), LINEAR5, runs + warm).await?;
    database.drop().await?;
    beside.drop().await?;
    let ours = percentiles("start to end", ours);
    let theirs = percentiles("start to end", theirs);
    let ratio = |name: &str| value(&ours, name) / value(&theirs, name);
    let mut figures = vec![
        (figure("engine ÷ bare SQL, p50", ""), ratio("start to end, p50")),
        (figure("engine ÷ bare SQL, p95", ""), ratio("start to end, p95")),
    ];
    figures.extend(ours);
    figures.extend(of("bare SQL", theirs));
    Ok(figures)
}

async fn start_some(engine: &Engine, n: usize) -> Result<Vec<WorkflowId>, Failure> {
    let started = engine.start_many((0..n).map(|n| request(LINEAR5, n)).collect()).await?;
    Ok(started.into_iter().map(|started| started.id).collect())
}

/// The figures of so many runs, and the check of these and of those that were before.
async fn finish(
    database: &Database<'_>,
    engine: &Engine,
    begun: &Begun,
    (line, runs, warm): (Line, usize, usize),
) -> Measured {
    let used = database.used(begun, float(runs * line.steps.len())).await?;
    let mut figures = vec![(figure(RATE, "/s"), float(runs) / used.seconds)];
    if let Some(cpu) = used.cpu_per_task() {
        let millis = cpu * float(line.steps.len()) / 1e3;
        figures.push((figure("CPU of engine and PostgreSQL, per workflow", "ms"), millis));
    }
    figures.extend(used.figures());
    figures.extend(check::durations(database.client(), line).await?);
    engine.shutdown(GRACE).await;
    check::line(database.client(), line, runs + warm).await?;
    Ok(figures)
}
