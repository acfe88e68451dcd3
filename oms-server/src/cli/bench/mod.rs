//! `oms bench`: many workflows and workers over HTTP, as clients do it, against a running server.
//!
//! Latency is what a client sees: from sending the start to the answer of the last task's update.

mod drive;
mod wire;

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Ended;
use super::client::{Client, Remote};
use super::failure::{Exit, Failure};
use super::out::Out;
use drive::drive;
use wire::Target;

const NAME: &str = "oms_bench";

#[derive(Args, Clone, Debug)]
pub(super) struct BenchOptions {
    #[command(flatten)]
    remote: Remote,
    /// How many workflows to run.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    workflows: u32,
    /// How many tasks each has, one after the other.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    steps: u32,
    /// How many workers poll.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// How many tasks a worker has at once: it polls for as many as it has room for.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// How many clients start workflows.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    starters: u32,
    /// How many workflows may be under way at once; 1 measures the latency of an idle server.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// After how many seconds to give up, with 6.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
}

pub(super) fn run(options: &BenchOptions, out: Out) -> Ended {
    let client = options.remote.client()?;
    register(&client, options)?;
    let progress = out.progress(u64::from(options.workflows), "workflows");
    // One thread is enough for what one machine's server can do, and leaves the others to that.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed("cannot begin", error))?;
    let driven = runtime.block_on(drive(options.clone(), Target::new(client)?, progress.clone()));
    progress.finish_and_clear();
    let (latencies, took) = driven?;
    report(options, latencies, took, out);
    Ok(Exit::Done)
}

/// The definition has a name of its own for each number of steps.
fn name_of(options: &BenchOptions) -> String {
    format!("{NAME}_{}", options.steps)
}

fn register(client: &Client, options: &BenchOptions) -> Result<(), Failure> {
    let owner = "bench@example.com";
    let task = json!([{
        "name": NAME, "retryCount": 0, "ownerEmail": owner, "timeoutSeconds": 0,
        "responseTimeoutSeconds": 60,
    }]);
    client.post("/api/metadata/taskdefs", &task)?;
    let step = |n: u32| {
        json!({
            "name": NAME,
            "taskReferenceName": format!("step_{n}"),
            "type": "SIMPLE",
            "inputParameters": { "n": "${workflow.input.n}" },
        })
    };
    let def = json!({
        "name": name_of(options), "version": 1, "schemaVersion": 2, "ownerEmail": owner,
        "timeoutSeconds": 0, "timeoutPolicy": "ALERT_ONLY",
        "tasks": (1..=options.steps).map(step).collect::<Vec<_>>(),
    });
    client.post("/api/metadata/workflow?overwrite=true", &def)?;
    Ok(())
}

fn report(options: &BenchOptions, mut latencies: Vec<Duration>, took: Duration, out: Out) {
    latencies.sort_unstable();
    let millis = |at: f64| {
        let of = percentile(&latencies, at).as_secs_f64() * 1_000.0;
        (of * 1_000.0).round() / 1_000.0
    };
    let per_second = |count: f64| (count / took.as_secs_f64() * 10.0).round() / 10.0;
    let runs = f64::from(options.workflows);
    let shown = json!({
        "workflows": options.workflows,
        "steps": options.steps,
        "workers": options.workers,
        "batch": options.batch,
        "starters": options.starters,
        "inFlight": options.in_flight,
        "seconds": took.as_secs_f64(),
        "workflowsPerSecond": per_second(runs),
        "stepsPerSecond": per_second(runs * f64::from(options.steps)),
        "latencyMs": {
            "p50": millis(0.5), "p90": millis(0.9), "p99": millis(0.99), "max": millis(1.0),
        },
    });
    out.answer(&shown, |out| {
        out.field("workflows", &format!("{} of {} steps", options.workflows, options.steps));
        out.field("seconds", &format!("{:.2}", took.as_secs_f64()));
        out.field("workflows/s", &per_second(runs).to_string());
        out.field("steps/s", &per_second(runs * f64::from(options.steps)).to_string());
        for (name, at) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            out.field(&format!("latency {name}"), &format!("{} ms", millis(at)));
        }
    });
}

/// The least of sorted values that so large a share of all does not exceed.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = sorted.iter().enumerate().find(|(n, _)| {
        let upto = u32::try_from(n + 1).map_or(f64::MAX, f64::from);
        let all = u32::try_from(sorted.len()).map_or(f64::MAX, f64::from);
        upto / all >= share
    });
    place.map_or_else(|| sorted.last().copied().unwrap_or_default(), |(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        for (share, ms) in [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)] {
            assert_eq!(percentile(&sorted, share), Duration::from_millis(ms));
        }
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
        assert_eq!(percentile(&[Duration::from_secs(1)], 0.99), Duration::from_secs(1));
    }
}
