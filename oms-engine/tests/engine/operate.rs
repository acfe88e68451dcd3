//! What operators do to runs: terminate, pause, resume, retry, restart, priority.

use std::time::Duration;

use crate::common::script::{After, Gate, Notes, Work, told, until_task};
use crate::common::{assert_nothing_stuck, database, until, wait};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Error, Execution, RetryOptions, StartRequest, TaskDef, TaskError, TaskStatus,
    WorkflowDef, WorkflowId, WorkflowStatus, WorkflowTask,
};
use serde_json::json;

use TaskStatus::{Canceled, Completed, CompletedWithErrors, Failed, InProgress};

fn policy(retries: i32) -> TaskDef {
    TaskDef::new("work").retry_count(retries).retry_delay(Duration::ZERO)
}

/// Work, then after.
fn two(name: &str, policy: TaskDef) -> WorkflowDef {
    let work =
        WorkflowTask::simple("work", "w").definition(policy).input("n", "${workflow.input.n}");
    let after = WorkflowTask::simple("after", "a").input("before", "${w.output.value}");
    WorkflowDef::builder(name).task(work).task(after).build().unwrap()
}

fn after() -> After {
    After::new(|cx, input| async move { Ok(json!({"key": cx.idempotency_key(), "got": input})) })
}

/// Waits at the gate in each attempt, then answers what the input's `fail` says for it.
fn gated(gate: &Gate) -> Work {
    let gate = gate.clone();
    Work::new(move |cx, _| {
        let gate = gate.clone();
        async move {
            gate.enter().await;
            Ok(json!({"value": cx.attempt()}))
        }
    })
}

/// Fails while its notes under `fail` are fewer than this.
fn fails(times: usize, notes: &Notes) -> Work {
    let notes = notes.clone();
    Work::new(move |cx, _| {
        notes.add("keys", cx.idempotency_key());
        notes.add("fail", "");
        let calls = notes.of("fail").len();
        async move {
            if calls <= times {
                return Err(TaskError::terminal(format!("call {calls}")));
            }
            Ok(json!({"value": calls}))
        }
    })
}

async fn start(engine: &Engine, def: &WorkflowDef) -> WorkflowId {
    engine.register_workflow(def).await.unwrap();
    engine.start(StartRequest::new(&def.name).input(json!({"n": 1}))).await.unwrap().id
}

fn statuses(run: &Execution) -> Vec<TaskStatus> {
    run.tasks.iter().map(|task| task.status).collect()
}

fn refused(done: Result<(), Error>, action: &str, why: &str) {
    match done {
        Err(Error::Conflict { action: found, reason, .. }) => {
            assert_eq!(found, action);
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("{action}: {other:?}"),
    }
}

async fn nothing_stuck(database: &TestDatabase) {
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn terminate_cancels_what_is_open_and_the_running_task_sees_it() {
    let database = database().await;
    let notes = Notes::default();
    let (inside, gate) = (notes.clone(), Gate::new());
    let entered = gate.clone();
    let work = Work::new(move |cx, _| {
        let (notes, gate) = (inside.clone(), entered.clone());
        async move {
            tokio::select! { () = gate.enter() => {} () = cx.cancelled() => {} }
            notes.add("seen", &cx.cancellation().is_cancelled());
            Ok(json!({"late": true}))
        }
    });
    let engine = told(&database).task(work).task(after()).build().await.unwrap();
    let id = start(&engine, &two("two", policy(3))).await;
    gate.entered().await;
    engine.terminate(id, "not wanted").await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Terminated, vec![Canceled]));
    assert_eq!(run.reason_for_incompletion.as_deref(), Some("not wanted"));
    assert_eq!(run.tasks[0].input_data, json!({"n": 1}));
    while notes.of("seen").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(notes.of("seen"), ["true"]);
    engine.terminate(id, "again").await.unwrap();
    let again = engine.get(id).await.unwrap();
    assert_eq!(again.reason_for_incompletion.as_deref(), Some("not wanted"));
    assert_eq!(statuses(&again), [Canceled]);
    nothing_stuck(&database).await;
}

#[tokio::test]
async fn terminate_takes_ready_and_delayed_tasks_and_refuses_a_completed_run() {
    let database = database().await;
    let work = Work::new(|_, _| async { Err(TaskError::retry("no")) });
    let engine = told(&database).task(work).task(after()).build().await.unwrap();
    let delayed =
        start(&engine, &two("delayed", policy(1).retry_delay(Duration::from_secs(99)))).await;
    let nobody = WorkflowDef::builder("nobody").task(WorkflowTask::simple("nobody", "n"));
    let ready = start(&engine, &nobody.build().unwrap()).await;
    until_task(&engine, delayed, "w", "SCHEDULED").await;
    for (id, wanted) in [(delayed, vec![Failed, Canceled]), (ready, vec![Canceled])] {
        until_task(&engine, id, if id == ready { "n" } else { "w" }, "SCHEDULED").await;
        let open = "SELECT true FROM oms_engine.open_tasks LIMIT 1";
        until(&database.connect().await.unwrap(), open).await;
        if id == delayed {
            let twice = "SELECT count(*) = 1 FROM oms_engine.task_history";
            until(&database.connect().await.unwrap(), twice).await;
        }
        engine.terminate(id, "").await.unwrap();
        assert_eq!(statuses(&engine.get(id).await.unwrap()), wanted);
    }
    let done = WorkflowDef::builder("done").task(WorkflowTask::simple("after", "a"));
    let done = start(&engine, &done.build().unwrap()).await;
    wait(&engine, done).await;
    refused(engine.terminate(done, "").await, "terminate", "it has ended COMPLETED");
    nothing_stuck(&database).await;
}

#[tokio::test]
async fn an_outcome_while_paused_becomes_history_and_resume_goes_on_from_it() {
    let database = database().await;
    let gate = Gate::new();
    let engine = told(&database).task(gated(&gate)).task(after()).build().await.unwrap();
    let id = start(&engine, &two("two", policy(0))).await;
    gate.entered().await;
    engine.pause(id).await.unwrap();
    engine.pause(id).await.unwrap();
    let run = engine.get(id).await.unwrap();
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Paused, vec![InProgress]));
    gate.open(1);
    until_task(&engine, id, "w", "COMPLETED").await;
    let run = engine.get(id).await.unwrap();
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Paused, vec![Completed]));
    nothing_stuck(&database).await;
    engine.resume(id).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Completed, vec![Completed; 2]));
    assert_eq!(run.tasks[1].input_data, json!({"before": 0}));
    assert!(run.last_retried_time.is_some());
    refused(engine.resume(id).await, "resume", "COMPLETED, not PAUSED");
    refused(engine.pause(id).await, "pause", "it has ended COMPLETED");
}

#[tokio::test]
async fn a_task_that_was_ready_when_its_run_was_paused_can_still_be_claimed() {
    let database = database().await;
    let starter = told(&database).build().await.unwrap();
    let id = start(&starter, &two("two", policy(0))).await;
    starter.pause(id).await.unwrap();
    let gate = Gate::new();
    gate.open(1);
    let engine = told(&database).task(gated(&gate)).task(after()).build().await.unwrap();
    until_task(&engine, id, "w", "COMPLETED").await;
    assert_eq!(statuses(&engine.get(id).await.unwrap()), [Completed]);
    starter.resume(id).await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Completed);
}

#[tokio::test]
async fn failures_while_paused_are_retried_or_end_the_run_after_resume() {
    let database = database().await;
    let (gate, passed) = (Gate::new(), Notes::default());
    let (inside, notes) = (gate.clone(), passed.clone());
    let work = Work::new(move |cx, _| {
        let (gate, notes) = (inside.clone(), notes.clone());
        async move {
            gate.enter().await;
            notes.add("w", &cx.attempt());
            Err(TaskError::retry("no"))
        }
    });
    let engine = told(&database).task(work).task(after()).build().await.unwrap();
    let id = start(&engine, &two("two", policy(1))).await;
    for attempt in 0..2 {
        gate.entered().await;
        engine.pause(id).await.unwrap();
        gate.open(1);
        until_task(&engine, id, "w", "FAILED").await;
        assert_eq!(engine.get(id).await.unwrap().tasks.len(), attempt + 1);
        engine.resume(id).await.unwrap();
    }
    let run = wait(&engine, id).await;
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Failed, vec![Failed; 2]));
    assert_eq!(passed.of("w"), ["0", "1"]);
    assert_eq!(run.failed_task_id.as_ref(), Some(&run.tasks[1].task_id));
}

#[tokio::test]
async fn an_optional_failure_while_paused_counts_as_completed_with_errors() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            Err(TaskError::terminal("no"))
        }
    });
    let engine = told(&database).task(work).task(after()).build().await.unwrap();
    let mut def = two("optional", policy(0));
    def.tasks[0].optional = true;
    let id = start(&engine, &def).await;
    gate.entered().await;
    engine.pause(id).await.unwrap();
    gate.open(1);
    until_task(&engine, id, "w", "COMPLETED_WITH_ERRORS").await;
    engine.resume(id).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(statuses(&run), [CompletedWithErrors, Completed]);
}

#[tokio::test]
async fn a_task_in_progress_while_paused_comes_back_to_its_queue() {
    let database = database().await;
    let gate = Gate::new();
    let inside = gate.clone();
    let work = Work::new(move |_, _| {
        let gate = inside.clone();
        async move {
            gate.enter().await;
            let wait = Duration::from_millis(100);
            Err(TaskError::in_progress(wait).with_output(json!({"half": true})))
        }
    });
    let engine = told(&database).task(work).task(after()).build().await.unwrap();
    let id = start(&engine, &two("two", policy(0))).await;
    gate.entered().await;
    engine.pause(id).await.unwrap();
    let begun = std::time::Instant::now();
    gate.open(1);
    // It is handed out again: the pause bars neither the timer nor the claim.
    gate.entered().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let task = engine.get(id).await.unwrap().tasks[0].clone();
    assert_eq!((task.poll_count, task.output_data), (2, json!({"half": true})));
    engine.terminate(id, "").await.unwrap();
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Terminated);
}

#[tokio::test]
async fn a_paused_run_can_be_terminated_also_where_its_outcome_is_parked() {
    let database = database().await;
    let gate = Gate::new();
    let engine = told(&database).task(gated(&gate)).task(after()).build().await.unwrap();
    let id = start(&engine, &two("two", policy(0))).await;
    gate.entered().await;
    engine.pause(id).await.unwrap();
    gate.open(1);
    until_task(&engine, id, "w", "COMPLETED").await;
    engine.terminate(id, "enough").await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, statuses(&run)), (WorkflowStatus::Terminated, vec![Completed]));
    nothing_stuck(&database).await;
    let nothing = "it has no task that could be retried";
    refused(engine.retry(id, RetryOptions::default()).await, "retry", nothing);
}

#[tokio::test]
async fn retry_gives_the_failed_step_another_attempt_under_the_same_key() {
    let database = database().await;
    let notes = Notes::default();
    let engine = told(&database).task(fails(1, &notes)).task(after()).build().await.unwrap();
    let id = start(&engine, &two("two", policy(5))).await;
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Failed);
    engine.retry(id, RetryOptions::default()).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let wanted = [TaskStatus::FailedWithTerminalError, Completed, Completed];
    assert_eq!(statuses(&run), wanted);
    assert_eq!((run.tasks[1].retry_count, run.tasks[1].seq), (1, 2));
    assert_eq!((run.reason_for_incompletion, run.failed_task_id), (None, None));
    let keys = notes.of("keys");
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
    refused(engine.retry(id, RetryOptions::default()).await, "retry", "it has ended COMPLETED");
}

#[tokio::test]
async fn retry_of_a_permissive_failure_repeats_it_and_not_what_went_well() {
    let database = database().await;
    let notes = Notes::default();
    let engine = told(&database).task(fails(1, &notes)).task(after()).build().await.unwrap();
    let mut def = two("permissive", policy(0));
    def.tasks[0].permissive = true;
    let id = start(&engine, &def).await;
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    assert_eq!(statuses(&run), [TaskStatus::FailedWithTerminalError, Completed]);
    engine.retry(id, RetryOptions::default()).await.unwrap();
    let run = wait(&engine, id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 3));
    assert_eq!(run.tasks[2].reference_task_name, "w");
    assert_eq!(run.output, run.tasks[2].output_data, "the task scheduled last");
}

#[tokio::test]
async fn a_terminated_or_timed_out_run_can_be_retried() {
    let database = database().await;
    let gate = Gate::new();
    let engine = told(&database).task(gated(&gate)).task(after()).build().await.unwrap();
    let mut timed = two("timed", policy(0));
    timed.timeout_seconds = 1;
    timed.timeout_policy = oms_engine::definition::WorkflowTimeoutPolicy::TimeOutWorkflow;
    let terminated = start(&engine, &two("terminated", policy(0))).await;
    let timed_out = start(&engine, &timed).await;
    gate.entered().await;
    gate.entered().await;
    refused(engine.retry(terminated, RetryOptions::default()).await, "retry", "is RUNNING");
    engine.terminate(terminated, "oops").await.unwrap();
    assert_eq!(wait(&engine, timed_out).await.status, WorkflowStatus::TimedOut);
    // Those that were canceled still wait at the gate.
    gate.open(4);
    for id in [terminated, timed_out] {
        engine.retry(id, RetryOptions::default()).await.unwrap();
        let run = wait(&engine, id).await;
        assert_eq!(run.status, WorkflowStatus::Completed, "{run:#?}");
        assert_eq!(statuses(&run), [Canceled, Completed, Completed]);
        assert_eq!(run.tasks[1].retry_count, 1);
        assert!(run.last_retried_time.is_some());
    }
}
