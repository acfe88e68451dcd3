//! The linear five: five tasks one after the other that do nothing, with an input of 200 bytes
//! and outputs of 50.

use std::time::{Duration, Instant};

use oms_engine::{Engine, EngineBuilder, StartRequest, Task, TaskContext, TaskError, WorkflowId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{GRACE, Measured, engine, register};
use crate::figures::{figure, quantile};
use crate::place::Database;
use crate::{Failure, check};

#[derive(Deserialize)]
struct Input {
    data: String,
}

#[derive(Serialize)]
struct Output {
    text: String,
}

macro_rules! steps {
    ($($step:ident = $name:literal),*) => {
        $(
            struct $step;

            impl Task for $step {
                const NAME: &'static str = $name;
                type Input = Input;
                type Output = Output;

                async fn run(&self, _: &TaskContext, input: Input) -> Result<Output, TaskError> {
                    let begin: String = input.data.chars().take(20).collect();
                    Ok(Output { text: format!("{:-<36}", format!("{}:{begin}", $name)) })
                }
            }
        )*

        const NAMES: &[&str] = &[$($name),*];

        fn steps(builder: EngineBuilder) -> EngineBuilder {
            builder$(.task($step))*
        }
    };
}

steps!(S1 = "s1", S2 = "s2", S3 = "s3", S4 = "s4", S5 = "s5");

fn definition() -> Value {
    let tasks: Vec<Value> = NAMES
        .iter()
        .map(|name| {
            json!({
                "name": name, "taskReferenceName": name, "type": "SIMPLE",
                "inputParameters": {"data": "${workflow.input.data}"},
            })
        })
        .collect();
    json!({"name": "linear5", "tasks": tasks, "outputParameters": {"text": "${s5.output.text}"}})
}

fn request(n: usize) -> StartRequest {
    StartRequest::new("linear5").input(json!({"data": format!("{n:-<190}")}))
}

async fn all_ended(engine: &Engine, ids: Vec<WorkflowId>) -> Result<(), Failure> {
    let mut waiting = JoinSet::new();
    for id in ids {
        let engine = engine.clone();
        waiting.spawn(async move { engine.wait(id).await.map(|_| ()) });
    }
    while let Some(ended) = waiting.join_next().await {
        ended??;
    }
    Ok(())
}

/// All are started at once, then worked off. The time runs from the first start to the commit of
/// the last end, which the tables are asked for.
pub(super) async fn drain(database: &Database<'_>, quick: bool) -> Measured {
    let runs = if quick { 2_000 } else { 10_000 };
    let engine = engine(database, |builder| steps(builder).concurrency(2_000)).await?;
    register(&engine, &definition()).await?;
    let begun = database.begin().await?;
    let mut last = None;
    for chunk in (0..runs).collect::<Vec<_>>().chunks(1_000) {
        let started = engine.start_many(chunk.iter().map(|n| request(*n)).collect()).await?;
        last = started.last().map(|started| started.id);
    }
    // The last to be started is among the last to end; the rest is asked of the tables.
    if let Some(id) = last {
        engine.wait(id).await?;
    }
    let open = "SELECT EXISTS (SELECT FROM oms_engine.open_tasks)";
    while database.client().query_one(open, &[]).await?.get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    finish(database, &engine, &begun, runs).await
}

/// So many are under way at any time.
pub(super) async fn steady(database: &Database<'_>, quick: bool) -> Measured {
    const AT_ONCE: usize = 64;
    let runs = if quick { 1_000 } else { 10_000 };
    let engine = engine(database, steps).await?;
    register(&engine, &definition()).await?;
    all_ended(&engine, start_some(&engine, AT_ONCE).await?).await?;
    let warm = AT_ONCE;
    let begun = database.begin().await?;
    let mut under_way = JoinSet::new();
    for n in 0..runs {
        if under_way.len() == AT_ONCE
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        let engine = engine.clone();
        under_way.spawn(async move {
            let started = engine.start(request(n)).await?;
            engine.wait(started.id).await.map(|_| ())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    let figures = figures(database, &begun, runs).await?;
    engine.shutdown(GRACE).await;
    check::linear5(database.client(), runs + warm).await?;
    Ok(figures)
}

/// One at a time: from the start call until its end is known to who waits.
pub(super) async fn latency(database: &Database<'_>, quick: bool) -> Measured {
    let (runs, warm) = if quick { (100, 20) } else { (1_000, 50) };
    let engine = engine(database, steps).await?;
    register(&engine, &definition()).await?;
    for id in start_some(&engine, warm).await? {
        engine.wait(id).await?;
    }
    let mut millis = Vec::with_capacity(runs);
    for n in 0..runs {
        let at = Instant::now();
        let started = engine.start(request(n)).await?;
        engine.wait(started.id).await?;
        millis.push(at.elapsed().as_secs_f64() * 1e3);
    }
    engine.shutdown(GRACE).await;
    check::linear5(database.client(), runs + warm).await?;
    millis.sort_by(f64::total_cmp);
    Ok(vec![
        (figure("start to end, p50", "ms"), quantile(&millis, 0.5)),
        (figure("start to end, p95", "ms"), quantile(&millis, 0.95)),
        (figure("start to end, p99", "ms"), quantile(&millis, 0.99)),
    ])
}

async fn start_some(engine: &Engine, n: usize) -> Result<Vec<WorkflowId>, Failure> {
    let started = engine.start_many((0..n).map(request).collect()).await?;
    Ok(started.into_iter().map(|started| started.id).collect())
}

async fn figures(database: &Database<'_>, begun: &crate::place::Begun, runs: usize) -> Measured {
    let tasks = super::float(runs * NAMES.len());
    let used = database.used(begun, tasks).await?;
    let mut figures =
        vec![(figure("workflows per second", "/s"), super::float(runs) / used.seconds)];
    figures.extend(used.figures());
    Ok(figures)
}

async fn finish(
    database: &Database<'_>,
    engine: &Engine,
    begun: &crate::place::Begun,
    runs: usize,
) -> Measured {
    let figures = figures(database, begun, runs).await?;
    engine.shutdown(GRACE).await;
    check::linear5(database.client(), runs).await?;
    Ok(figures)
}
