//! underway: a job of five steps, each a task of its queue whose input is what the step before gave.
//! All jobs are queued first. Its worker takes one task at a time in each of its slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use underway::{Job, To};
use work::{Failure, Input, Output, arguments, done, input, output, ready};

const SLOTS: usize = 16;

/// Each step gives the next the run's input with its own output.
#[derive(Deserialize, Serialize)]
struct Given {
    input: Input,
    output: Option<Output>,
}

fn after(step: &str, given: Given) -> Given {
    Given { output: Some(output(step, &given.input)), input: given.input }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (url, runs) = arguments()?;
    let pool = PgPoolOptions::new().max_connections(20).connect(&url).await?;
    underway::run_migrations(&pool).await?;
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let job = Job::builder()
        .step(|_, given: Given| async move { To::next(after("s1", given)) })
        .step(|_, given: Given| async move { To::next(after("s2", given)) })
        .step(|_, given: Given| async move { To::next(after("s3", given)) })
        .step(|_, given: Given| async move { To::next(after("s4", given)) })
        .step(move |_, given: Given| {
            let counted = counted.clone();
            async move {
                let wanted = output("s4", &given.input);
                if given.output.as_ref() == Some(&wanted) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                To::done()
            }
        })
        .name("linear5")
        .pool(pool.clone())
        .build()
        .await?;
    ready()?;
    for n in 0..runs {
        job.enqueue(&Given { input: input(n), output: None }).await?;
    }
    let mut worker = job.worker();
    worker.set_concurrency_limit(SLOTS);
    let working = tokio::spawn(async move { worker.run().await });
    let sql = "SELECT count(*) FROM underway.task WHERE state NOT IN ('succeeded')";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done(ended.load(Ordering::Relaxed), runs)?;
    working.abort();
    Ok(())
}
