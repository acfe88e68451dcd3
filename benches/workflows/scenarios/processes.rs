//! The same work by one process, two and eight.

use super::linear::{self, start_all, until_empty};
use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::child::{Child, Job, Role};
use crate::measure::figures::{figure, of, value};
use crate::measure::linear::LINEAR5;
use crate::measure::place::Database;
use crate::measure::{Figures, check, float};

pub(super) async fn several(bench: &Bench, turn: usize) -> Measured {
    let runs = bench.size(2_000, 20_000);
    let mut order = vec![1, 2, 8];
    if !turn.is_multiple_of(2) {
        order.reverse();
    }
    let mut done: Vec<(usize, Figures)> = Vec::new();
    for count in order {
        let figures = bench.alone(async |database| work(database, runs, count).await).await?;
        done.push((count, figures));
    }
    done.sort_by_key(|(count, _)| *count);
    let rate = |wanted: usize| {
        let found = done.iter().find(|(count, _)| *count == wanted);
        found.map_or(f64::NAN, |(_, figures)| value(figures, linear::RATE))
    };
    let mut figures = vec![
        (figure("two ÷ one", ""), rate(2) / rate(1)),
        (figure("eight ÷ one", ""), rate(8) / rate(1)),
    ];
    for (count, of_count) in done {
        figures.extend(of(&format!("{count}"), of_count));
    }
    Ok(figures)
}

/// This process starts the runs and does no task.
async fn work(database: &Database<'_>, runs: usize, processes: usize) -> Measured {
    let engine = engine(database, |builder| builder).await?;
    register(&engine, &LINEAR5.definition()).await?;
    let mut children = Vec::new();
    for _ in 0..processes {
        let concurrency = 2_000 / processes;
        let job = Job { url: database.url().to_owned(), role: Role::Works, concurrency };
        children.push(Child::spawn(&job).await?);
    }
    let begun = database.begin().await?;
    start_all(&engine, LINEAR5, runs).await?;
    until_empty(database).await?;
    let used = database.used(&begun, float(runs * LINEAR5.steps.len())).await?;
    for child in children {
        child.stop().await?;
    }
    engine.shutdown(GRACE).await;
    check::line(database.client(), LINEAR5, runs).await?;
    let mut figures = vec![(figure(linear::RATE, "/s"), float(runs) / used.seconds)];
    figures.extend(used.figures());
    figures.extend(check::durations(database.client(), LINEAR5).await?);
    Ok(figures)
}
