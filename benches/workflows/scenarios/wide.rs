//! Large runs: what a task costs in one of ten thousand, against one of a hundred.

use oms_engine::{StartRequest, Task, TaskContext, TaskError};
use serde_json::{Value, json};

use super::{GRACE, Measured, engine, register};
use crate::bench::Bench;
use crate::measure::figures::figure;
use crate::measure::place::{Database, Used};
use crate::measure::{check, float};

struct NoOp;

impl Task for NoOp {
    const NAME: &'static str = "no_op";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, _: Value) -> Result<Value, TaskError> {
        Ok(json!({"text": "-"}))
    }
}

fn no_op() -> Value {
    json!({"name": "no_op", "taskReferenceName": "t", "type": "SIMPLE"})
}

/// A dynamic fork with a task in each branch.
pub(super) async fn fan_out(bench: &Bench, _turn: usize) -> Measured {
    let definition = json!({"name": "large", "tasks": [
        {"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN_DYNAMIC",
         "inputParameters": {"forkTaskName": "no_op", "forkTaskInputs": "${workflow.input.items}"}},
        {"name": "join", "taskReferenceName": "join", "type": "JOIN"},
    ], "outputParameters": {"done": "${join.status}"}});
    bench
        .alone(async |database| {
            compare(database, &definition, listed, bench.size(1_000, 10_000)).await
        })
        .await
}

/// A loop over a list, with a task in each turn.
pub(super) async fn items(bench: &Bench, _turn: usize) -> Measured {
    let definition = json!({"name": "large", "tasks": [
        {"name": "loop", "taskReferenceName": "loop", "type": "DO_WHILE", "loopOver": [no_op()],
         "items": "${workflow.input.items}"},
    ], "outputParameters": {"turns": "${loop.output.iteration}"}});
    bench
        .alone(async |database| {
            compare(database, &definition, listed, bench.size(1_000, 10_000)).await
        })
        .await
}

/// A loop whose condition is a script.
pub(super) async fn script(bench: &Bench, _turn: usize) -> Measured {
    let definition = json!({"name": "large", "tasks": [
        {"name": "loop", "taskReferenceName": "loop", "type": "DO_WHILE", "loopOver": [no_op()],
         "inputParameters": {"turns": "${workflow.input.n}"},
         "loopCondition": "$.loop['iteration'] < $.turns"},
    ], "outputParameters": {"turns": "${loop.output.iteration}"}});
    bench
        .alone(async |database| {
            compare(database, &definition, counted, bench.size(500, 10_000)).await
        })
        .await
}

/// The input of what goes over a list.
fn listed(n: usize) -> Value {
    json!({"n": n, "items": (0..n).collect::<Vec<_>>()})
}

/// The input of what counts: of one size, since each turn by the slow way reads it.
fn counted(n: usize) -> Value {
    json!({ "n": n })
}

/// Runs of a hundred, one after the other, then one of `size`.
async fn compare(
    database: &Database<'_>,
    definition: &Value,
    input: fn(usize) -> Value,
    size: usize,
) -> Measured {
    const SMALL: usize = 100;
    let engine = engine(database, |builder| builder.task(NoOp)).await?;
    register(&engine, definition).await?;
    let mut used = Vec::new();
    for (runs, n) in [(size / SMALL, SMALL), (1, size)] {
        let input = input(n);
        let begun = database.begin().await?;
        for _ in 0..runs {
            let request = StartRequest::new("large").input(&input);
            let started = engine.start(request).await?;
            let output = engine.result(started.id).await?;
            if output.get("turns").is_some_and(|turns| *turns != json!(n)) {
                return Err(format!("a loop of {n} turns says {output}").into());
            }
        }
        used.push(database.used(&begun, float(runs * n)).await?);
        check::worked(database.client(), runs, n).await?;
        database
            .client()
            .batch_execute(
                "TRUNCATE oms_engine.workflows, oms_engine.task_history, oms_engine.open_tasks",
            )
            .await?;
    }
    engine.shutdown(GRACE).await;
    let [small, large] = used.as_slice() else { return Ok(Vec::new()) };
    let mut figures = large.figures();
    let per_task = |used: &Used| used.seconds / used.tasks;
    figures.push((
        figure("time per task ÷ that in runs of 100", ""),
        per_task(large) / per_task(small),
    ));
    if let (Some(large), Some(small)) = (large.cpu_per_task(), small.cpu_per_task()) {
        figures.push((figure("CPU per task ÷ that in runs of 100", ""), large / small));
    }
    Ok(figures)
}
