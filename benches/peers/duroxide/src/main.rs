//! duroxide on its PostgreSQL provider: an orchestration of five activities. All runs are started
//! first; its dispatchers take one orchestration or activity at a time each.

use std::sync::Arc;
use std::time::Duration;

use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use duroxide_pg::PostgresProvider;
use work::{Failure, Input, STEPS, arguments, done, input, output, ready};

const DISPATCHERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(600);

fn work(step: &str, text: &str) -> Result<String, String> {
    let input: Input = serde_json::from_str(text).map_err(|error| error.to_string())?;
    serde_json::to_string(&output(step, &input)).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (url, runs) = arguments()?;
    let store = Arc::new(PostgresProvider::new(&url).await.map_err(|error| error.to_string())?);
    let mut activities = ActivityRegistry::builder();
    for step in STEPS {
        activities = activities
            .register(step, move |_: ActivityContext, text: String| async move { work(step, &text) });
    }
    let linear5 = |cx: OrchestrationContext, text: String| async move {
        let mut last = String::new();
        for step in STEPS {
            last = cx.schedule_activity(step, text.clone()).await?;
        }
        Ok::<String, String>(last)
    };
    let orchestrations = OrchestrationRegistry::builder().register("linear5", linear5).build();
    let client = Client::new(store.clone());
    let options = RuntimeOptions {
        orchestration_concurrency: DISPATCHERS,
        worker_concurrency: DISPATCHERS,
        ..RuntimeOptions::default()
    };
    ready()?;
    for n in 0..runs {
        let text = serde_json::to_string(&input(n))?;
        client
            .start_orchestration(format!("run-{n}"), "linear5", text)
            .await
            .map_err(|error| error.to_string())?;
    }
    let runtime =
        Runtime::start_with_options(store, activities.build(), orchestrations, options).await;
    let mut right = 0;
    for n in 0..runs {
        let ended = client.wait_for_orchestration(&format!("run-{n}"), PATIENCE).await;
        if let OrchestrationStatus::Completed { output: given, .. } =
            ended.map_err(|error| format!("{error:?}"))?
        {
            right += usize::from(given == serde_json::to_string(&output("s5", &input(n)))?);
        }
    }
    done(right, runs)?;
    runtime.shutdown(None).await;
    Ok(())
}
