//! Parents and children that operators end and bring back while engines are killed.

use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Client;
use oms_engine::{
    Engine, Error, RestartOptions, RetryOptions, StartRequest, WorkflowDef, WorkflowId,
};
use serde_json::{Value, json};

use crate::common::{assert_nothing_stuck, database};
use crate::witness::Witness;
use crate::worker::{Launch, Worker};
use crate::{PATIENCE, Random};

const RUNS: usize = 30;
const ROUNDS: usize = 150;

fn sub_workflow(reference_name: &str, name: &str) -> Value {
    json!({
        "name": reference_name, "taskReferenceName": reference_name, "type": "SUB_WORKFLOW",
        "subWorkflowParam": { "name": name },
        "inputParameters": { "value": "${workflow.input.value}" },
    })
}

fn work(reference_name: &str) -> Value {
    json!({
        "name": "work", "taskReferenceName": reference_name, "type": "SIMPLE",
        "inputParameters": { "from_start": "${workflow.input.value}" },
    })
}

/// Three generations, with siblings in the middle.
fn definitions() -> [WorkflowDef; 3] {
    let top = json!({ "name": "top", "tasks": [
        work("a"),
        { "name": "f", "taskReferenceName": "f", "type": "FORK_JOIN",
          "forkTasks": [[sub_workflow("s", "middle")], [sub_workflow("r", "child"), work("b")]] },
        { "name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": ["s", "b"] },
        work("z"),
    ]});
    let middle = json!({ "name": "middle", "tasks": [work("m"), sub_workflow("t", "child")] });
    let child = json!({ "name": "child", "tasks": [work("c"), work("d")] });
    [child, middle, top].map(|def| WorkflowDef::from_json(&def.to_string()).unwrap())
}

async fn ids(client: &Client, sql: &str) -> Vec<WorkflowId> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0).parse().unwrap()).collect()
}

/// Ends or brings back one of the runs.
async fn operate(engine: &Engine, random: &mut Random, all: &[WorkflowId]) {
    let id = all[usize::try_from(random.below(all.len() as u64)).unwrap()];
    let done = match random.below(8) {
        0..=2 => engine.terminate(id, "enough").await,
        3 | 4 => engine.retry(id, RetryOptions::resuming_sub_workflows()).await,
        5 | 6 => engine.retry(id, RetryOptions::default()).await,
        _ => engine.restart(id, RestartOptions::default()).await,
    };
    match done {
        Err(Error::Conflict { .. } | Error::Moved { .. }) => {}
        done => done.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_engines_leave_no_family_apart() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(crate::worker::EFFECTS).await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register(&[], &definitions()).await.unwrap();
    let launch = Launch::new(database.url(), &witness).concurrency(6);
    let mut workers: Vec<Worker> = vec![launch.start(), launch.start(), launch.start()];
    for _ in 0..RUNS {
        let request = StartRequest::new("top").input(json!({ "value": 20 }));
        engine.start(request).await.unwrap();
    }
    let mut random = Random::seeded("family");
    for round in 0..ROUNDS {
        let all = ids(&client, "SELECT id::text FROM oms_engine.workflows").await;
        operate(&engine, &mut random, &all).await;
        if round % 15 == 14 {
            let at = usize::try_from(random.below(workers.len() as u64)).unwrap();
            std::mem::replace(&mut workers[at], launch.start()).kill();
        }
    }
    let unsuccessful = "SELECT id::text FROM oms_engine.workflows
        WHERE name = 'top' AND status IN (3, 4, 5)";
    let done = "SELECT bool_and(status = 2) FROM oms_engine.workflows WHERE name = 'top'";
    let begun = Instant::now();
    while !client.query_one(done, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(begun.elapsed() < PATIENCE, "still open after {:?}", begun.elapsed());
        for id in ids(&client, unsuccessful).await {
            match engine.retry(id, RetryOptions::resuming_sub_workflows()).await {
                // What ended before it had a task that could be retried begins anew.
                Err(Error::Conflict { .. }) => {
                    match engine.restart(id, RestartOptions::default()).await {
                        Err(Error::Conflict { .. }) => {}
                        done => done.unwrap(),
                    }
                }
                done => done.unwrap(),
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let quiet = "SELECT NOT EXISTS (SELECT FROM oms_engine.open_tasks)";
    crate::common::until(&client, quiet).await;
    // What each task of a run that is done waited for last is done too.
    let apart = "SELECT count(*) FROM oms_engine.workflows w
        JOIN LATERAL (SELECT DISTINCT ON (reference_name) output->>'subWorkflowId' AS child
            FROM oms_engine.task_history h
            WHERE h.workflow_id = w.id AND h.queue = 'SUB_WORKFLOW' AND h.epoch = w.epoch
            ORDER BY reference_name, attempt DESC) t ON true
        JOIN oms_engine.workflows c ON c.id::text = t.child
        WHERE w.status = 2 AND w.name = 'top' AND c.ended_at < w.ended_at AND c.status <> 2";
    assert_eq!(client.query_one(apart, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_nothing_stuck(&client).await;
}
