//! Random straight-line definitions, and random things that happen to their runs.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::model::Outcome;
use super::play::Move;
use crate::decide::{Plan, TaskStatus, TimeoutKind};
use crate::definition::{
    RetryLogic, TaskDef, TimeoutPolicy, WorkflowDef, WorkflowTask, WorkflowTimeoutPolicy, validate,
};

/// What an expression of step `readers` may read: the run, and steps before it.
fn expression(readers: usize) -> BoxedStrategy<Value> {
    let of_run = prop::sample::select(vec![
        "${workflow.input.x}",
        "${workflow.input}",
        "${workflow.status} $${x}",
        "${workflow.variables.v}",
        "${workflow.correlationId}",
        "${workflow.reasonForIncompletion}",
    ]);
    let of_run = of_run.prop_map(|text| json!(text));
    if readers == 0 {
        return of_run.boxed();
    }
    let field = prop::sample::select(vec![
        "output.v",
        "output",
        "input.p0",
        "status",
        "retryCount",
        "reasonForIncompletion",
        "taskId",
    ]);
    let of_task =
        (0..readers, field).prop_map(|(step, field)| json!(format!("${{r{step}.{field}}}")));
    let spliced = (0..readers).prop_map(|step| json!([format!("<${{r{step}.output.v}}>")]));
    let dynamic = Just(json!("${${workflow.input.which}.output.v}"));
    prop_oneof![4 => of_task, 2 => of_run, 1 => spliced, 1 => dynamic].boxed()
}

fn parameters(readers: usize) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(expression(readers), 0..3).prop_map(|values| {
        values.into_iter().enumerate().map(|(n, value)| (format!("p{n}"), value)).collect()
    })
}

fn task(index: usize) -> impl Strategy<Value = (WorkflowTask, TaskDef)> {
    let logic = prop::sample::select(vec![
        RetryLogic::Fixed,
        RetryLogic::LinearBackoff,
        RetryLogic::ExponentialBackoff,
    ]);
    let policy = prop::sample::select(vec![
        TimeoutPolicy::Retry,
        TimeoutPolicy::TimeOutWorkflow,
        TimeoutPolicy::AlertOnly,
    ]);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let retries = (0..4_i32, prop::option::of(0..3_i32), 0..100_i32, logic);
    (parameters(index), flags, retries, policy, prop::bool::weighted(0.2)).prop_map(
        move |(
            input_parameters,
            (optional, permissive),
            (count, own, delay, logic),
            policy,
            id,
        )| {
            let mut input_parameters = input_parameters;
            if id {
                input_parameters.insert("id".to_owned(), json!("${CPEWF_TASK_ID}"));
            }
            let task = WorkflowTask {
                name: format!("t{index}"),
                task_reference_name: format!("r{index}"),
                input_parameters,
                optional,
                permissive,
                start_delay: delay % 3,
                retry_count: own,
                ..WorkflowTask::default()
            };
            let def = TaskDef {
                retry_count: count,
                retry_logic: logic,
                retry_delay_seconds: delay,
                backoff_jitter_ms: 500,
                timeout_policy: policy,
                timeout_seconds: 4_000,
                total_timeout_seconds: 9_000,
                poll_timeout_seconds: Some(20),
                ..TaskDef::default_for(&format!("t{index}"))
            };
            (task, def)
        },
    )
}

/// A plan that passed the validation which definitions pass before they are registered.
pub(super) fn plan() -> impl Strategy<Value = Plan> {
    (1..6_usize)
        .prop_flat_map(|count| {
            let tasks: Vec<_> = (0..count).map(|index| task(index).boxed()).collect();
            (tasks, parameters(count))
        })
        .prop_map(|(tasks, output_parameters)| {
            let (tasks, defs): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
            compiled(WorkflowDef { tasks, output_parameters, ..WorkflowDef::default() }, defs)
        })
}

pub(super) fn compiled(def: WorkflowDef, task_defs: Vec<TaskDef>) -> Plan {
    let variables = json!({ "v": 3 }).as_object().cloned().expect("an object");
    let def = WorkflowDef {
        name: "line".to_owned(),
        timeout_seconds: 60,
        timeout_policy: WorkflowTimeoutPolicy::TimeOutWorkflow,
        variables,
        ..def
    };
    let defs: BTreeMap<String, TaskDef> =
        task_defs.into_iter().map(|def| (def.name.clone(), def)).collect();
    validate(&def, &defs).expect("a definition that may be registered");
    Plan::compile(1, def, &defs).expect("a valid definition compiles")
}

pub(super) fn input() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "x": 1, "which": "r0" })),
        Just(json!({ "x": { "v": [null] }, "which": "nobody" })),
    ]
}

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    use TaskStatus as T;
    let ends = prop::sample::select(vec![
        (T::Completed, None),
        (T::Completed, None),
        (T::Completed, None),
        (T::Failed, None),
        (T::Failed, None),
        (T::FailedWithTerminalError, None),
        (T::Canceled, None),
        (T::TimedOut, Some(TimeoutKind::Task)),
        (T::TimedOut, Some(TimeoutKind::Response)),
        (T::TimedOut, Some(TimeoutKind::Poll)),
        (T::TimedOut, Some(TimeoutKind::Total)),
    ]);
    let output = prop::option::of((0..9).prop_map(|v| json!({ "v": v })));
    let retry_after = prop::option::weighted(
        0.2,
        prop_oneof![Just(Duration::MAX), (0..99_u64).prop_map(Duration::from_secs)],
    );
    (ends, output, prop::option::of("[a-z']{0,4}"), retry_after, 0.0..=1.0_f64).prop_map(
        |((status, timeout), output, reason, retry_after, jitter)| Outcome {
            status,
            output,
            reason,
            retry_after,
            timeout,
            jitter,
        },
    )
}

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let operated = prop::sample::select(vec![
        Move::Claim,
        Move::GiveBack,
        Move::Pause,
        Move::Resume,
        Move::Resume,
        Move::Terminate,
        Move::WorkflowTimeOut,
        Move::Retry,
        Move::Retry,
        Move::Restart,
    ]);
    prop::collection::vec(prop_oneof![3 => outcome().prop_map(Move::Report), 2 => operated], 0..40)
}
