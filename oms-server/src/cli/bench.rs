//! `oms bench`: many workflows and workers over HTTP, as clients do it, against a running server.
//!
//! Latency is what a client sees: from sending the start to the answer of the last task's update.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::Ended;
use super::client::{Client, Remote};
use super::failure::{Exit, Failure};
use super::out::Out;

const NAME: &str = "oms_bench";

#[derive(Args, Debug)]
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
    /// How many tasks a worker polls at once.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// How many clients start workflows.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    starters: u32,
    /// How many workflows may be under way at once; 1 measures the latency of an idle server.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// After how many seconds to give up, with 6.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
}

/// What starters and workers share.
struct Shared<'a> {
    options: &'a BenchOptions,
    client: &'a Client,
    state: Mutex<State>,
    changed: Condvar,
    started: AtomicUsize,
    stop: AtomicBool,
    begun: Instant,
    progress: ProgressBar,
}

#[derive(Default)]
struct State {
    under_way: usize,
    /// When a run was started that has not ended; or ended before its starter had its id.
    runs: HashMap<String, Mark>,
    latencies: Vec<Duration>,
    failure: Option<Failure>,
}

enum Mark {
    Started(Instant),
    Ended(Instant),
}

pub(super) fn run(options: &BenchOptions, out: Out) -> Ended {
    let client = options.remote.client()?;
    register(&client, options)?;
    let shared = Shared {
        options,
        client: &client,
        state: Mutex::default(),
        changed: Condvar::new(),
        started: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        begun: Instant::now(),
        progress: out.progress(u64::from(options.workflows), "workflows"),
    };
    let took = std::thread::scope(|scope| {
        for _ in 0..options.workers {
            scope.spawn(|| shared.note(shared.work()));
        }
        for _ in 0..options.starters {
            scope.spawn(|| shared.note(shared.start()));
        }
        shared.wait()
    });
    shared.progress.finish_and_clear();
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    report(options, state.latencies, took, out);
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

impl Shared<'_> {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The first failure ends it all.
    fn note(&self, done: Result<(), Failure>) {
        if let Err(failure) = done {
            self.state().failure.get_or_insert(failure);
            self.stop.store(true, Ordering::Relaxed);
        }
        self.changed.notify_all();
    }

    /// Until all runs have ended, something failed, or the time is up. Out: how long that took.
    fn wait(&self) -> Duration {
        let all = usize::try_from(self.options.workflows).unwrap_or(usize::MAX);
        let most = Duration::from_secs(self.options.timeout);
        let mut state = self.state();
        while state.latencies.len() < all && state.failure.is_none() {
            let Some(left) = most.checked_sub(self.begun.elapsed()) else {
                let done = state.latencies.len();
                let why = format!("{done} of {all} workflows had ended after {most:?}");
                state.failure = Some(Failure::new(Exit::Unreachable, why));
                break;
            };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let took = self.begun.elapsed();
        self.stop.store(true, Ordering::Relaxed);
        drop(state);
        self.changed.notify_all();
        took
    }

    fn start(&self) -> Result<(), Failure> {
        let all = usize::try_from(self.options.workflows).unwrap_or(usize::MAX);
        let most = usize::try_from(self.options.in_flight).unwrap_or(usize::MAX);
        loop {
            let n = self.started.fetch_add(1, Ordering::Relaxed);
            if n >= all {
                return Ok(());
            }
            let mut state = self.state();
            while state.under_way >= most && !self.is_over() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if self.is_over() {
                return Ok(());
            }
            state.under_way += 1;
            drop(state);
            let sent = Instant::now();
            let body = json!({ "name": name_of(self.options), "version": 1, "input": { "n": n } });
            let id = self.client.post("/api/workflow", &body)?.id();
            self.mark(id, Mark::Started(sent));
        }
    }

    /// A run is done when both its start and its end are known, in whatever order they come.
    fn mark(&self, id: String, mark: Mark) {
        let mut state = self.state();
        let other = state.runs.remove(&id);
        match (other, mark) {
            (Some(Mark::Started(from)), Mark::Ended(to))
            | (Some(Mark::Ended(to)), Mark::Started(from)) => {
                state.latencies.push(to.saturating_duration_since(from));
                state.under_way = state.under_way.saturating_sub(1);
                drop(state);
                self.progress.inc(1);
                self.changed.notify_all();
            }
            (_, mark) => {
                state.runs.insert(id, mark);
            }
        }
    }

    fn work(&self) -> Result<(), Failure> {
        let batch = self.options.batch;
        let path =
            format!("/api/tasks/poll/batch/{NAME}?workerid=oms-bench&count={batch}&timeout=1000");
        let mut held = VecDeque::new();
        while !self.is_over() {
            if let Value::Array(tasks) = self.client.get(&path)? {
                held.extend(tasks);
            }
            // What an update brings waits behind what is held, so that none is held for long.
            while let Some(task) = held.pop_front() {
                held.extend(self.update(&task)?);
            }
        }
        Ok(())
    }

    /// Out: the next task, if the answer brought one.
    fn update(&self, task: &Value) -> Result<Option<Value>, Failure> {
        let result = json!({
            "taskId": task.get("taskId"),
            "workflowInstanceId": task.get("workflowInstanceId"),
            "workerId": "oms-bench",
            "status": "COMPLETED",
            "outputData": { "n": task.pointer("/inputData/n") },
        });
        // What is under way when it is over is of no run of ours any more.
        let path = if self.is_over() { "/api/tasks" } else { "/api/tasks/update-v2" };
        let answered = self.client.post(path, &result)?;
        let last = format!("step_{}", self.options.steps);
        let is_last = task.get("referenceTaskName").and_then(Value::as_str) == Some(&last);
        let run = task.get("workflowInstanceId").and_then(Value::as_str).filter(|_| is_last);
        if let Some(run) = run {
            self.mark(run.to_owned(), Mark::Ended(Instant::now()));
        }
        if path == "/api/tasks" || answered.status == 204 {
            return Ok(None);
        }
        Ok(Some(answered.json()?).filter(Value::is_object))
    }
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
