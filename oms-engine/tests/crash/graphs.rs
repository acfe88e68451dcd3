//! Branches, loops and sub-workflows under kills: each run comes to what an undisturbed one does.

use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Client;
use oms_engine::{Engine, StartRequest, WorkflowDef, WorkflowId};
use serde_json::{Value, json};

use crate::common::{assert_nothing_stuck, database, until};
use crate::witness::{self, Witness};
use crate::worker::{EFFECTS, Launch, Worker};
use crate::{PATIENCE, Random};

const RUNS: usize = 150;
const KILLS: usize = 10;

fn task(name: &str, reference_name: &str) -> Value {
    json!({
        "name": name, "taskReferenceName": reference_name, "type": "SIMPLE",
        "inputParameters": {"from_start": "${workflow.input.value}"},
    })
}

fn step(kind: &str, reference_name: &str, more: &Value) -> Value {
    let mut step =
        json!({"name": reference_name, "taskReferenceName": reference_name, "type": kind});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

/// A loop and variables in branches, transactional tasks and a sub-workflow beside them, then
/// branches that data decides.
fn definitions() -> [WorkflowDef; 2] {
    let body = json!([task("work", "b"), step("NOOP", "n", &json!({}))]);
    let again =
        step("DO_WHILE", "l", &json!({"loopOver": body, "items": "${workflow.input.items}"}));
    let child = json!({
        "subWorkflowParam": {"name": "child"}, "inputParameters": {"value": "${workflow.input.value}"},
    });
    let set = |reference_name: &str, key: &str| {
        let mut input = serde_json::Map::new();
        input.insert(key.to_owned(), json!(1));
        step("SET_VARIABLE", reference_name, &json!({"inputParameters": input}))
    };
    let dynamic = json!({
        "inputParameters": {"forkTaskName": "work", "forkTaskInputs": "${workflow.input.list}"},
    });
    let mut first = task("work", "first");
    first["inputParameters"]["after_kills"] = json!("${workflow.input.after_kills}");
    let parent = json!({"name": "parent", "tasks": [
        first,
        step("FORK_JOIN", "f", &json!({"forkTasks": [
            [task("work", "a"), again],
            [task("book", "c"), step("SUB_WORKFLOW", "s", &child)],
            [task("work", "d"), set("v", "x")],
            [task("work", "e"), set("w", "y")],
        ]})),
        step("JOIN", "j", &json!({"joinOn": ["l", "s", "v", "w"]})),
        step("FORK_JOIN_DYNAMIC", "g", &dynamic),
        step("JOIN", "k", &json!({})),
        task("book", "last"),
    ]});
    let child = json!({"name": "child", "tasks": [task("work", "cw"), task("book", "cb")]});
    [parent, child].map(|def| WorkflowDef::from_json(&def.to_string()).unwrap())
}

async fn start(engine: &Engine, number: usize) -> WorkflowId {
    let input = json!({
        "value": 30, "items": [1, 2, 3], "list": [{}, {}, {}],
        "after_kills": after_kills(number, RUNS),
    });
    engine.start(StartRequest::new("parent").input(input)).await.unwrap().id
}

/// What the runs of a definition have in their history, each different picture once.
async fn pictures(client: &Client, name: &str) -> Vec<String> {
    let sql = "SELECT DISTINCT p FROM (
            SELECT string_agg(h.reference_name || ' ' || h.status || ' ' || h.attempt, ', '
                ORDER BY h.reference_name, h.attempt) AS p
            FROM oms_engine.workflows w JOIN oms_engine.task_history h ON h.workflow_id = w.id
            WHERE w.name = $1 GROUP BY w.id) x";
    client.query(sql, &[&name]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What stands still, and why.
pub(crate) async fn what_is_open(client: &Client) -> Vec<String> {
    let sql = "(SELECT w.name || ' ' || w.status || coalesce(': ' || w.reason, '')
            || coalesce(' ' || t::text, '')
        FROM oms_engine.workflows w LEFT JOIN oms_engine.open_tasks t ON t.workflow_id = w.id
        WHERE w.status <> 2 LIMIT 20)
        UNION ALL SELECT reason || ' ' || workflow_id FROM oms_engine.stuck_workflows";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// After how many kills of a [`storm`] a run may go on, so that they meet runs at every stage.
pub(crate) fn after_kills(number: usize, runs: usize) -> usize {
    number * KILLS / runs
}

/// Kills whoever holds work, again and again, until as many kills have met work in flight as runs
/// wait for.
pub(crate) async fn storm(
    client: &Client,
    launch: &Launch,
    witness: &Witness,
    workers: &mut [Worker],
) {
    let mut random = Random::seeded("storm");
    let (mut hits, begun) = (0, Instant::now());
    while hits < KILLS {
        assert!(begun.elapsed() < PATIENCE, "{hits} of {KILLS} kills met work in flight");
        tokio::time::sleep(random.millis(150, 400)).await;
        let at = usize::try_from(random.below(u64::try_from(workers.len()).unwrap())).unwrap();
        let name = format!("w{}", workers[at].id());
        let held = "SELECT count(*) FROM oms_engine.open_tasks t
            JOIN oms_engine.holders h ON h.id = t.holder
            JOIN oms_engine.sessions s ON s.id = h.session_id WHERE s.name = $1";
        let held: i64 = client.query_one(held, &[&name]).await.unwrap().get(0);
        if held > 0 {
            std::mem::replace(&mut workers[at], launch.start()).kill();
            witness::append_kill(witness.path());
            hits += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_engines_change_nothing_of_what_a_graph_comes_to() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(EFFECTS).await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register(&[], &definitions()).await.unwrap();
    let launch = Launch::new(database.url(), &witness).concurrency(6);
    let mut workers = vec![launch.start(), launch.start(), launch.start()];
    start(&engine, 0).await;
    until(&client, "SELECT count(*) = 2 FROM oms_engine.workflows WHERE status = 2").await;
    let undisturbed = [pictures(&client, "parent").await, pictures(&client, "child").await];
    assert!(undisturbed.iter().all(|pictures| pictures.len() == 1), "{undisturbed:#?}");
    for number in 1..RUNS {
        start(&engine, number).await;
    }
    // Those who are killed are all who could do the engines' own steps.
    engine.shutdown(Duration::ZERO).await;
    storm(&client, &launch, &witness, &mut workers).await;
    let all = RUNS * 2;
    let done = format!("SELECT count(*) = {all} FROM oms_engine.workflows WHERE status = 2");
    let begun = Instant::now();
    while !client.query_one(&done, &[]).await.unwrap().get::<_, bool>(0) {
        let still = begun.elapsed() < PATIENCE;
        assert!(still, "still open: {:#?}", what_is_open(&client).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let disturbed = [pictures(&client, "parent").await, pictures(&client, "child").await];
    assert_eq!(disturbed, undisturbed);
    let variables = "SELECT bool_and(variables = '{\"x\": 1, \"y\": 1}') FROM oms_engine.workflows
        WHERE name = 'parent'";
    assert!(client.query_one(variables, &[]).await.unwrap().get::<_, bool>(0));
    let effects = format!(
        "SELECT count(*) = count(DISTINCT task_id) AND count(*) = {} FROM public.effects",
        RUNS * 3
    );
    assert!(client.query_one(&effects, &[]).await.unwrap().get::<_, bool>(0));
    let open = "SELECT count(*) FROM oms_engine.open_tasks";
    assert_eq!(client.query_one(open, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_nothing_stuck(&client).await;
}
