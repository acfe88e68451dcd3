//! Full load while some other session holds a snapshot, so that nothing can be vacuumed away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oms_engine::{Engine, StartRequest};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::linear::{request, until_empty};
use super::tasks::{LAST_STEPS, Stamp, now_us, one_of, steps};
use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::measure::figures::{figure, of, quantile, value};
use crate::measure::linear::LINEAR5;
use crate::measure::place::{Database, connect};
use crate::measure::{Failure, Figures, check, float};

/// Runs under way.
const UNDER_WAY: usize = 4_000;
const CHUNK: usize = 500;
const PROBE_EACH: Duration = Duration::from_millis(100);

const RATE: &str = "workflows per second at the end";
const CLAIM: &str = "an urgent task waits, p99 at the end";
const RATE_AFTER: &str = "workflows per second after the release";
const CLAIM_AFTER: &str = "an urgent task waits, p99 after the release";

/// Held for two minutes, against the same load without.
pub(super) async fn held(bench: &Bench, turn: usize) -> Measured {
    let seconds = bench.size(8, 120);
    let (with, without) = bench
        .in_turn(
            turn,
            async |database| load(database, seconds, true).await,
            async |database| load(database, seconds, false).await,
        )
        .await?;
    let ratio = |name: &str| value(&with, name) / value(&without, name);
    let mut figures = vec![
        (figure("seconds held", "s"), float(seconds)),
        (figure("throughput at the end ÷ that without", ""), ratio(RATE)),
        (figure("wait of an urgent task at the end ÷ that without", ""), ratio(CLAIM)),
        (figure("throughput after the release ÷ that without", ""), ratio(RATE_AFTER)),
        (figure("wait of an urgent task after the release ÷ that without", ""), ratio(CLAIM_AFTER)),
    ];
    figures.extend(of("held", with));
    figures.extend(of("not held", without));
    Ok(figures)
}

/// Ends of runs, and waits of urgent ones, each with when it was.
struct Seen {
    ends: Vec<(Instant, usize)>,
    waits: Vec<(Instant, f64)>,
}

async fn load(database: &Database<'_>, seconds: usize, hold: bool) -> Measured {
    let engine = engine(database, |builder| steps(builder).task(Stamp).concurrency(2_000)).await?;
    register(&engine, &LINEAR5.definition()).await?;
    register(&engine, &one_of("stamp", "stamp")).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let feeding = tokio::spawn(feed(engine.clone(), stop.clone()));
    let watching = tokio::spawn(watch(engine.clone(), stop.clone()));
    let span = Duration::from_secs(u64::try_from(seconds)?);
    tokio::time::sleep(span / 8).await;
    let other = connect(database.url()).await?;
    if hold {
        let sql = "/* harness */ BEGIN ISOLATION LEVEL REPEATABLE READ;
                   SELECT count(*) FROM oms_engine.workflows WHERE false";
        other.batch_execute(sql).await?;
    }
    tokio::time::sleep(span).await;
    let released = Instant::now();
    if hold {
        other.batch_execute("/* harness */ COMMIT").await?;
    }
    tokio::time::sleep(span / 4 + span / 12).await;
    let over = Instant::now();
    stop.store(true, Ordering::Release);
    let runs = feeding.await??;
    let seen = watching.await??;
    until_empty(database).await?;
    engine.shutdown(GRACE).await;
    check::line(database.client(), LINEAR5, runs).await?;
    let mut figures = during(&seen, released - span / 4, released, (RATE, CLAIM));
    figures.extend(during(&seen, over - span / 12, over, (RATE_AFTER, CLAIM_AFTER)));
    Ok(figures)
}

/// Keeps so many under way, as well as the last steps tell.
async fn feed(engine: Engine, stop: Arc<AtomicBool>) -> Result<usize, Failure> {
    let before = LAST_STEPS.load(Ordering::Relaxed);
    let mut runs = 0;
    while !stop.load(Ordering::Acquire) {
        let ended = LAST_STEPS.load(Ordering::Relaxed) - before;
        if runs - ended.min(runs) + CHUNK > UNDER_WAY {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let requests = (runs..runs + CHUNK).map(|n| request(LINEAR5, n));
        engine.start_many(requests.collect()).await?;
        runs += CHUNK;
    }
    Ok(runs)
}

/// Looks how many have ended, and lets an urgent run wait for its turn.
async fn watch(engine: Engine, stop: Arc<AtomicBool>) -> Result<Seen, Failure> {
    let mut seen = Seen { ends: Vec::new(), waits: Vec::new() };
    let mut probes: Vec<JoinHandle<Result<(Instant, f64), Failure>>> = Vec::new();
    let mut tick = tokio::time::interval(PROBE_EACH);
    while !stop.load(Ordering::Acquire) {
        tick.tick().await;
        seen.ends.push((Instant::now(), LAST_STEPS.load(Ordering::Relaxed)));
        probes.push(tokio::spawn(urgent(engine.clone())));
    }
    for probe in probes {
        seen.waits.push(probe.await??);
    }
    Ok(seen)
}

async fn urgent(engine: Engine) -> Result<(Instant, f64), Failure> {
    let at = Instant::now();
    let request = StartRequest::new("stamp").input(json!({"at_us": now_us()})).priority(99);
    let started = engine.start(request).await?;
    let output = engine.result(started.id).await?;
    let waited = output.get("waited_us").and_then(Value::as_f64);
    Ok((at, waited.ok_or("a task that does not say when it began")? / 1e3))
}

fn during(seen: &Seen, from: Instant, to: Instant, names: (&str, &str)) -> Figures {
    let within = |at: &Instant| *at >= from && *at <= to;
    let ends: Vec<_> = seen.ends.iter().filter(|(at, _)| within(at)).collect();
    let rate = match (ends.first(), ends.last()) {
        (Some((first_at, first)), Some((last_at, last))) => {
            float(last - first) / last_at.duration_since(*first_at).as_secs_f64()
        }
        _ => f64::NAN,
    };
    let mut waits: Vec<f64> =
        seen.waits.iter().filter(|(at, _)| within(at)).map(|(_, millis)| *millis).collect();
    waits.sort_by(f64::total_cmp);
    vec![(figure(names.0, "/s"), rate), (figure(names.1, "ms"), quantile(&waits, 0.99))]
}
