//! The workers of a case, who wait to be told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oms_engine::{
    Engine, HttpSettings, SecretValue, SecretsProvider, Serving, Task, TaskContext, TaskError,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::case::Case;

/// What the worker of a case does, and who waits to be told.
#[derive(Default)]
pub(crate) struct Stage {
    entered: Mutex<HashMap<String, oneshot::Sender<Value>>>,
}

impl Stage {
    /// Whether a task waits to be told.
    pub(crate) fn waits(&self, task_id: &str) -> bool {
        self.entered.lock().unwrap().contains_key(task_id)
    }

    pub(crate) fn tell(&self, task_id: &str, outcome: Value) {
        let told = self.entered.lock().unwrap().remove(task_id);
        told.expect("a task that waits").send(outcome).expect("it listens");
    }
}

macro_rules! workers {
    ($($type:ident = $name:literal),*) => {$(
        struct $type(Arc<Stage>);

        impl Task for $type {
            const NAME: &'static str = $name;
            type Input = Value;
            type Output = Value;

            async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
                let (sender, told) = oneshot::channel();
                self.0.entered.lock().unwrap().insert(cx.task_id().to_string(), sender);
                match told.await {
                    Ok(outcome) => end(&outcome),
                    Err(_) => Err(TaskError::terminal("the case is over")),
                }
            }
        }
    )*};
}

workers!(T = "t", U = "u", V = "v");

fn end(outcome: &Value) -> Result<Value, TaskError> {
    let text = |key: &str| outcome[key].as_str().unwrap_or_default();
    let output = outcome.get("output").cloned();
    let with = |error: TaskError| match output.clone() {
        Some(output) => error.with_output(output),
        None => error,
    };
    match text("status") {
        "" | "COMPLETED" => Ok(output.unwrap_or_else(|| json!({}))),
        "FAILED" => Err(with(TaskError::retry(text("reason")))),
        "FAILED_WITH_TERMINAL_ERROR" => Err(with(TaskError::terminal(text("reason")))),
        "IN_PROGRESS" => {
            let seconds = outcome["callbackAfterSeconds"].as_u64().unwrap_or(0);
            Err(with(TaskError::in_progress(Duration::from_secs(seconds))))
        }
        other => panic!("{other:?} is no outcome"),
    }
}

struct Secrets(BTreeMap<String, String>);

impl SecretsProvider for Secrets {
    async fn secret(
        &self,
        name: &str,
    ) -> Result<Option<SecretValue>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.get(name).map(SecretValue::new))
    }
}

/// An engine with the workers of a case.
pub(crate) async fn engine(url: &str, case: &Case, stage: &Arc<Stage>, port: u16) -> Engine {
    let mut builder = Engine::builder(url)
        .poll_interval(Duration::from_millis(50))
        .pumps(1)
        .concurrency(200)
        .envs(case.env.clone())
        .task(T(stage.clone()))
        .task(U(stage.clone()))
        .task(V(stage.clone()))
        .http(HttpSettings::allow([format!("127.0.0.1:{port}")]));
    if let Some(secrets) = &case.secrets {
        builder = builder.secrets(Secrets(secrets.clone()));
    }
    for (task, domains) in &case.serves {
        for domain in domains {
            let place = Serving::new().domain(domain);
            builder = match task.as_str() {
                "t" => builder.task_in(T(stage.clone()), place),
                "u" => builder.task_in(U(stage.clone()), place),
                _ => builder.task_in(V(stage.clone()), place),
            };
        }
    }
    builder.build().await.unwrap()
}
