//! The limit that PostgreSQL sets on this machine: the linear five in bare SQL, on the engine's own
//! tables, with no engine around it.
//!
//! `cargo bench --bench bare_sql` tries each number of connections with each size of batch and
//! reports the best; then it sends the six statements of a run one at a time. `--quick` makes it
//! short.

#![expect(clippy::print_stdout, reason = "prints figures")]

#[path = "limit/mod.rs"]
#[expect(dead_code, reason = "the harness uses more of it")]
mod limit;
#[path = "measure/mod.rs"]
#[expect(dead_code, reason = "the harness uses more of it")]
mod measure;

use std::process::ExitCode;

use measure::figures::{Report, percentiles, value};
use measure::linear::{LINEAR5, ONE};
use measure::place::{Database, Place};
use measure::{Failure, Figures, check, print_error};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What a task may cost PostgreSQL before the limit is no limit.
const CPU_PER_TASK_MAX_US: f64 = 55.0;

#[tokio::main]
async fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    match run(quick).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(quick: bool) -> Result<(), Failure> {
    let place = Place::open().await?;
    println!("{}\n", place.description().await?);
    let all = limit::sweep(&place, if quick { 2_000 } else { 20_000 }, |_| ()).await?;
    println!("linear5, all started at once: connections x batch, best first");
    for (shape, figures) in &all {
        println!(
            "  {} x {:<3} {:>8.0} tasks/s {:>7.0} workflows/s {:>5.0} B of WAL and {:>4.0} us of \
             PostgreSQL's CPU a task",
            shape.connections,
            shape.batch,
            value(figures, "tasks per second"),
            value(figures, "workflows per second"),
            value(figures, "WAL per task"),
            value(figures, "CPU of PostgreSQL, per task"),
        );
    }
    let Some((best, figures)) = all.into_iter().next() else { return Ok(()) };
    let cpu = value(&figures, "CPU of PostgreSQL, per task");
    if cpu > CPU_PER_TASK_MAX_US {
        println!("  more than {CPU_PER_TASK_MAX_US} us a task: this is not the limit yet");
    }
    let mut report = Report::default();
    add(&mut report, "linear5 drain", figures);
    let of = |quick_size, size| if quick { quick_size } else { size };
    let database = migrated(&place).await?;
    let drained = limit::drain(&database, ONE, of(5_000, 50_000), best).await?;
    add(&mut report, "one-task drain", drained);
    database.drop().await?;
    let database = migrated(&place).await?;
    let steady = limit::steady(&database, of(1_000, 20_000), 64, limit::CONNECTIONS_OF_FEW).await?;
    add(&mut report, "linear5 steady", steady);
    database.drop().await?;
    let database = migrated(&place).await?;
    add(&mut report, "idle latency", one_by_one(&database, of(100, 1_000)).await?);
    database.drop().await?;
    println!("{}", report.table());
    Ok(())
}

async fn migrated(place: &Place) -> Result<Database<'_>, Failure> {
    let database = place.database().await?;
    limit::migrate(database.client()).await?;
    Ok(database)
}

async fn one_by_one(database: &Database<'_>, runs: usize) -> Result<Figures, Failure> {
    let mut session = limit::OneByOne::open(database, LINEAR5).await?;
    let (mut starts, mut wholes) = (Vec::new(), Vec::new());
    for n in 0..runs {
        let took = session.run(n).await?;
        starts.push(took.start);
        wholes.push(took.whole);
    }
    check::line(database.client(), LINEAR5, runs).await?;
    let mut figures = percentiles("start to end", wholes);
    figures.extend(percentiles("start", starts));
    Ok(figures)
}

fn add(report: &mut Report, scenario: &'static str, figures: Figures) {
    for (figure, value) in figures {
        report.add(scenario, figure, vec![value]);
    }
}
