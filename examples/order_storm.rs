//! Five thousand orders for five hundred pieces, with cards that are declined, calls that time out,
//! customers who cancel, and workers that are killed; at the end the books are in balance.
//!
//! `cargo run --release --example order_storm -- --help` tells the options. It has a database of its own, on
//! the server of `DATABASE_URL` or on one for tests, which does without fsync.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "shows what happens")]

#[path = "order_storm/mod.rs"]
mod storm;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use storm::{Failure, Plan, Report};

/// Places many orders for few pieces, and kills those who do the work.
#[derive(Parser)]
struct Options {
    /// So many orders.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    orders: u32,
    /// For so many pieces of five articles; by default a tenth as many as orders.
    #[arg(long, value_parser = clap::value_parser!(u32).range(5..=10_000_000))]
    pieces: Option<u32>,
    /// Worker processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// What happens is drawn from it; printed, so that a storm can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// Gives up after so many seconds.
    #[arg(long, default_value_t = 900)]
    patience: u64,
    /// Prints one JSON object and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = if storm::is_worker() { storm::work().await.map(|()| true) } else { run().await };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Out: whether the books are in balance.
async fn run() -> Result<bool, Failure> {
    let options = Options::parse();
    let drawn = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) >> 16;
    let plan = Plan {
        orders: options.orders,
        pieces: options.pieces.unwrap_or_else(|| (options.orders / 10).max(5)) / 5 * 5,
        workers: options.workers.into(),
        seed: options.seed.unwrap_or(drawn),
        patience: Duration::from_secs(options.patience),
    };
    let bar = ProgressBar::new(plan.orders.into());
    let style = "{elapsed} {wide_bar} {pos} of {len} orders ended; {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    if !options.json {
        println!("{} orders for {} pieces, --seed {}", plan.orders, plan.pieces, plan.seed);
    }
    let worker = || Ok(Command::new(std::env::current_exe()?));
    let report = storm::rage(&plan, worker, |standing| {
        bar.set_position(u64::try_from(standing.ended()).unwrap_or(0));
        bar.set_message(format!(
            "{} completed, {} failed, {} cancelled, {} wait; {} kills",
            standing.completed,
            standing.failed,
            standing.cancelled,
            standing.waiting,
            standing.kills
        ));
    });
    let report = report.await?;
    bar.finish_and_clear();
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(report.balanced)
}

fn print(report: &Report) {
    let Report { orders, completed, failed, cancelled, kills, .. } = report;
    println!(
        "{orders} orders in {:.1} s, {:.0} a second; workers killed: {kills}",
        report.seconds, report.orders_per_second
    );
    println!("  completed {completed:>8}\n  failed    {failed:>8}\n  cancelled {cancelled:>8}");
    let Report { pieces, pieces_shipped, pieces_left, .. } = report;
    println!("pieces: {pieces} came in = {pieces_shipped} shipped + {pieces_left} left");
    let euro = |minor: i64| format!("{}.{:02} EUR", minor / 100, minor % 100);
    println!(
        "money:  {} set aside, {} taken, {} given back, {} kept",
        euro(report.authorised_minor),
        euro(report.captured_minor),
        euro(report.given_back_minor),
        euro(report.captured_minor - report.given_back_minor)
    );
    for finding in &report.findings {
        println!("  {finding}");
    }
    println!("the books are {}", if report.balanced { "in balance" } else { "NOT in balance" });
}
