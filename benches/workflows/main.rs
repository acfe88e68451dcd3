//! What the engine does in a second, and what that costs.
//!
//! `cargo bench --bench workflows -- --help` tells the options. Each scenario runs on a database of
//! its own; its tables are read afterwards, and a figure is printed only when they say that the
//! work was done.

#![expect(clippy::print_stdout, reason = "prints figures")]

mod check;
mod figures;
mod place;
mod scenarios;
mod usage;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use figures::{Figure, Report};
use indicatif::{ProgressBar, ProgressStyle};
use place::Place;
use scenarios::SCENARIOS;

type Failure = Box<dyn std::error::Error + Send + Sync>;

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
            print_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the error of a program")]
fn print_error(text: &str) {
    eprintln!("error: {text}");
}

async fn run(options: &Options) -> Result<(), Failure> {
    let runs = options.runs.unwrap_or(if options.quick { 1 } else { 3 });
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
    let mut report = Report::default();
    for scenario in chosen {
        let mut values: BTreeMap<(usize, Figure), Vec<f64>> = BTreeMap::new();
        for _ in 0..runs {
            bar.set_message(scenario.name);
            let database = place.database().await?;
            let measured = (scenario.run)(&database, options.quick).await;
            let measured = measured.map_err(|error| format!("{}: {error}", scenario.name))?;
            database.drop().await?;
            for (number, (figure, value)) in measured.into_iter().enumerate() {
                values.entry((number, figure)).or_default().push(value);
            }
            bar.inc(1);
        }
        for ((_, figure), values) in values {
            report.add(scenario.name, figure, values);
        }
    }
    bar.finish_and_clear();
    println!("{}", if options.json { report.json()? } else { report.table() });
    Ok(())
}
