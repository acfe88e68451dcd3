//! The linear five in tables that hold much already.

use std::time::{Duration, Instant};

use oms_engine::Retention;
use oms_engine::tokio_postgres::Client;

use super::linear::{drain_by, drain_engine};
use super::{Measured, linear};
use crate::bench::{Bench, Series};
use crate::limit;
use crate::measure::figures::{figure, of, value};
use crate::measure::linear::LINEAR5;
use crate::measure::place::Database;
use crate::measure::{Failure, float};

/// Tasks of each ended run.
const TASKS: usize = 5;
/// Runs in one statement: what sorting them takes stays small.
const FILLED_AT_ONCE: usize = 100_000;
const GONE: &str = "old runs removed";
/// They ended twice as long ago.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// With a million ended tasks in the tables, against empty ones.
pub(super) async fn full(bench: &Bench, turn: usize) -> Measured {
    against_empty(bench, turn, bench.size(50_000, 1_000_000)).await
}

/// With ten million.
pub(super) async fn huge(bench: &Bench, turn: usize) -> Measured {
    against_empty(bench, turn, bench.size(100_000, 10_000_000)).await
}

async fn against_empty(bench: &Bench, turn: usize, ended: usize) -> Measured {
    let runs = bench.size(2_000, 20_000);
    let (full, empty) = bench
        .in_turn(
            turn,
            async |database| {
                limit::migrate(database.client()).await?;
                fill(database.client(), ended / TASKS).await?;
                let mut figures = drain_engine(database, LINEAR5, runs).await?;
                figures.extend(taken(database.client()).await?);
                Ok(figures)
            },
            async |database| drain_engine(database, LINEAR5, runs).await,
        )
        .await?;
    let (full_rate, empty_rate) = (value(&full, linear::RATE), value(&empty, linear::RATE));
    bench.plot(Series::History, float(ended), full_rate);
    bench.plot(Series::History, 0.0, empty_rate);
    let mut figures = vec![
        (figure("ended tasks in the tables", ""), float(ended)),
        (figure("throughput ÷ that of empty tables", ""), full_rate / empty_rate),
    ];
    figures.extend(of("full", full));
    figures.extend(of("empty", empty));
    Ok(figures)
}

/// What ended runs take on disk, and how long it takes to vacuum what was added last.
async fn taken(client: &Client) -> Measured {
    let mut figures = Vec::new();
    for (table, each) in [("task_history", "ended task"), ("workflows", "run")] {
        let sql = format!(
            "/* harness */ SELECT pg_table_size(name)::float8 / rows,
                 pg_indexes_size(name)::float8 / rows
             FROM (SELECT 'oms_engine.{table}'::regclass AS name, count(*)::float8 AS rows
                   FROM oms_engine.{table}) AS kept"
        );
        let row = client.query_one(&sql, &[]).await?;
        figures.push((figure(format!("on disk per {each}, table"), "B"), row.get(0)));
        figures.push((figure(format!("on disk per {each}, indexes"), "B"), row.get(1)));
    }
    let begun = Instant::now();
    vacuum(client).await?;
    figures.push((figure("vacuum of what the runs added", "s"), begun.elapsed().as_secs_f64()));
    Ok(figures)
}

/// The same with fewer, for the plot.
pub(super) async fn sizes(bench: &Bench, _turn: usize) -> Measured {
    let runs = bench.size(2_000, 20_000);
    let steps = [0, 10_000, 100_000, 300_000, 1_000_000];
    let last = if bench.quick { 3 } else { steps.len() };
    let mut figures = Vec::new();
    for ended in steps.into_iter().take(last) {
        let done = bench.alone(async |database| {
            limit::migrate(database.client()).await?;
            fill(database.client(), ended / TASKS).await?;
            drain_engine(database, LINEAR5, runs).await
        });
        let rate = value(&done.await?, linear::RATE);
        bench.plot(Series::History, float(ended), rate);
        figures.push((figure(format!("workflows per second, {ended} ended tasks"), "/s"), rate));
    }
    Ok(figures)
}

/// While what ended long ago is removed, against the same load and tables without.
pub(super) async fn removed(bench: &Bench, turn: usize) -> Measured {
    let (runs, old) = (bench.size(2_000, 60_000), bench.size(10_000, 400_000));
    let load = async |database: &Database<'_>, keeps: bool| {
        limit::migrate(database.client()).await?;
        fill(database.client(), old).await?;
        let drained = drain_by(database, LINEAR5, runs, |builder| {
            if keeps { builder } else { builder.retention(Retention::of(KEPT)) }
        });
        let mut figures = drained.await?;
        let sql = "/* harness */ SELECT count(*) FROM oms_engine.workflows WHERE name = 'old'";
        let left: i64 = database.client().query_one(sql, &[]).await?.get(0);
        figures.push((figure(GONE, ""), float(old - usize::try_from(left)?)));
        Ok(figures)
    };
    let (removing, keeping) = bench
        .in_turn(
            turn,
            async |database| load(database, false).await,
            async |database| load(database, true).await,
        )
        .await?;
    let (rate, gone) = (value(&removing, linear::RATE), value(&removing, GONE));
    let mut figures = vec![
        (figure("throughput ÷ that without", ""), rate / value(&keeping, linear::RATE)),
        (figure("runs removed meanwhile, of those that may go", ""), gone / float(old)),
        (figure("runs removed per run that ended", ""), gone / float(runs)),
    ];
    figures.extend(of("removing", removing));
    figures.extend(of("not removing", keeping));
    Ok(figures)
}

/// Runs that ended before, with ids of their time, as large as those that follow.
async fn fill(client: &Client, runs: usize) -> Result<(), Failure> {
    for from in (0..runs).step_by(FILLED_AT_ONCE) {
        client.batch_execute(&filling(from, runs.min(from + FILLED_AT_ONCE))).await?;
    }
    client.batch_execute("ANALYZE oms_engine.workflows, oms_engine.task_history").await?;
    // So that a run that is measured does not meet the autovacuum of what was there before it.
    vacuum(client).await
}

async fn vacuum(client: &Client) -> Result<(), Failure> {
    for table in ["workflows", "task_history"] {
        client.batch_execute(&format!("VACUUM oms_engine.{table}")).await?;
    }
    Ok(())
}

fn filling(from: usize, to: usize) -> String {
    format!(
        "CREATE TEMPORARY TABLE old ON COMMIT PRESERVE ROWS AS
         SELECT n, (lpad(to_hex(1600000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
             || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
             jsonb_build_object('data', rpad('old' || n, 190, '-')) AS input
         FROM generate_series({from} + 1, {to}) AS n;
         INSERT INTO oms_engine.workflows
             (id, definition_id, name, version, status, input, output, created_at, ended_at)
         SELECT id, 1, 'old', 1, 2, input, jsonb_build_object('text', rpad('s5:old' || n, 36, '-')),
             statement_timestamp() - interval '2 days', statement_timestamp() - interval '2 days'
         FROM old ORDER BY n;
         INSERT INTO oms_engine.task_history
             (workflow_id, reference_name, attempt, status, seq, queue, poll_count, input, output,
              worker, scheduled_at, started_at)
         SELECT id, 's' || step, 0, 0, nextval('oms_engine.task_seqs'), 's' || step, 1, input,
             jsonb_build_object('text', rpad('s' || step || ':old' || n, 36, '-')), 'old',
             statement_timestamp(), statement_timestamp()
         FROM old, generate_series(1, {TASKS}) AS step ORDER BY n, step;
         DROP TABLE old"
    )
}
