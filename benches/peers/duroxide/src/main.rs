//! duroxide: an orchestration of five activities, each with what the one before gave.

use std::sync::Arc;
use std::time::Duration;

use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use duroxide_pg::PostgresProvider;
use serde::{Deserialize, Serialize};
use work::{Failure, Input, Output, STEPS, arguments, done, input, output, ready};

/// Dispatchers of each kind.
const DISPATCHERS: usize = 16;

/// Each step gets the run's input with what the one before gave.
#[derive(Clone, Deserialize, Serialize)]
struct Given {
    step: String,
    input: Input,
    output: Option<Output>,
}

async fn five(ctx: OrchestrationContext, input: Input) -> Result<Output, String> {
    let mut last = None;
    for step in STEPS {
        let given = Given { step: step.to_owned(), input: input.clone(), output: last };
        last = Some(ctx.schedule_activity_typed::<Given, Output>(step, &given).await?);
    }
    last.ok_or_else(|| "no step".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (url, runs) = arguments()?;
    let store = Arc::new(PostgresProvider::new(&url).await?);
    let mut activities = ActivityRegistry::builder();
    for step in STEPS {
        activities = activities.register_typed(step, |_: ActivityContext, given: Given| async move {
            Ok(output(&given.step, &given.input))
        });
    }
    let orchestrations = OrchestrationRegistry::builder().register_typed("linear5", five).build();
    let options = RuntimeOptions {
        orchestration_concurrency: DISPATCHERS,
        worker_concurrency: DISPATCHERS,
        ..RuntimeOptions::default()
    };
    let client = Client::new(store.clone());
    ready()?;
    for n in 0..runs {
        client.start_orchestration_typed(n.to_string(), "linear5", input(n)).await?;
    }
    let runtime = Runtime::start_with_options(store, activities.build(), orchestrations, options).await;
    let mut right = 0;
    for n in 0..runs {
        let wanted = output("s5", &input(n));
        let status = client.wait_for_orchestration(&n.to_string(), Duration::from_secs(600)).await?;
        if let OrchestrationStatus::Completed { output, .. } = status
            && serde_json::from_str::<Output>(&output)? == wanted
        {
            right += 1;
        }
    }
    done(right, runs)?;
    runtime.shutdown(None).await;
    Ok(())
}
