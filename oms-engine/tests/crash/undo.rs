//! Undoing under kills: whatever an engine's death meets, each effect is undone once or listed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Client;
use oms_engine::{Engine, StartRequest, WorkflowDef};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::common::{assert_nothing_stuck, database};
use crate::graphs::{after_kills, storm, what_is_open};
use crate::witness::Witness;
use crate::worker::{EFFECTS, Launch};

const RUNS: usize = 80;

/// Writes a row, and so does what undoes it.
fn book(reference_name: &str) -> Value {
    let input = json!({"from_start": "${workflow.input.value}"});
    json!({
        "name": "book", "taskReferenceName": reference_name, "inputParameters": input,
        "compensation": {"name": "book", "inputParameters": input},
    })
}

/// Fails in one branch while others, a loop and a sub-workflow are under way.
fn definitions() -> [WorkflowDef; 2] {
    let step = |kind: &str, name: &str, more: Value| {
        let mut step = json!({"name": name, "taskReferenceName": name, "type": kind});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let again = json!({"loopOver": [book("b")], "items": "${workflow.input.items}"});
    let mut child = book("s");
    child["type"] = json!("SUB_WORKFLOW");
    child["subWorkflowParam"] = json!({"name": "child"});
    child["inputParameters"] = json!({"value": "${workflow.input.value}"});
    let work = json!({
        "name": "work", "taskReferenceName": "w",
        "inputParameters": {
            "from_start": "${workflow.input.until}",
            "after_kills": "${workflow.input.after_kills}",
        },
    });
    let end = json!({"inputParameters": {"terminationStatus": "FAILED"}});
    let parent = json!({"name": "parent", "tasks": [
        book("first"),
        step("FORK_JOIN", "f", json!({"forkTasks": [
            [book("a"), step("DO_WHILE", "l", again)],
            [work, step("TERMINATE", "e", end)],
            [child],
        ]})),
        step("JOIN", "j", json!({"joinOn": ["l", "e", "s"]})),
    ]});
    let child = json!({"name": "child", "tasks": [book("c"), book("d")]});
    [parent, child].map(|def| WorkflowDef::from_json(&def.to_string()).unwrap())
}

/// The reference names under which each run that did not complete wrote, how often, and what it
/// lists as not undone.
async fn written(client: &Client) -> BTreeMap<String, (BTreeMap<String, usize>, BTreeSet<String>)> {
    let sql = "SELECT w.id::text, coalesce(w.undo->>'left', '[]'), e.task_id
        FROM oms_engine.workflows w
        JOIN public.effects e ON e.task_id LIKE w.id || '.%'
        WHERE w.status <> 2";
    let mut runs: BTreeMap<String, (BTreeMap<String, usize>, BTreeSet<String>)> = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let (id, left, task_id): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let run = runs.entry(id).or_default();
        let name = task_id.splitn(4, '.').nth(3).unwrap().to_owned();
        *run.0.entry(name).or_default() += 1;
        let left: Vec<Value> = serde_json::from_str(&left).unwrap();
        run.1 = left.iter().map(|l| l["referenceTaskName"].as_str().unwrap().to_owned()).collect();
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_engines_leave_no_effect_that_is_neither_undone_nor_listed() {
    let (database, witness) = (database().await, Witness::new());
    let client = database.connect().await.unwrap();
    client.batch_execute(EFFECTS).await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    engine.register(&[], &definitions()).await.unwrap();
    let launch = Launch::new(database.url(), &witness).concurrency(6);
    let mut workers = vec![launch.start(), launch.start(), launch.start()];
    for number in 0..RUNS {
        let input = json!({
            "value": 20, "items": [1, 2, 3], "until": 20 * (number % 8),
            "after_kills": after_kills(number, RUNS),
        });
        engine.start(StartRequest::new("parent").input(input)).await.unwrap();
    }
    engine.shutdown(Duration::ZERO).await;
    storm(&client, &launch, &witness, &mut workers).await;
    let done = format!(
        "SELECT count(*) = {RUNS} AND bool_and(status = 3) FROM oms_engine.workflows
        WHERE name = 'parent' AND status NOT IN (0, 1)"
    );
    let begun = Instant::now();
    while !client.query_one(&done, &[]).await.unwrap().get::<_, bool>(0) {
        let still = begun.elapsed() < PATIENCE;
        assert!(still, "still open: {:#?}", what_is_open(&client).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut undone = 0;
    for (id, (names, left)) in written(&client).await {
        for (name, times) in &names {
            assert_eq!(*times, 1, "{id}: {name} wrote {times} times");
            if name.contains("_undo") {
                continue;
            }
            let (own, turn) = name
                .split_once("__")
                .map_or((name.as_str(), String::new()), |n| (n.0, format!("__{}", n.1)));
            let is_undone = names.contains_key(&format!("{own}_undo{turn}"));
            assert_ne!(is_undone, left.contains(name), "{id}: {name} of {names:?}, {left:?}");
            undone += usize::from(is_undone);
        }
    }
    assert!(undone > RUNS, "{undone} steps were undone");
    let open = "SELECT count(*) FROM oms_engine.open_tasks WHERE reference_name <> ''";
    assert_eq!(client.query_one(open, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_nothing_stuck(&client).await;
}
