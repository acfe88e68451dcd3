//! Time-outs: of an attempt, of the wait for a worker, of all attempts, of the workflow.

use std::time::{Duration, Instant};

use crate::common::script::{After, Gate, Notes, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, until, wait};
use oms_engine::definition::{TimeoutPolicy, WorkflowTimeoutPolicy};
use oms_engine::{
    Engine, Execution, StartRequest, TaskDef, TaskError, TaskStatus, WorkflowDef, WorkflowId,
    WorkflowStatus, WorkflowTask,
};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
/// Later than this after its time a time-out is late for want of a wake-up.
const LATE: Duration = Duration::from_secs(2);

fn policy(retries: i32) -> TaskDef {
    let def = TaskDef::new("work").retry_count(retries).retry_delay(Duration::ZERO);
    def.response_timeout(SECOND)
}

fn work(name: &str, policy: TaskDef) -> WorkflowDef {
    let step = WorkflowTask::simple("work", "w").definition(policy);
    let after = WorkflowTask::simple("after", "a");
    WorkflowDef::builder(name).task(step).task(after).build().unwrap()
}

async fn start(engine: &Engine, def: &WorkflowDef) -> WorkflowId {
    engine.register_workflow(def).await.unwrap();
    engine.start(StartRequest::new(&def.name)).await.unwrap().id
}

fn statuses(run: &Execution) -> Vec<TaskStatus> {
    run.tasks.iter().map(|task| task.status).collect()
}

fn after() -> After {
    After::new(|_, _| async { Ok(json!({})) })
}

/// Hangs in its first attempt and notes what it saw of its end.
fn hangs_first(notes: &Notes) -> Work {
    let notes = notes.clone();
    Work::new(move |cx, _| {
        let notes = notes.clone();
        async move {
            if cx.attempt() > 0 {
                return Ok(json!({"attempt": cx.attempt()}));
            }
            notes.add("has a deadline", &cx.deadline().is_some());
            cx.cancelled().await;
            notes.add("canceled", cx.task_id());
            Ok(json!({"late": true}))
        }
    })
}

#[tokio::test]
async fn a_timed_out_attempt_is_retried_and_its_late_report_changes_nothing() {
    let database = database().await;
    let notes = Notes::default();
    let engine = told(&database).task(hangs_first(&notes)).task(after()).build().await.unwrap();
    let def = work("retry", policy(2).timeout(SECOND, TimeoutPolicy::Retry));
    let run = wait(&engine, start(&engine, &def).await).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{run:#?}");
    use TaskStatus::{Completed, TimedOut};
    assert_eq!(statuses(&run), [TimedOut, Completed, Completed]);
    let first = &run.tasks[0];
    let took = (first.end_time.unwrap() - first.start_time.unwrap()).to_std().unwrap();
    assert!(took >= SECOND && took < SECOND + LATE, "{took:?}");
    assert_eq!(first.output_data, json!({}));
    let reason = first.reason_for_incompletion.clone().unwrap();
    let wanted = format!("timeoutSeconds: 1 exceeded for the taskId: {}", first.task_id);
    assert!(reason.starts_with(&wanted), "{reason}");
    assert_eq!(run.tasks[1].output_data, json!({"attempt": 1}));
    assert_eq!(notes.of("has a deadline"), ["true"]);
    assert_eq!(notes.of("canceled"), std::slice::from_ref(&first.task_id));
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn the_policy_time_out_wf_ends_the_workflow_at_once_even_with_retries_left() {
    let database = database().await;
    let notes = Notes::default();
    let engine = told(&database).task(hangs_first(&notes)).task(after()).build().await.unwrap();
    let def = work("ends", policy(5).timeout(SECOND, TimeoutPolicy::TimeOutWorkflow));
    let run = wait(&engine, start(&engine, &def).await).await;
    assert_eq!(run.status, WorkflowStatus::TimedOut);
    assert_eq!(statuses(&run), [TaskStatus::TimedOut]);
    assert_eq!(run.failed_task_id.as_ref(), Some(&run.tasks[0].task_id));
    let reason = run.reason_for_incompletion.unwrap();
    assert!(reason.contains("failed with status: TIMED_OUT"), "{reason}");
}

#[tokio::test]
async fn the_policy_alert_only_lets_the_task_go_on_and_complete() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let body = Work::new(move |cx, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(json!({"canceled": cx.cancellation().is_cancelled()}))
        }
    });
    let engine = told(&database).task(body).task(after()).build().await.unwrap();
    let alert = policy(0).timeout(SECOND, TimeoutPolicy::AlertOnly).total_timeout(SECOND * 2);
    let id = start(&engine, &work("alert", alert.poll_timeout(SECOND))).await;
    gate.entered().await;
    // Both of its times have passed when nothing is due any more.
    let client = database.connect().await.unwrap();
    until(&client, "SELECT bool_and(due_at IS NULL) FROM oms_engine.open_tasks").await;
    assert_eq!(engine.get(id).await.unwrap().tasks[0].status, TaskStatus::InProgress);
    gate.open(1);
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_eq!(run.tasks[0].output_data, json!({"canceled": false}));
    assert_eq!(run.tasks.len(), 2);
}

#[tokio::test]
async fn a_task_that_no_worker_polls_times_out() {
    let database = database().await;
    let engine = told(&database).build().await.unwrap();
    let ends = policy(3).poll_timeout(SECOND).timeout(SECOND, TimeoutPolicy::TimeOutWorkflow);
    let retries = policy(1).poll_timeout(SECOND).timeout(SECOND, TimeoutPolicy::Retry);
    let ends = start(&engine, &work("ends", ends)).await;
    let retries = start(&engine, &work("retries", retries)).await;
    let run = wait(&engine, ends).await;
    assert_eq!(run.status, WorkflowStatus::TimedOut);
    assert_eq!(statuses(&run), [TaskStatus::TimedOut]);
    let waited = run.tasks[0].end_time.unwrap() - run.tasks[0].scheduled_time;
    assert!(waited.to_std().unwrap() >= SECOND, "early: {waited}");
    assert_eq!((run.tasks[0].poll_count, run.tasks[0].start_time), (0, None));
    let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
    assert!(reason.starts_with("pollTimeoutSeconds: 1 exceeded"), "{reason}");
    let run = wait(&engine, retries).await;
    assert_eq!(run.status, WorkflowStatus::TimedOut);
    assert_eq!(statuses(&run), [TaskStatus::TimedOut, TaskStatus::TimedOut]);
}

#[tokio::test]
async fn all_attempts_together_have_a_time_of_their_own() {
    let database = database().await;
    let body = Work::new(|cx, _| async move {
        if cx.attempt() == 0 {
            return Err(TaskError::retry("not yet"));
        }
        cx.cancelled().await;
        Ok(json!({}))
    });
    let engine = told(&database).task(body).task(after()).build().await.unwrap();
    let total = |retries| policy(retries).total_timeout(SECOND * 2);
    let running = work("running", total(9).timeout(SECOND * 2, TimeoutPolicy::Retry));
    let delayed = total(9).retry_delay(Duration::from_secs(60));
    let delayed = work("delayed", delayed.timeout(SECOND * 2, TimeoutPolicy::Retry));
    let running = start(&engine, &running).await;
    let delayed = start(&engine, &delayed).await;
    for id in [running, delayed] {
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::TimedOut, "{run:#?}");
        assert_eq!(statuses(&run), [TaskStatus::Failed, TaskStatus::TimedOut]);
        let took = run.tasks[1].end_time.unwrap() - run.tasks[0].scheduled_time;
        let took = took.to_std().unwrap();
        assert!(took >= SECOND * 2 && took < SECOND * 2 + LATE, "{took:?}");
        let reason = run.tasks[1].reason_for_incompletion.clone().unwrap();
        assert!(reason.starts_with("totalTimeoutSeconds: 2 exceeded"), "{reason}");
    }
}

#[tokio::test]
async fn the_time_of_all_attempts_goes_on_while_the_workflow_is_paused() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let body = Work::new(move |cx, _| {
        let gate = inside.clone();
        async move {
            if cx.attempt() == 0 {
                gate.enter().await;
                return Err(TaskError::retry("not yet"));
            }
            cx.cancelled().await;
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(body).task(after()).build().await.unwrap();
    let total = policy(9).total_timeout(SECOND * 2).timeout(SECOND * 2, TimeoutPolicy::Retry);
    let id = start(&engine, &work("paused", total)).await;
    gate.entered().await;
    engine.pause(id).await.unwrap();
    gate.open(1);
    until_task(&engine, id, "w", "FAILED").await;
    tokio::time::sleep(SECOND).await;
    engine.resume(id).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(statuses(&run), [TaskStatus::Failed, TaskStatus::TimedOut]);
    let took = run.tasks[1].end_time.unwrap() - run.tasks[0].scheduled_time;
    assert!(took.to_std().unwrap() < SECOND * 2 + LATE / 2, "{took}");
}

#[tokio::test]
async fn the_workflow_s_own_time_out_cancels_what_is_open() {
    let database = database().await;
    let notes = Notes::default();
    let engine = told(&database).task(hangs_first(&notes)).task(after()).build().await.unwrap();
    let first = WorkflowTask::simple("after", "a");
    let second = WorkflowTask::simple("work", "w").definition(policy(0).response_timeout(SECOND));
    let def = WorkflowDef::builder("own").task(first).task(second).output("kept", "${a.status}");
    let def = def.timeout(SECOND, WorkflowTimeoutPolicy::TimeOutWorkflow).build().unwrap();
    let run = wait(&engine, start(&engine, &def).await).await;
    assert_eq!(run.status, WorkflowStatus::TimedOut);
    assert_eq!(statuses(&run), [TaskStatus::Completed, TaskStatus::Canceled]);
    assert_eq!(run.reason_for_incompletion.as_deref(), Some("Workflow timed out after 1 seconds"));
    assert_eq!(run.output, json!({"kept": "COMPLETED"}));
    let took = (run.end_time.unwrap() - run.create_time).to_std().unwrap();
    assert!(took >= SECOND && took < SECOND + LATE, "{took:?}");
    let begun = Instant::now();
    while notes.of("canceled").is_empty() {
        assert!(begun.elapsed() < LATE, "the running task never saw its cancellation");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = engine.get(run.workflow_id).await.unwrap();
    assert_eq!(statuses(&again), [TaskStatus::Completed, TaskStatus::Canceled]);
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn the_workflow_s_own_time_out_that_only_alerts_lets_it_complete() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let body = Work::new(move |_, input: Value| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Ok(input)
        }
    });
    let engine = told(&database).task(body).build().await.unwrap();
    let def = WorkflowDef::builder("alert").task(WorkflowTask::simple("work", "w"));
    let def = def.timeout(SECOND, WorkflowTimeoutPolicy::AlertOnly).build().unwrap();
    let id = start(&engine, &def).await;
    gate.entered().await;
    let client = database.connect().await.unwrap();
    until(&client, "SELECT bool_and(deadline IS NULL) FROM oms_engine.workflows").await;
    assert_eq!(engine.get(id).await.unwrap().status, WorkflowStatus::Running);
    gate.open(1);
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
}

#[tokio::test]
async fn a_time_out_is_seen_by_an_engine_that_did_not_start_the_run() {
    let database = database().await;
    let watcher = told(&database).build().await.unwrap();
    let starter = told(&database).task(after()).build().await.unwrap();
    let id = start(&starter, &work("orphan", policy(0).poll_timeout(SECOND))).await;
    starter.shutdown(SECOND).await;
    let run = tokio::time::timeout(SECOND + LATE, watcher.wait(id)).await.unwrap().unwrap();
    assert_eq!(run.status, WorkflowStatus::TimedOut);
}
