//! What is made of templates has limits: a task whose input breaks them fails, and no run hangs.

use std::sync::Arc;

use serde_json::{Value, json};

use super::random::compiled;
use crate::decide::{
    DecideError, Decision, Event, Fate, RunState, TaskStatus, WorkflowStatus, decide,
};
use crate::definition::{TaskDef, WorkflowDef};
use crate::ids::WorkflowId;

fn begin(definition: Value) -> Result<Decision, DecideError> {
    let def: WorkflowDef = serde_json::from_value(definition).unwrap();
    let plan = compiled(def, vec![TaskDef::default_for("t")]);
    let input = Arc::new(json!({ "big": "x".repeat(1_000_000), "list": [1] }));
    let mut state = RunState::new(WorkflowId::new(), input, Arc::new(json!({})), None);
    state.fresh = true;
    decide(&plan, &mut state, &Event::Start)
}

/// A thousand copies of what may be there three times.
fn copies() -> Value {
    json!(vec!["${workflow.input.big}"; 1_000])
}

fn step(task_type: &str, more: &Value) -> Value {
    let mut step = json!({"name": "t", "taskReferenceName": "a", "type": task_type});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

fn inside() -> Value {
    json!([{"name": "t", "taskReferenceName": "b", "type": "SIMPLE"}])
}

fn check(what: &str, task_type: &str, more: &Value) {
    let on = if task_type == "FORK_JOIN" { json!(["b"]) } else { json!([]) };
    let join = json!({"name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": on});
    let decision = begin(json!({"name": "w", "tasks": [step(task_type, more), join]})).unwrap();
    let scheduled = decision.scheduled.first().unwrap();
    let failed = Fate::Ended { status: TaskStatus::FailedWithTerminalError, output: None };
    assert_eq!(scheduled.fate, failed, "{task_type}");
    let expected = format!(
        "{what} of task \"a\" $: is larger than 3145728 bytes: store the data elsewhere and pass a \
         reference"
    );
    assert_eq!(scheduled.reason.as_deref(), Some(&*expected), "{task_type}");
    assert_eq!(*scheduled.input, json!({}), "{task_type}");
    let end = decision.end.unwrap();
    assert_eq!(end.status, WorkflowStatus::Failed, "{task_type}");
    assert!(end.reason.unwrap().contains(&expected), "{task_type}");
}

#[test]
fn a_task_of_any_type_whose_input_is_too_large_fails_with_a_reason() {
    let large = json!({
        "x": copies(), "terminationStatus": "FAILED", "expression": "1", "evaluatorType": "javascript",
        "startWorkflow": {"name": "c"},
    });
    let plain = json!({ "inputParameters": large });
    for task_type in
        ["SIMPLE", "WAIT", "HUMAN", "INLINE", "SET_VARIABLE", "TERMINATE", "NOOP", "START_WORKFLOW"]
    {
        check("input", task_type, &plain);
    }
    let with = |more: Value| {
        let mut all = plain.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    for (task_type, more) in [
        ("DYNAMIC", json!({"dynamicTaskNameParam": "n"})),
        (
            "SWITCH",
            json!({
                "evaluatorType": "value-param", "expression": "x",
                "decisionCases": {"c": inside()},
            }),
        ),
        ("FORK_JOIN", json!({"forkTasks": [inside()]})),
        ("FORK_JOIN_DYNAMIC", json!({"inputParameters": {"forkTaskInputs": copies()}})),
        ("DO_WHILE", json!({"loopOver": inside(), "loopCondition": "false"})),
        ("SUB_WORKFLOW", json!({"subWorkflowParam": {"name": "c"}})),
    ] {
        check("input", task_type, &with(more));
    }
}

#[test]
fn items_and_parameters_of_sub_workflows_have_the_same_limit() {
    let large = "${workflow.input.big}".repeat(1_000);
    check("items", "DO_WHILE", &json!({"loopOver": inside(), "items": large}));
    check("subWorkflowParam", "SUB_WORKFLOW", &json!({"subWorkflowParam": {"name": large}}));
}

#[test]
fn an_optional_task_over_the_limit_is_gone_past() {
    let first = step("NOOP", &json!({ "optional": true, "inputParameters": {"x": copies()} }));
    let next = json!({"name": "t", "taskReferenceName": "b", "type": "SIMPLE"});
    let decision = begin(json!({"name": "w", "tasks": [first, next]})).unwrap();
    assert_eq!(decision.end, None);
    let names: Vec<&str> = decision.scheduled.iter().map(|task| &*task.reference_name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn an_output_over_the_limit_fails_the_run() {
    let decision = begin(json!({
        "name": "w", "tasks": [step("NOOP", &json!({}))], "outputParameters": {"x": copies()},
    }));
    let end = decision.unwrap().end.unwrap();
    assert_eq!(end.status, WorkflowStatus::Failed);
    assert!(end.reason.unwrap().starts_with("output of the workflow $: is larger than 5242880"));
    assert_eq!(end.output.as_deref(), Some(&json!({})));
}

#[test]
fn a_join_shows_its_list_alone_whatever_else_it_is_given() {
    let fork = step("FORK_JOIN", &json!({ "forkTasks": [inside()] }));
    let join = json!({
        "name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": ["b"],
        "inputParameters": {"x": copies()},
    });
    let decision = begin(json!({"name": "w", "tasks": [fork, join]})).unwrap();
    assert_eq!(decision.end, None);
    let join = decision.scheduled.iter().find(|task| &*task.reference_name == "j").unwrap();
    assert_eq!(*join.input, json!({ "joinOn": ["b"] }));
}
