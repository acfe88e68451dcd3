//! What the engine does in a second, and what that costs.
//!
//! `cargo bench --bench workflows -- --help` tells the options. Each scenario runs on a database of
//! its own; its tables are read afterwards, and a figure is printed only when they say that the
//! work was done.

#![expect(clippy::print_stdout, reason = "prints figures")]

mod bench;
mod child;
#[path = "../limit/mod.rs"]
mod limit;
#[path = "../measure/mod.rs"]
mod measure;
mod plot;
mod scenarios;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use bench::Bench;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use measure::figures::{Figure, Report};
use measure::place::Place;
use measure::{Failure, print_error};
use mimalloc::MiMalloc;
use scenarios::SCENARIOS;

/// That of `oms server`; for the engine, bare SQL and the peers alike.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures the engine on a PostgreSQL of its own, or on that of `DATABASE_URL`.
#[derive(Parser)]
struct Options {
    /// Only this scenario; may be given more than once.
    #[arg(long = "scenario", value_name = "NAME", value_parser = names())]
    scenarios: Vec<String>,
    /// Makes each scenario short.
    #[arg(long)]
    quick: bool,
    /// How often each scenario is run; its figures are the medians.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=25))]
    runs: Option<u8>,
    /// Prints one array of `{scenario, figure, value, unit}` and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Writes plots of what was measured into this folder.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Is a process beside the one that measures, which gives it this job.
    #[arg(long, hide = true)]
    child: Option<String>,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn names() -> clap::builder::PossibleValuesParser {
    SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().into()
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    if let Some(job) = &options.child {
        return child::run(job).await;
    }
    let runs = options.runs.unwrap_or(if options.quick { 1 } else { 5 });
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .filter(|s| options.scenarios.is_empty() || options.scenarios.iter().any(|n| n == s.name))
        .collect();
    let place = Place::open().await?;
    if !options.json {
        println!("{}", place.description().await?);
    }
    let bar = ProgressBar::new(u64::try_from(chosen.len())? * u64::from(runs));
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let bench = Bench::new(place, options.quick, bar);
    let mut report = Report::default();
    for scenario in chosen {
        let mut values: BTreeMap<(usize, Figure), Vec<f64>> = BTreeMap::new();
        for turn in 0..usize::from(runs) {
            bench.say(&format!("{}, {} of {runs}", scenario.name, turn + 1));
            let measured = (scenario.run)(&bench, turn).await;
            let measured = measured.inspect_err(|_| {
                bench.bar.suspend(|| print_error(&format!("{} failed", scenario.name).into()));
            })?;
            for (number, (figure, value)) in measured.into_iter().enumerate() {
                values.entry((number, figure)).or_default().push(value);
            }
            bench.bar.inc(1);
        }
        for ((_, figure), values) in values {
            report.add(scenario.name, figure, values);
        }
    }
    bench.bar.finish_and_clear();
    if let Some(folder) = &options.plots {
        plot::write(&bench, folder)?;
    }
    println!("{}", if options.json { report.json()? } else { report.table() });
    Ok(())
}
