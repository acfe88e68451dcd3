//! What is measured.

mod crash;
mod history;
mod linear;
mod orders;
mod peers;
mod processes;
mod snapshot;
mod start;
mod still;
pub(crate) mod tasks;
mod wide;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use oms_engine::{Engine, EngineBuilder, WorkflowDef};
use serde_json::Value;

use crate::bench::Bench;
use crate::measure::place::Database;
use crate::measure::{Failure, Figures};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Given the number of the turn, from 0.
    pub(crate) run: for<'a> fn(&'a Bench, usize) -> Measuring<'a>,
}

type Measured = Result<Figures, Failure>;
type Measuring<'a> = Pin<Box<dyn Future<Output = Measured> + 'a>>;

macro_rules! scenarios {
    ($($name:literal = $run:path),* $(,)?) => {
        pub(crate) const SCENARIOS: &[Scenario] =
            &[$(Scenario { name: $name, run: |bench, turn| Box::pin($run(bench, turn)) }),*];
    };
}

scenarios! {
    "linear5 drain" = linear::drain,
    "linear5 steady" = linear::steady,
    "idle latency" = linear::latency,
    "one-task drain" = linear::drain_one,
    "fan-out" = wide::fan_out,
    "loop" = wide::items,
    "loop by script" = wide::script,
    "start" = start::single,
    "start in bulk" = start::bulk,
    "enqueue to start" = start::enqueue,
    "peers" = peers::drain,
    "orders" = orders::single,
    "orders, batch" = orders::batch,
    "history" = history::full,
    "history of ten million" = history::huge,
    "history sizes" = history::sizes,
    "retention" = history::removed,
    "concurrency" = linear::concurrency,
    "processes" = processes::several,
    "crash" = crash::kills,
    "idle engine" = still::idle,
    "memory" = still::in_flight,
    "memory in time" = still::in_time,
    "long transaction" = snapshot::held,
}

async fn engine(
    database: &Database<'_>,
    tasks: impl FnOnce(EngineBuilder) -> EngineBuilder,
) -> Result<Engine, Failure> {
    Ok(tasks(Engine::builder(database.url()).migrate()).build().await?)
}

async fn register(engine: &Engine, definition: &Value) -> Result<(), Failure> {
    engine.register_workflow(&WorkflowDef::from_json(&definition.to_string())?).await?;
    Ok(())
}

/// How long the engine gets to stop; by then its runs have ended.
const GRACE: Duration = Duration::from_secs(10);
