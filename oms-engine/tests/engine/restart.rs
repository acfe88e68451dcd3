//! Restart, priority, and actions on runs that do not exist.

use std::time::Duration;

use crate::common::script::{After, Gate, Notes, Undo, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, wait};
use oms_engine::{
    Engine, Error, Execution, RestartOptions, RetryOptions, StartRequest, TaskDef, TaskError,
    TaskStatus, WorkflowDef, WorkflowId, WorkflowStatus, WorkflowTask,
};
use serde_json::json;

fn steps(name: &str, tasks: &[&str]) -> WorkflowDef {
    let step = |task: &&str| {
        let once = TaskDef::new(*task).retry_count(0);
        WorkflowTask::simple(*task, *task).definition(once).input("n", "${workflow.input.n}")
    };
    tasks
        .iter()
        .map(step)
        .fold(WorkflowDef::builder(name), |def, step| def.task(step))
        .build()
        .unwrap()
}

async fn start(engine: &Engine, def: &WorkflowDef) -> WorkflowId {
    engine.register_workflow(def).await.unwrap();
    engine.start(StartRequest::new(&def.name).input(json!({"n": 1}))).await.unwrap().id
}

async fn restarted(engine: &Engine, id: WorkflowId, options: RestartOptions) -> Execution {
    engine.restart(id, options).await.unwrap();
    wait(engine, id).await
}

fn references(run: &Execution) -> Vec<&str> {
    run.tasks.iter().map(|task| task.reference_task_name.as_str()).collect()
}

#[tokio::test]
async fn restart_hides_history_and_a_key_changes_only_for_steps_that_had_completed() {
    let database = database().await;
    let notes = Notes::default();
    let (one, two, three) = (notes.clone(), notes.clone(), notes.clone());
    let work = Work::new(move |cx, _| {
        one.add("work", cx.idempotency_key());
        async { Ok(json!({})) }
    });
    let undo = Undo::new(move |cx, _| {
        two.add("undo", cx.idempotency_key());
        async { Err(TaskError::terminal("optional, and failed after it was charged")) }
    });
    let after = After::new(move |cx, _| {
        three.add("after", cx.idempotency_key());
        let calls = three.of("after").len();
        async move { if calls == 1 { Err(TaskError::terminal("no")) } else { Ok(json!({})) } }
    });
    let engine = told(&database).task(work).task(undo).task(after).build().await.unwrap();
    let mut def = steps("three", &["work", "undo", "after"]);
    def.tasks[1].optional = true;
    let id = start(&engine, &def).await;
    let first = wait(&engine, id).await;
    assert_eq!((first.status, first.epoch), (WorkflowStatus::Failed, 0));
    let second = restarted(&engine, id, RestartOptions::default()).await;
    assert_eq!((second.status, second.epoch), (WorkflowStatus::Completed, 1));
    assert_eq!(references(&second), ["work", "undo", "after"]);
    assert!(second.tasks.iter().all(|task| task.retry_count == 0));
    assert!(second.tasks.iter().enumerate().all(|(n, task)| task.seq == n + 1));
    assert!(second.create_time > first.create_time);
    assert_eq!((&second.input, second.reason_for_incompletion.as_ref()), (&first.input, None));
    let third = restarted(&engine, id, RestartOptions::default()).await;
    assert_eq!((third.status, third.epoch), (WorkflowStatus::Completed, 2));
    assert_eq!(references(&third), ["work", "undo", "after"]);
    let key = |task: &str, n| oms_engine::idempotency_key(id, task, n);
    assert_eq!(notes.of("work"), [key("work", 0), key("work", 1), key("work", 2)]);
    assert_eq!(notes.of("undo"), [key("undo", 0), key("undo", 0), key("undo", 0)]);
    assert_eq!(notes.of("after"), [key("after", 0), key("after", 0), key("after", 1)]);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn restart_stays_on_its_definition_unless_the_latest_is_asked_for() {
    let database = database().await;
    let done = |_, _| async { Ok(json!({})) };
    let engine =
        told(&database).task(Work::new(done)).task(After::new(done)).build().await.unwrap();
    let id = start(&engine, &steps("def", &["work"])).await;
    wait(&engine, id).await;
    engine.register_workflow(&steps("def", &["work", "after"])).await.unwrap();
    let run = restarted(&engine, id, RestartOptions::default()).await;
    assert_eq!((references(&run), run.workflow_version), (vec!["work"], 1));
    let mut version_2 = steps("def", &["after"]);
    version_2.version = 2;
    engine.register_workflow(&version_2).await.unwrap();
    let run = restarted(&engine, id, RestartOptions::on_latest_definition()).await;
    assert_eq!((references(&run), run.workflow_version), (vec!["after"], 2));
    let run = restarted(&engine, id, RestartOptions::default()).await;
    assert_eq!((references(&run), run.workflow_version), (vec!["after"], 2));
}

#[tokio::test]
async fn restart_is_refused_while_it_runs_and_where_the_definition_forbids_it() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(work).build().await.unwrap();
    let mut def = steps("once", &["work"]);
    def.restartable = false;
    let id = start(&engine, &def).await;
    gate.entered().await;
    let restart = || engine.restart(id, RestartOptions::default());
    let refused = restart().await.unwrap_err().to_string();
    assert_eq!(refused, format!("cannot restart workflow {id}: it is RUNNING and has not ended"));
    // What has not completed may be restarted all the same.
    engine.terminate(id, "").await.unwrap();
    restart().await.unwrap();
    gate.entered().await;
    gate.open(2);
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
    let refused = restart().await.unwrap_err().to_string();
    assert!(refused.contains("not restartable"), "{refused}");
}

#[tokio::test]
async fn a_restart_while_an_attempt_of_before_still_runs_ignores_its_report() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |cx, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({"epoch": cx.task_id().epoch}))
        }
    });
    let engine = told(&database).task(work).build().await.unwrap();
    let id = start(&engine, &steps("def", &["work"])).await;
    gate.entered().await;
    engine.terminate(id, "").await.unwrap();
    engine.restart(id, RestartOptions::default()).await.unwrap();
    gate.entered().await;
    gate.open(2);
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.output), (WorkflowStatus::Completed, json!({"epoch": 1})));
    assert_eq!(run.tasks.len(), 1);
}

#[tokio::test]
async fn a_new_priority_counts_for_ready_tasks_at_once_and_for_those_that_run() {
    let database = database().await;
    let (gate, notes) = (Gate::new(), Notes::default());
    let (inside, order) = (gate.clone(), notes.clone());
    let work = Work::new(move |cx, _| {
        let (gate, order) = (inside.clone(), order.clone());
        async move {
            order.add("order", &cx.workflow_id());
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let done = After::new(|_, _| async { Ok(json!({})) });
    let engine = told(&database).task(work).task(done).concurrency(1).build().await.unwrap();
    let def = steps("def", &["work", "after"]);
    let first = start(&engine, &def).await;
    gate.entered().await;
    let (second, third) = (start(&engine, &def).await, start(&engine, &def).await);
    for id in [second, third] {
        until_task(&engine, id, "work", "SCHEDULED").await;
    }
    engine.set_priority(third, 99).await.unwrap();
    engine.set_priority(first, 50).await.unwrap();
    assert_eq!(engine.get(third).await.unwrap().priority, 99);
    gate.open(3);
    for id in [first, second, third] {
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        assert!(run.tasks.iter().all(|task| task.status == TaskStatus::Completed));
    }
    assert_eq!(notes.of("order"), [first, third, second].map(|id| id.to_string()));
    let refused = engine.set_priority(first, 1).await.unwrap_err().to_string();
    assert!(refused.contains("set the priority of") && refused.contains("COMPLETED"), "{refused}");
    for priority in [-1, 100, i32::MAX] {
        let refused = engine.set_priority(first, priority).await.unwrap_err().to_string();
        assert_eq!(refused, format!("priority refused: {priority} is not within 0 to 99"));
    }
}

#[tokio::test]
async fn an_id_that_no_run_has_is_said_to_be_unknown() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    let id = WorkflowId::new();
    let short = Duration::from_secs(10);
    let done = [
        engine.terminate(id, "x").await,
        engine.pause(id).await,
        engine.resume(id).await,
        engine.retry(id, RetryOptions::default()).await,
        engine.restart(id, RestartOptions::default()).await,
        engine.set_priority(id, 1).await,
        engine.get(id).await.map(drop),
        tokio::time::timeout(short, engine.wait(id)).await.unwrap().map(drop),
    ];
    for done in done {
        assert!(matches!(done, Err(Error::WorkflowNotFound(found)) if found == id), "{done:?}");
    }
}
