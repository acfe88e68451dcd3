//! Conductor's rules for straight lines, one case each.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::{Model, OpenTask, Outcome, Token, end_of};
use super::play::Move;
use super::random::compiled;
use crate::decide::{DecideError, Event, Plan, TaskStatus, TimeoutKind, WorkflowStatus, decide};
use crate::definition::{RetryLogic, TaskDef, TimeoutPolicy, WorkflowDef, WorkflowTask};
use crate::ids::idempotency_key;

const ID: &str = "00000000-0000-0000-0000-000000000000";

fn pay() -> TaskDef {
    TaskDef { retry_count: 2, retry_delay_seconds: 5, ..TaskDef::default_for("pay") }
}

fn two_steps(first: WorkflowTask, def: TaskDef) -> Plan {
    let tasks = vec![first, WorkflowTask::simple("ship", "ship_ref")];
    compiled(WorkflowDef { tasks, ..WorkflowDef::default() }, vec![def])
}

fn pay_task() -> WorkflowTask {
    WorkflowTask::simple("pay", "pay_ref")
}

fn run(plan: Plan, outcomes: impl IntoIterator<Item = Outcome>) -> Model {
    let mut model = Model::start(plan, json!({ "x": 1 }));
    for outcome in outcomes {
        model.report(outcome);
    }
    model
}

fn open(model: &Model) -> &OpenTask {
    match &model.token {
        Some(Token::Task { open, .. }) => open,
        token => panic!("{token:?} is no open task"),
    }
}

fn opened(model: &Model) -> (&str, i16, u64) {
    let open = open(model);
    (&open.node.reference_name, open.attempt, open.delay.as_secs())
}

fn reason(model: &Model) -> &str {
    model.reason.as_deref().unwrap_or_default()
}

fn output(model: &Model) -> Value {
    model.end.as_ref().map_or(Value::Null, |end| end.output.as_deref().cloned().unwrap_or_default())
}

#[test]
fn a_failed_attempt_is_retried_until_the_count_is_used_up_then_fails_the_run() {
    let mut model = run(two_steps(pay_task(), pay()), [Outcome::failed("no funds")]);
    assert_eq!(opened(&model), ("pay_ref", 1, 5));
    assert_eq!(open(&model).reason.as_deref(), Some("no funds"), "kept from the failed attempt");
    model.report(Outcome::failed("no funds"));
    model.report(Outcome::failed("still none"));
    assert_eq!(model.status, WorkflowStatus::Failed);
    let text = format!("Task {ID}.0.2.pay_ref failed with status: FAILED and reason: 'still none'");
    assert_eq!(reason(&model), text);
    let failed = model.end.as_ref().and_then(|end| end.failed_task.clone());
    assert_eq!(failed, Some(format!("{ID}.0.2.pay_ref")));
}

#[test]
fn the_status_of_the_attempt_decides_how_the_run_ends() {
    use TaskStatus as T;
    let cases = [
        (Outcome::of(T::FailedWithTerminalError), WorkflowStatus::Failed),
        (Outcome::of(T::Canceled), WorkflowStatus::Terminated),
        (Outcome::timed_out(TimeoutKind::Task), WorkflowStatus::TimedOut),
        (Outcome::timed_out(TimeoutKind::Poll), WorkflowStatus::TimedOut),
        (Outcome::timed_out(TimeoutKind::Total), WorkflowStatus::TimedOut),
    ];
    for (outcome, status) in cases {
        let attempt = outcome.status;
        // TIME_OUT_WF is the default policy: at once, even with retries left.
        let model = run(two_steps(pay_task(), pay()), [outcome]);
        assert_eq!((model.status, model.history.len()), (status, 1), "{attempt}");
        assert_eq!(model.history[0].status, attempt);
        assert!(reason(&model).contains(&format!("failed with status: {status} and")));
    }
}

#[test]
fn the_timeout_policy_says_what_a_timeout_leads_to() {
    use TimeoutKind as K;
    let with = |policy| TaskDef { timeout_policy: policy, ..pay() };
    let cases = [
        (TimeoutPolicy::Retry, K::Task, WorkflowStatus::Running, 1),
        (TimeoutPolicy::Retry, K::Poll, WorkflowStatus::Running, 1),
        (TimeoutPolicy::Retry, K::Response, WorkflowStatus::Running, 1),
        // The time of all attempts is used up: there is no other.
        (TimeoutPolicy::Retry, K::Total, WorkflowStatus::TimedOut, 1),
        // The policy is not asked when a worker falls silent.
        (TimeoutPolicy::TimeOutWorkflow, K::Response, WorkflowStatus::Running, 1),
        (TimeoutPolicy::AlertOnly, K::Response, WorkflowStatus::Running, 1),
        (TimeoutPolicy::AlertOnly, K::Task, WorkflowStatus::Running, 0),
        (TimeoutPolicy::AlertOnly, K::Total, WorkflowStatus::Running, 0),
    ];
    for (policy, kind, status, attempts) in cases {
        let model = run(two_steps(pay_task(), with(policy)), [Outcome::timed_out(kind)]);
        assert_eq!((model.status, model.history.len()), (status, attempts), "{policy:?} {kind:?}");
    }
}

#[test]
fn time_out_wf_ends_the_run_of_an_optional_step_too() {
    let task = WorkflowTask { optional: true, permissive: true, ..pay_task() };
    let model = run(two_steps(task, pay()), [Outcome::timed_out(TimeoutKind::Task)]);
    assert_eq!(model.status, WorkflowStatus::TimedOut);
}

#[test]
fn an_optional_step_is_retried_then_passed_with_errors() {
    let task = WorkflowTask { optional: true, retry_count: Some(1), ..pay_task() };
    let mut model =
        run(two_steps(task, pay()), [Outcome::failed("no funds"), Outcome::failed("no funds")]);
    assert_eq!(opened(&model), ("ship_ref", 0, 0));
    let statuses: Vec<_> = model.history.iter().map(|row| row.status).collect();
    assert_eq!(statuses, [TaskStatus::Failed, TaskStatus::CompletedWithErrors]);
    model.finish();
    assert_eq!((model.status, reason(&model)), (WorkflowStatus::Completed, ""));
}

#[test]
fn a_terminal_error_is_not_retried_and_passes_an_optional_step() {
    let task = WorkflowTask { optional: true, ..pay_task() };
    let terminal = Outcome::of(TaskStatus::FailedWithTerminalError);
    let model = run(two_steps(task, pay()), [terminal]);
    assert_eq!(opened(&model), ("ship_ref", 0, 0));
    assert_eq!(model.history[0].status, TaskStatus::CompletedWithErrors);
}

#[test]
fn permissive_steps_fail_the_run_at_its_end_with_all_their_reasons() {
    let permissive = |name| WorkflowTask {
        permissive: true,
        retry_count: Some(0),
        ..WorkflowTask::simple(name, format!("{name}_ref"))
    };
    let tasks =
        vec![permissive("pay"), permissive("book"), WorkflowTask::simple("ship", "ship_ref")];
    let plan = compiled(WorkflowDef { tasks, ..WorkflowDef::default() }, vec![]);
    let outcomes = [
        Outcome::failed("no funds"),
        Outcome {
            reason: Some("no shelf".into()),
            ..Outcome::of(TaskStatus::FailedWithTerminalError)
        },
        Outcome::completed(json!({ "parcel": 4 })),
    ];
    let model = run(plan, outcomes);
    assert_eq!(model.status, WorkflowStatus::Failed);
    let text = format!(
        "Task {ID}.0.0.pay_ref failed with status: FAILED and reason: 'no funds'. \
         Task {ID}.0.0.book_ref failed with status: FAILED_WITH_TERMINAL_ERROR and reason: 'no shelf'"
    );
    assert_eq!(reason(&model), text);
    assert_eq!(model.history[0].status, TaskStatus::Failed, "it stays FAILED");
    assert_eq!(output(&model), json!({ "parcel": 4 }));
}

#[test]
fn a_retry_waits_as_its_policy_or_its_worker_says() {
    let def = TaskDef {
        retry_logic: RetryLogic::ExponentialBackoff,
        max_retry_delay_seconds: 8,
        backoff_jitter_ms: 1_000,
        ..pay()
    };
    let jittered = Outcome { jitter: 0.5, ..Outcome::failed("busy") };
    let mut model = run(two_steps(pay_task(), def.clone()), [jittered.clone()]);
    assert_eq!(open(&model).delay, Duration::from_millis(5_500));
    model.report(jittered.clone());
    assert_eq!(open(&model).delay, Duration::from_millis(8_500), "the cap, then the jitter");
    for (asked, delay) in [(7, 7), (u64::MAX, 2_147_483_647)] {
        let asked = Outcome { retry_after: Some(Duration::from_secs(asked)), ..jittered.clone() };
        let model = run(two_steps(pay_task(), def.clone()), [asked]);
        assert_eq!(opened(&model), ("pay_ref", 1, delay));
    }
}

#[test]
fn a_start_delay_is_the_first_attempts_alone() {
    let task = WorkflowTask { start_delay: 30, ..pay_task() };
    let mut model = run(two_steps(task, pay()), []);
    assert_eq!(opened(&model), ("pay_ref", 0, 30));
    model.report(Outcome::failed("busy"));
    assert_eq!(opened(&model), ("pay_ref", 1, 5));
}

#[test]
fn each_attempt_gets_its_own_task_id() {
    let task = pay_task().input("id", "${CPEWF_TASK_ID}").input("x", "${workflow.input.x}");
    let mut model = run(two_steps(task, pay()), []);
    assert_eq!(*open(&model).input, json!({ "id": format!("{ID}.0.0.pay_ref"), "x": 1 }));
    model.report(Outcome::failed("busy"));
    assert_eq!(*open(&model).input, json!({ "id": format!("{ID}.0.1.pay_ref"), "x": 1 }));
}

#[test]
fn the_output_is_the_last_tasks_where_the_definition_names_none() {
    let paid = || Outcome::completed(json!({ "receipt": 7 }));
    let model =
        run(two_steps(pay_task(), pay()), [paid(), Outcome::completed(json!({ "parcel": 4 }))]);
    assert_eq!((model.status, output(&model)), (WorkflowStatus::Completed, json!({ "parcel": 4 })));
    let terminal = Outcome {
        output: Some(json!({ "why": "lost" })),
        ..Outcome::of(TaskStatus::FailedWithTerminalError)
    };
    let model = run(two_steps(pay_task(), pay()), [paid(), terminal]);
    assert_eq!((model.status, output(&model)), (WorkflowStatus::Failed, json!({ "why": "lost" })));
    let mut model = run(two_steps(pay_task(), pay()), [paid()]);
    model.play(&Move::Terminate);
    assert_eq!(output(&model), json!({}), "the canceled task is the last");
}

#[test]
fn output_parameters_are_read_at_every_end() {
    let parameters = json!({
        "receipt": "${pay_ref.output.receipt}",
        "parcel": "${ship_ref.output.parcel}",
        "status": "${workflow.status}",
        "why": "${workflow.reasonForIncompletion}",
    });
    let plan = || {
        let tasks = vec![pay_task(), WorkflowTask::simple("ship", "ship_ref")];
        let output_parameters = parameters.as_object().cloned().unwrap_or_default();
        compiled(WorkflowDef { tasks, output_parameters, ..WorkflowDef::default() }, vec![pay()])
    };
    let paid = || Outcome::completed(json!({ "receipt": 7 }));
    let model = run(plan(), [paid(), Outcome::completed(json!({ "parcel": 4 }))]);
    let text = json!({ "receipt": 7, "parcel": 4, "status": "COMPLETED", "why": null });
    assert_eq!(output(&model), text);
    let model = run(plan(), [paid(), Outcome::of(TaskStatus::FailedWithTerminalError)]);
    let text = json!({ "receipt": 7, "parcel": null, "status": "FAILED", "why": reason(&model) });
    assert_eq!(output(&model), text);
    let mut model = run(plan(), [paid()]);
    model.play(&Move::WorkflowTimeOut);
    assert_eq!(model.status, WorkflowStatus::TimedOut);
    assert_eq!(model.history[1].status, TaskStatus::Canceled, "open tasks are canceled");
    assert_eq!(output(&model)["status"], json!("TIMED_OUT"));
    assert_eq!(output(&model)["receipt"], json!(7));
}

#[test]
fn an_operators_retry_goes_on_where_it_failed_with_the_next_attempt() {
    let terminal = Outcome::of(TaskStatus::FailedWithTerminalError);
    let paid = Outcome::completed(json!({ "receipt": 7 }));
    let mut model = run(two_steps(pay_task(), pay()), [paid, terminal]);
    model.play(&Move::Retry);
    assert_eq!((model.status, opened(&model)), (WorkflowStatus::Running, ("ship_ref", 1, 0)));
    model.finish();
    assert_eq!((model.status, model.epoch), (WorkflowStatus::Completed, 0));
}

#[test]
fn a_restart_begins_anew_and_only_what_completed_gets_another_key() {
    let paid = Outcome::completed(json!({ "receipt": 7 }));
    let terminal = Outcome::of(TaskStatus::FailedWithTerminalError);
    let mut model = run(two_steps(pay_task(), pay()), [Outcome::failed("busy"), paid, terminal]);
    assert!(model.history.iter().all(|row| row.epoch == 0));
    let mut keys = Vec::new();
    model.play(&Move::Restart);
    assert_eq!((opened(&model), model.epoch), (("pay_ref", 0, 0), 1));
    keys.push(key(&model));
    model.report(Outcome::completed(json!({})));
    keys.push(key(&model));
    assert_eq!(keys, [format!("{ID}:pay_ref:1"), format!("{ID}:ship_ref:0")]);
    model.report(Outcome::failed("busy"));
    assert_eq!(key(&model), keys[1], "equal over all attempts");
}

fn key(model: &Model) -> String {
    let open = open(model);
    idempotency_key(model.memory.id, &open.node.reference_name, open.set_aside)
}

#[test]
fn a_paused_run_takes_an_outcome_and_goes_on_when_it_is_resumed() {
    let mut model = run(two_steps(pay_task(), pay()), []);
    model.play(&Move::Pause);
    // A task that was claimed during the pause: its holder's memory says so.
    let ended = Event::Ended(end_of(open(&model), Outcome::completed(json!({}))));
    assert_eq!(decide(&model.plan, &mut model.fresh(), &ended), Err(DecideError::Paused));
    model.report(Outcome { retry_after: Some(Duration::from_secs(9)), ..Outcome::failed("busy") });
    assert_eq!(model.history.len(), 1);
    assert!(matches!(model.token, Some(Token::Parked(_))), "nothing new is scheduled");
    model.play(&Move::Resume);
    assert_eq!(opened(&model), ("pay_ref", 1, 9));
}

#[test]
fn a_timeout_that_ends_the_run_still_does_after_a_pause() {
    let mut model = run(two_steps(pay_task(), pay()), []);
    for play in [Move::Pause, Move::Report(Outcome::timed_out(TimeoutKind::Task)), Move::Resume] {
        model.play(&play);
    }
    assert_eq!(model.status, WorkflowStatus::TimedOut);
}

#[test]
fn an_optional_step_that_fails_during_a_pause_is_not_retried_by_an_operator() {
    let task = WorkflowTask { optional: true, retry_count: Some(0), ..pay_task() };
    let mut model = run(two_steps(task, pay()), []);
    for play in [Move::Pause, Move::Report(Outcome::failed("no funds")), Move::Resume] {
        model.play(&play);
    }
    assert_eq!(model.history[0].status, TaskStatus::CompletedWithErrors);
    model.report(Outcome::of(TaskStatus::Canceled));
    model.play(&Move::Retry);
    assert_eq!(opened(&model), ("ship_ref", 1, 0));
}

#[test]
fn the_last_attempt_that_has_a_number_is_the_last() {
    let plan = two_steps(pay_task(), TaskDef { retry_count: 1_000, ..pay() });
    let policy = &plan.graph.nodes[0].retry;
    assert!(policy.allows_after(999) && !policy.allows_after(1_000));
    let mut endless = policy.clone();
    endless.count = i32::MAX;
    assert!(endless.allows_after(i16::MAX - 1) && !endless.allows_after(i16::MAX));
}
