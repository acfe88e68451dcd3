//! What is measured.

mod linear;
mod wide;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use oms_engine::{Engine, EngineBuilder, WorkflowDef};
use serde_json::Value;

use crate::Failure;
use crate::figures::Figure;
use crate::place::Database;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Database<'_>, bool) -> Measuring<'a>,
}

type Measured = Result<Vec<(Figure, f64)>, Failure>;
type Measuring<'a> = Pin<Box<dyn Future<Output = Measured> + 'a>>;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "linear5 drain",
        run: |database, quick| Box::pin(linear::drain(database, quick)),
    },
    Scenario {
        name: "linear5 steady",
        run: |database, quick| Box::pin(linear::steady(database, quick)),
    },
    Scenario {
        name: "idle latency",
        run: |database, quick| Box::pin(linear::latency(database, quick)),
    },
    Scenario { name: "fan-out", run: |database, quick| Box::pin(wide::fan_out(database, quick)) },
    Scenario { name: "loop", run: |database, quick| Box::pin(wide::items(database, quick)) },
    Scenario {
        name: "loop by script",
        run: |database, quick| Box::pin(wide::script(database, quick)),
    },
];

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

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}
