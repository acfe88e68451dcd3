//! Attempts: how many, how long after each other, with what they carry on.

use std::time::Duration;

use crate::common::script::{After, Notes, Work, told};
use crate::common::{assert_nothing_stuck, database, wait};
use oms_engine::definition::RetryLogic;
use oms_engine::{
    Engine, Execution, StartRequest, Task, TaskContext, TaskDef, TaskError, TaskExecution,
    TaskStatus, WorkflowDef, WorkflowStatus, WorkflowTask,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Later than this after its time an attempt is late for want of a wake-up.
const LATE: Duration = Duration::from_secs(2);

fn work(name: &str, policy: TaskDef) -> WorkflowDef {
    let step =
        WorkflowTask::simple("work", "w").definition(policy).input("n", "${workflow.input.n}");
    WorkflowDef::builder(name).task(step).build().unwrap()
}

fn policy(retries: i32) -> TaskDef {
    TaskDef::new("work").retry_count(retries).retry_delay(Duration::ZERO)
}

async fn run(engine: &Engine, def: &WorkflowDef) -> Execution {
    engine.register_workflow(def).await.unwrap();
    let id = engine.start(StartRequest::new(&def.name)).await.unwrap().id;
    wait(engine, id).await
}

/// From the end of an attempt to the start of the next.
fn pauses(tasks: &[TaskExecution]) -> Vec<Duration> {
    let starts_after = |pair: &[TaskExecution]| {
        (pair[1].start_time.unwrap() - pair[0].end_time.unwrap()).to_std().unwrap()
    };
    tasks.windows(2).map(starts_after).collect()
}

fn assert_pauses(run: &Execution, seconds: &[u64]) {
    let found = pauses(&run.tasks);
    assert_eq!(found.len(), seconds.len(), "{run:#?}");
    for (found, wanted) in found.iter().zip(seconds) {
        let wanted = Duration::from_secs(*wanted);
        assert!(*found >= wanted && *found < wanted + LATE, "{found:?}, not {wanted:?}");
    }
}

#[tokio::test]
async fn delays_are_those_of_the_policy_and_never_early() {
    let database = database().await;
    let fail = Work::new(|_, _| async { Err(TaskError::retry("no")) });
    let engine = told(&database).task(fail).build().await.unwrap();
    let second = Duration::from_secs(1);
    let fixed = work("fixed", policy(2).retry_delay(second));
    let linear = policy(2).retry_delay(second).retry_logic(RetryLogic::LinearBackoff);
    let linear = work("linear", linear.backoff_scale_factor(2));
    let exponential = policy(3).retry_delay(second).retry_logic(RetryLogic::ExponentialBackoff);
    let exponential = work("exponential", exponential.max_retry_delay(Duration::from_secs(3)));
    let jitter = policy(1).retry_delay(second).backoff_jitter(Duration::from_secs(1));
    let jitter = work("jitter", jitter);
    let (fixed, linear, exponential, jitter) = tokio::join!(
        run(&engine, &fixed),
        run(&engine, &linear),
        run(&engine, &exponential),
        run(&engine, &jitter),
    );
    assert_pauses(&fixed, &[1, 1]);
    assert_pauses(&linear, &[2, 4]);
    assert_pauses(&exponential, &[1, 2, 3]);
    assert_pauses(&jitter, &[1]);
    for run in [fixed, linear, exponential] {
        assert_eq!(run.status, WorkflowStatus::Failed);
    }
}

#[tokio::test]
async fn an_attempt_follows_each_failure_until_the_count_is_used_up() {
    let database = database().await;
    let fail =
        Work::new(|cx, _| async move { Err(TaskError::retry(format!("no {}", cx.attempt()))) });
    let engine = told(&database).task(fail).build().await.unwrap();
    for retries in [0, 1, 4] {
        let run = run(&engine, &work(&format!("r{retries}"), policy(retries))).await;
        assert_eq!(run.status, WorkflowStatus::Failed);
        assert_eq!(run.tasks.len(), usize::try_from(retries).unwrap() + 1);
        for (n, task) in run.tasks.iter().enumerate() {
            assert_eq!((usize::try_from(task.retry_count).unwrap(), task.seq), (n, n + 1));
            assert_eq!(task.status, TaskStatus::Failed);
            assert_eq!(task.reason_for_incompletion, Some(format!("no {n}")));
            assert_eq!(task.retried, n + 1 < run.tasks.len());
        }
        let last = run.tasks.last().unwrap();
        let reason =
            format!("Task {} failed with status: FAILED and reason: 'no {retries}'", last.task_id);
        assert_eq!(run.reason_for_incompletion, Some(reason));
        assert_eq!(run.failed_task_id, Some(last.task_id.clone()));
        assert_eq!(run.failed_reference_task_names, ["w"]);
    }
    assert_nothing_stuck(&database.connect().await.unwrap()).await;
}

#[tokio::test]
async fn the_step_s_own_count_goes_before_the_definition_s() {
    let database = database().await;
    let fail = Work::new(|_, _| async { Err(TaskError::retry("no")) });
    let engine = told(&database).task(fail).build().await.unwrap();
    let step = WorkflowTask::simple("work", "w").definition(policy(5)).retries(1);
    let run = run(&engine, &WorkflowDef::builder("own").task(step).build().unwrap()).await;
    assert_eq!(run.tasks.len(), 2);
}

#[tokio::test]
async fn a_terminal_error_is_not_retried() {
    let database = database().await;
    let fail = Work::new(|_, _| async {
        Err(TaskError::terminal("never").with_output(json!({"code": 7})))
    });
    let engine = told(&database).task(fail).build().await.unwrap();
    let run = run(&engine, &work("terminal", policy(5))).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Failed, 1));
    assert_eq!(run.tasks[0].status, TaskStatus::FailedWithTerminalError);
    assert_eq!(run.tasks[0].output_data, json!({"code": 7}));
    assert_eq!(run.tasks[0].reason_for_incompletion.as_deref(), Some("never"));
}

#[tokio::test]
async fn a_worker_s_own_delay_goes_before_the_policy_s() {
    let database = database().await;
    let work_body = Work::new(|cx, _| async move {
        match cx.attempt() {
            0 => Err(TaskError::retry_after(Duration::from_millis(300), "busy")),
            // The longest delay there is must not break the statement that stores it.
            1 => Err(TaskError::retry_after(Duration::MAX, "for ever")),
            _ => Ok(json!({})),
        }
    });
    let engine = told(&database).task(work_body).build().await.unwrap();
    let def = work("after", policy(3).retry_delay(Duration::from_secs(600)));
    engine.register_workflow(&def).await.unwrap();
    let id = engine.start(StartRequest::new("after")).await.unwrap().id;
    let client = database.connect().await.unwrap();
    let far = "SELECT EXISTS (SELECT FROM oms_engine.open_tasks
        WHERE attempt = 2 AND state = 2 AND due_at > statement_timestamp() + interval '1 year')";
    crate::common::until(&client, far).await;
    let run = engine.get(id).await.unwrap();
    let pause = pauses(&run.tasks[..2])[0];
    assert!(pause >= Duration::from_millis(300) && pause < LATE, "{pause:?}");
    assert_eq!(run.tasks[2].status, TaskStatus::Scheduled);
}

#[tokio::test]
async fn the_reason_is_kept_on_the_next_attempt_and_cleared_by_its_success() {
    let database = database().await;
    let gate = crate::common::script::Gate::new();
    let inside = gate.clone();
    let work_body = Work::new(move |cx, _| {
        let gate = inside.clone();
        async move {
            if cx.attempt() == 0 {
                return Err(TaskError::retry("first time"));
            }
            gate.enter().await;
            Ok(json!({}))
        }
    });
    let engine = told(&database).task(work_body).build().await.unwrap();
    engine.register_workflow(&work("kept", policy(1))).await.unwrap();
    let id = engine.start(StartRequest::new("kept")).await.unwrap().id;
    gate.entered().await;
    let open = engine.get(id).await.unwrap();
    assert_eq!(open.tasks[1].status, TaskStatus::InProgress);
    assert_eq!(open.tasks[1].reason_for_incompletion.as_deref(), Some("first time"));
    gate.open(1);
    let run = wait(&engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert_eq!(run.tasks[1].reason_for_incompletion, None);
    assert_eq!(run.failed_reference_task_names, ["w"]);
}

#[tokio::test]
async fn the_idempotency_key_is_equal_over_attempts_and_the_task_id_is_not() {
    let database = database().await;
    let notes = Notes::default();
    let inside = notes.clone();
    let work_body = Work::new(move |cx, _| {
        inside.add("key", cx.idempotency_key());
        inside.add("id", cx.task_id());
        async move {
            match cx.attempt() {
                0 => Err(TaskError::retry("no")),
                1 => panic!("no"),
                _ => Ok(json!({})),
            }
        }
    });
    let engine = told(&database).task(work_body).build().await.unwrap();
    let run = run(&engine, &work("key", policy(3))).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let key = oms_engine::idempotency_key(run.workflow_id, "w", 0);
    assert_eq!(notes.of("key"), [key.clone(), key.clone(), key]);
    let ids: Vec<String> = run.tasks.iter().map(|task| task.task_id.clone()).collect();
    assert_eq!(notes.of("id"), ids);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn a_panic_fails_the_attempt_and_nothing_else() {
    let database = database().await;
    let work_body = Work::new(|cx, _| async move {
        assert!(cx.attempt() > 0, "the shelf is broken");
        Ok(json!({}))
    });
    let engine = told(&database).task(work_body).build().await.unwrap();
    let run = run(&engine, &work("panic", policy(1))).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
    assert_eq!(reason, "the task panicked: the shelf is broken");
}

#[derive(Debug, Deserialize)]
struct Order {
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    quantity: u32,
}

struct Typed;

impl Task for Typed {
    const NAME: &'static str = "typed";
    type Input = Order;
    type Output = u32;

    async fn run(&self, _cx: &TaskContext, input: Order) -> Result<u32, TaskError> {
        Ok(input.lines.iter().map(|line| line.quantity).sum())
    }
}

#[tokio::test]
async fn an_input_that_does_not_fit_the_type_fails_terminally_and_names_the_place() {
    let database = database().await;
    let engine = told(&database).task(Typed).build().await.unwrap();
    let step = WorkflowTask::simple("typed", "t").input("lines", "${workflow.input.lines}");
    let def = WorkflowDef::builder("typed").task(step).build().unwrap();
    engine.register_workflow(&def).await.unwrap();
    let start =
        |lines: Value| engine.start(StartRequest::new("typed").input(json!({"lines": lines})));
    let good = start(json!([{"quantity": 2}, {"quantity": 3}])).await.unwrap();
    assert_eq!(wait(&engine, good.id).await.output, json!({"result": 5}));
    let bad = start(json!([{"quantity": 2}, {"quantity": "three"}])).await.unwrap();
    let run = wait(&engine, bad.id).await;
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Failed, 1));
    assert_eq!(run.tasks[0].status, TaskStatus::FailedWithTerminalError);
    let reason = run.tasks[0].reason_for_incompletion.clone().unwrap();
    assert!(reason.contains("lines[1].quantity") && reason.contains("three"), "{reason}");
}

fn then_after(name: &str, first: WorkflowTask) -> WorkflowDef {
    let after = WorkflowTask::simple("after", "a").input("before", "${w.status}");
    WorkflowDef::builder(name).task(first.definition(policy(1))).task(after).build().unwrap()
}

#[tokio::test]
async fn an_optional_step_that_fails_lets_the_workflow_complete() {
    let database = database().await;
    let fail = Work::new(|_, _| async { Err(TaskError::retry("no")) });
    let after = After::new(|_, input| async move { Ok(input) });
    let engine = told(&database).task(fail).task(after).build().await.unwrap();
    let def = then_after("optional", WorkflowTask::simple("work", "w").optional());
    let run = run(&engine, &def).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    let statuses: Vec<TaskStatus> = run.tasks.iter().map(|task| task.status).collect();
    use TaskStatus::{Completed, CompletedWithErrors, Failed};
    assert_eq!(statuses, [Failed, CompletedWithErrors, Completed]);
    assert_eq!(run.output, json!({"before": "COMPLETED_WITH_ERRORS"}));
}

#[tokio::test]
async fn a_permissive_step_that_fails_lets_the_flow_go_on_and_the_workflow_fail_at_its_end() {
    let database = database().await;
    let fail = Work::new(|_, _| async { Err(TaskError::retry("no stock")) });
    let after = After::new(|_, input| async move { Ok(input) });
    let engine = told(&database).task(fail).task(after).build().await.unwrap();
    let def = then_after("permissive", WorkflowTask::simple("work", "w").permissive());
    let run = run(&engine, &def).await;
    assert_eq!(run.status, WorkflowStatus::Failed);
    let statuses: Vec<TaskStatus> = run.tasks.iter().map(|task| task.status).collect();
    use TaskStatus::{Completed, Failed};
    assert_eq!(statuses, [Failed, Failed, Completed]);
    assert_eq!(run.output, json!({"before": "FAILED"}));
    let reason = run.reason_for_incompletion.clone().unwrap();
    assert!(reason.contains("no stock"), "{reason}");
    assert_eq!(run.failed_task_id.as_ref(), Some(&run.tasks[1].task_id));
}

#[tokio::test]
async fn a_task_in_progress_is_handed_out_again_as_the_same_attempt() {
    let database = database().await;
    let notes = Notes::default();
    let inside = notes.clone();
    let work_body = Work::new(move |cx, _| {
        inside.add("id", cx.task_id());
        let calls = inside.of("id").len();
        async move {
            if calls < 3 {
                let wait = Duration::from_millis(400);
                return Err(TaskError::in_progress(wait).with_output(json!({"calls": calls})));
            }
            Ok(json!({"calls": calls}))
        }
    });
    let after = After::new(|_, _| async { Ok(json!({})) });
    let engine = told(&database).task(work_body).task(after).build().await.unwrap();
    engine
        .register_workflow(&then_after("again", WorkflowTask::simple("work", "w")))
        .await
        .unwrap();
    let begun = std::time::Instant::now();
    let id = engine.start(StartRequest::new("again")).await.unwrap().id;
    let client = database.connect().await.unwrap();
    let kept = "SELECT coalesce(bool_or(output->>'calls' = '1' AND state = 2), false)
        FROM oms_engine.open_tasks";
    crate::common::until(&client, kept).await;
    let run = wait(&engine, id).await;
    assert!(begun.elapsed() >= Duration::from_millis(800), "called back early");
    assert!(begun.elapsed() < LATE * 2, "called back late: {:?}", begun.elapsed());
    assert_eq!((run.status, run.tasks.len()), (WorkflowStatus::Completed, 2));
    let task = &run.tasks[0];
    assert_eq!((task.seq, task.retry_count, task.poll_count), (1, 0, 3));
    assert_eq!(task.output_data, json!({"calls": 3}));
    assert_eq!(notes.of("id"), vec![task.task_id.clone(); 3]);
}

#[tokio::test]
async fn a_start_delay_holds_the_first_attempt_back_and_no_later_one() {
    let database = database().await;
    let second = Duration::from_secs(1);
    let before = After::new(|_, _| async { Ok(json!({})) });
    let work_body = Work::new(|cx, _| async move {
        if cx.attempt() == 0 { Err(TaskError::retry("once")) } else { Ok(json!({})) }
    });
    let engine = told(&database).task(before).task(work_body).build().await.unwrap();
    let delayed = || WorkflowTask::simple("work", "w").definition(policy(1)).start_delay(second);
    let first = WorkflowDef::builder("first").task(delayed()).build().unwrap();
    let later = WorkflowDef::builder("later").task(WorkflowTask::simple("after", "a"));
    let later = later.task(delayed()).build().unwrap();
    for def in [first, later] {
        let run = run(&engine, &def).await;
        assert_eq!(run.status, WorkflowStatus::Completed);
        let [.., delayed, retry] = run.tasks.as_slice() else { panic!("{run:#?}") };
        let waited = (delayed.start_time.unwrap() - delayed.scheduled_time).to_std().unwrap();
        assert!(waited >= second && waited < second + LATE, "{waited:?}");
        assert!((retry.start_time.unwrap() - retry.scheduled_time).num_milliseconds() < 900);
    }
}
