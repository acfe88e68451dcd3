//! Branches of one run in two engines, and what else happens to it at the same moment.

use std::time::Duration;

use oms_engine::testkit::TestDatabase;
use oms_engine::tokio_postgres::Client;
use oms_engine::{
    Engine, Execution, StartRequest, Task, TaskContext, TaskError, TaskStatus, WorkflowDef,
    WorkflowId, WorkflowStatus,
};
use serde_json::{Value, json};

use crate::common::{assert_nothing_stuck, database, engine, wait};

const RUNS: usize = 40;

/// Takes up to three milliseconds, each attempt its own time.
struct Short;

impl Task for Short {
    const NAME: &'static str = "short";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        let drawn = cx
            .task_id()
            .to_string()
            .bytes()
            .fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        tokio::time::sleep(Duration::from_micros(drawn % 3_000)).await;
        Ok(json!({"value": 1}))
    }
}

fn short(reference_name: &str) -> Value {
    json!({"name": "short", "taskReferenceName": reference_name, "type": "SIMPLE"})
}

fn step(kind: &str, reference_name: &str, more: &Value) -> Value {
    let mut step =
        json!({"name": reference_name, "taskReferenceName": reference_name, "type": kind});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

fn fork(branches: &Value, on: &Value, after: &[Value]) -> WorkflowDef {
    let mut tasks = vec![
        step("FORK_JOIN", "f", &json!({"forkTasks": branches})),
        step("JOIN", "j", &json!({"joinOn": on})),
    ];
    tasks.extend(after.iter().cloned());
    let def = json!({"name": "w", "tasks": tasks});
    WorkflowDef::from_json(&def.to_string()).unwrap()
}

/// Two engines that take one task at a time, so that branches are in both.
async fn two(database: &TestDatabase, def: &WorkflowDef) -> [Engine; 2] {
    let one = || engine(database).task(Short).concurrency(1).build();
    let engines = [one().await.unwrap(), one().await.unwrap()];
    engines[0].register_workflow(def).await.unwrap();
    engines
}

async fn start(engines: &[Engine; 2]) -> Vec<WorkflowId> {
    let mut ids = Vec::new();
    for engine in engines.iter().cycle().take(RUNS) {
        ids.push(engine.start(StartRequest::new("w")).await.unwrap().id);
    }
    ids
}

async fn ends(engines: &[Engine; 2], ids: &[WorkflowId]) -> Vec<Execution> {
    let mut runs = Vec::new();
    for id in ids {
        runs.push(wait(&engines[0], *id).await);
    }
    runs
}

/// Nothing is open, nothing stands still, and nothing happened after an end.
async fn all_is_over(client: &Client) {
    assert_nothing_stuck(client).await;
    let open = "SELECT count(*) FROM oms_engine.open_tasks WHERE reference_name <> ''";
    assert_eq!(client.query_one(open, &[]).await.unwrap().get::<_, i64>(0), 0);
    let late = "SELECT count(*) FROM oms_engine.task_history h
        JOIN oms_engine.workflows w ON w.id = h.workflow_id WHERE h.ended_at > w.ended_at";
    assert_eq!(client.query_one(late, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_that_arrive_in_two_engines_are_joined_once() {
    let database = database().await;
    let branches = json!([[short("a")], [short("b")], [short("c")]]);
    let def = fork(&branches, &json!(["a", "b", "c"]), &[short("z")]);
    let engines = two(&database, &def).await;
    let ids = start(&engines).await;
    for run in ends(&engines, &ids).await {
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 6), "{run:#?}");
    }
    all_is_over(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_behind_in_one_engine_is_joined_once_by_the_other() {
    let database = database().await;
    let branches = json!([[short("a"), short("x")], [short("b")], [short("c"), short("y")]]);
    let second = step("JOIN", "k", &json!({"joinOn": ["x", "c"]}));
    let def = fork(&branches, &json!(["a", "b"]), &[short("z"), second]);
    let engines = two(&database, &def).await;
    let ids = start(&engines).await;
    for run in ends(&engines, &ids).await {
        assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 9), "{run:#?}");
        assert!(run.tasks.iter().all(|task| task.status == TaskStatus::Completed), "{run:#?}");
    }
    all_is_over(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_takes_a_fork_whole_while_branches_arrive() {
    let database = database().await;
    let branches = json!([[short("a")], [short("b"), short("c")]]);
    for on in [json!(["a", "c"]), json!(["b"])] {
        let def = fork(&branches, &on, &[short("z")]);
        let engines = two(&database, &def).await;
        let ids = start(&engines).await;
        for id in &ids {
            // One that has completed cannot be terminated any more.
            let _ended_before = engines[1].terminate(*id, "enough").await.is_err();
        }
        for run in ends(&engines, &ids).await {
            let ended =
                matches!(run.status, WorkflowStatus::Completed | WorkflowStatus::Terminated);
            assert!(ended, "{run:#?}");
        }
        all_is_over(&database.connect().await.unwrap()).await;
        for engine in engines {
            engine.shutdown(Duration::ZERO).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminate_task_ends_the_run_once_against_its_siblings_end() {
    let database = database().await;
    let input = json!({"inputParameters": {"terminationStatus": "COMPLETED"}});
    let stop = step("TERMINATE", "stop", &input);
    let branches = json!([[short("a"), stop], [short("b")]]);
    let def = fork(&branches, &json!(["stop", "b"]), &[short("z")]);
    let engines = two(&database, &def).await;
    let ids = start(&engines).await;
    for run in ends(&engines, &ids).await {
        assert_eq!(run.status, WorkflowStatus::Completed);
        let stopped = run.task("stop").unwrap();
        assert_eq!(stopped.status, TaskStatus::Completed, "{run:#?}");
        let sibling = run.task("b").unwrap().status;
        assert!(matches!(sibling, TaskStatus::Completed | TaskStatus::Canceled), "{run:#?}");
        assert!(run.task("z").is_none(), "{run:#?}");
    }
    all_is_over(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_skipped_or_done_and_never_both() {
    let database = database().await;
    let branches = json!([[short("a"), short("s")], [short("b")]]);
    let def = fork(&branches, &json!(["s", "b"]), &[short("z")]);
    let engines = two(&database, &def).await;
    let ids = start(&engines).await;
    let mut skipped = Vec::new();
    for id in &ids {
        skipped.push(engines[1].skip(*id, "s", json!({}), json!({})).await.is_ok());
    }
    for (run, skipped) in ends(&engines, &ids).await.into_iter().zip(skipped) {
        assert_eq!(run.status, WorkflowStatus::Completed);
        let of_step: Vec<TaskStatus> = run
            .tasks
            .iter()
            .filter(|task| task.reference_task_name == "s")
            .map(|task| task.status)
            .collect();
        let expected = if skipped { TaskStatus::Skipped } else { TaskStatus::Completed };
        assert_eq!(of_step, [expected], "{run:#?}");
    }
    all_is_over(&database.connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_two_branches_in_two_engines_are_all_kept() {
    let database = database().await;
    let set = |name: &str| {
        let value = json!({"inputParameters": { name: 1 }});
        step("SET_VARIABLE", &format!("v{name}"), &value)
    };
    let branches = json!([[short("a"), set("x")], [short("b"), set("y")]]);
    for on in [json!(["vx", "vy"]), json!(["a"])] {
        let def = fork(&branches, &on, &[]);
        let engines = two(&database, &def).await;
        let ids = start(&engines).await;
        for run in ends(&engines, &ids).await {
            assert_eq!(run.variables, json!({"x": 1, "y": 1}), "{run:#?}");
        }
        all_is_over(&database.connect().await.unwrap()).await;
        for engine in engines {
            engine.shutdown(Duration::ZERO).await;
        }
    }
}
