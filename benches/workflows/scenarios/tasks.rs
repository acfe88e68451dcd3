//! The workers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use oms_engine::{EngineBuilder, Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::child::say;
use crate::measure::linear::{Input, Output, output};

/// How often the last of the five has run in this process.
pub(crate) static LAST_STEPS: AtomicUsize = AtomicUsize::new(0);

macro_rules! steps {
    ($($step:ident = $name:literal),*) => {
        $(
            struct $step;

            impl Task for $step {
                const NAME: &'static str = $name;
                type Input = Input;
                type Output = Output;

                async fn run(&self, _: &TaskContext, input: Input) -> Result<Output, TaskError> {
                    if $name == "s5" {
                        LAST_STEPS.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(output($name, &input))
                }
            }
        )*

        pub(crate) fn steps(builder: EngineBuilder) -> EngineBuilder {
            builder$(.task($step))*
        }
    };
}

steps!(S1 = "s1", S2 = "s2", S3 = "s3", S4 = "s4", S5 = "s5");

/// When a run was asked for, by this machine's clock.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Asked {
    pub(crate) at_us: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Waited {
    pub(crate) waited_us: u64,
}

/// Microseconds of this machine's clock, which its processes share.
pub(crate) fn now_us() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "compared between processes of one machine")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

/// Says how long after the start call it began.
pub(crate) struct Stamp;

impl Task for Stamp {
    const NAME: &'static str = "stamp";
    type Input = Asked;
    type Output = Waited;

    async fn run(&self, _: &TaskContext, input: Asked) -> Result<Waited, TaskError> {
        Ok(Waited { waited_us: now_us().saturating_sub(input.at_us) })
    }
}

/// Is under way until its run is ended from outside.
pub(crate) struct Waits;

impl Task for Waits {
    const NAME: &'static str = "waits";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _: Value) -> Result<Value, TaskError> {
        cx.cancelled().await;
        Err(TaskError::retry("cancelled"))
    }
}

/// The victim's task: says that it is held, and never ends.
pub(crate) struct Holds;

impl Task for Holds {
    const NAME: &'static str = "held";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, _: Value) -> Result<Value, TaskError> {
        say("held");
        std::future::pending().await
    }
}

/// The same task elsewhere: says when it runs.
pub(crate) struct TakesOver(pub(crate) UnboundedSender<Instant>);

impl Task for TakesOver {
    const NAME: &'static str = "held";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, _: Value) -> Result<Value, TaskError> {
        // Nobody listens when the measuring is over.
        self.0.send(Instant::now()).map_err(|_| TaskError::terminal("over"))?;
        Ok(Value::Null)
    }
}

/// A workflow of one such task that is given the whole input.
pub(crate) fn one_of(name: &str, task: &str) -> Value {
    json!({"name": name, "tasks": [
        {"name": task, "taskReferenceName": task, "type": "SIMPLE",
         "inputParameters": {"at_us": "${workflow.input.at_us}"}},
    ], "outputParameters": {"waited_us": format!("${{{task}.output.waited_us}}")}})
}
