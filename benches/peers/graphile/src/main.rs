//! graphile_worker: a queue of plain jobs. There are no workflows: each run is one job, five are
//! counted as a linear five that nobody ordered. Jobs are queued in batches, taken in batches by its
//! local queue, and completed in batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use work::{Failure, Input, STEPS, arguments, done, input, output, ready};

static ENDED: AtomicUsize = AtomicUsize::new(0);
const BATCH: usize = 1_000;

#[derive(Clone, Deserialize, Serialize)]
struct Step {
    step: String,
    input: Input,
}

impl TaskHandler for Step {
    const IDENTIFIER: &'static str = "step";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        if output(&self.step, &self.input).text.len() == 36 {
            ENDED.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (url, runs) = arguments()?;
    let pool = PgPoolOptions::new().max_connections(20).connect(&url).await?;
    let worker = WorkerOptions::default()
        .concurrency(16)
        .schema("graphile_worker")
        .define_job::<Step>()
        .pg_pool(pool.clone())
        .local_queue(LocalQueueConfig::default().with_size(500))
        .init()
        .await?;
    let utils = worker.create_utils();
    ready()?;
    let jobs: Vec<Step> = (0..runs)
        .flat_map(|n| STEPS.map(|step| Step { step: step.to_owned(), input: input(n) }))
        .collect();
    let (wanted, spec) = (jobs.len(), JobSpec::default());
    for chunk in jobs.chunks(BATCH) {
        let jobs: Vec<_> = chunk.iter().map(|job| (job.clone(), &spec)).collect();
        utils.add_jobs::<Step>(&jobs).await?;
    }
    let working = tokio::spawn(async move { worker.run().await });
    let sql = "SELECT count(*) FROM graphile_worker._private_jobs";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done(ENDED.load(Ordering::Relaxed), wanted)?;
    working.abort();
    Ok(())
}
