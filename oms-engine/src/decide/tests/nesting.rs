//! Definitions as deep as they may be, on a stack as small as a thread of the engine has.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::decide::{Decision, Event, Plan, RunState, decide};
use crate::definition::{DEPTH_MAX, NESTED_MAX, TaskType, WorkflowDef, WorkflowTask, validate};
use crate::ids::WorkflowId;

/// What a thread of the runtime has.
const STACK_BYTES: usize = 2 * 1024 * 1024;

fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// A task of a type around others.
type Around = (&'static str, fn(usize, Vec<Value>) -> Vec<Value>);

const AROUND: [Around; 6] = [
    ("DO_WHILE", |n, inside| {
        vec![json!({
            "name": "l", "taskReferenceName": format!("l{n}"), "type": "DO_WHILE",
            "loopCondition": "false", "loopOver": inside,
        })]
    }),
    ("SWITCH", |n, inside| {
        vec![json!({
            "name": "s", "taskReferenceName": format!("s{n}"), "type": "SWITCH",
            "evaluatorType": "value-param", "expression": "x", "inputParameters": {"x": "c"},
            "decisionCases": {"c": inside},
        })]
    }),
    ("SWITCH with a default", |n, inside| {
        vec![json!({
            "name": "s", "taskReferenceName": format!("s{n}"), "type": "SWITCH",
            "evaluatorType": "value-param", "expression": "x", "inputParameters": {"x": "d"},
            "decisionCases": {"c": []}, "defaultCase": inside,
        })]
    }),
    ("DECISION", |n, inside| {
        vec![json!({
            "name": "d", "taskReferenceName": format!("d{n}"), "type": "DECISION",
            "caseValueParam": "x", "inputParameters": {"x": "c"}, "decisionCases": {"c": inside},
        })]
    }),
    ("FORK_JOIN", |n, inside| {
        let last = inside.last().map(|last| last["taskReferenceName"].clone());
        vec![
            json!({
                "name": "f", "taskReferenceName": format!("f{n}"), "type": "FORK_JOIN",
                "forkTasks": [inside],
            }),
            json!({
                "name": "j", "taskReferenceName": format!("j{n}"), "type": "JOIN",
                "joinOn": [last],
            }),
        ]
    }),
    ("SUB_WORKFLOW", |n, inside| {
        vec![json!({
            "name": "w", "taskReferenceName": format!("w{n}"), "type": "SUB_WORKFLOW",
            "subWorkflowParam": {"workflowDefinition": {"name": format!("w{n}"), "tasks": inside}},
        })]
    }),
];

/// A value that is so deep.
fn value(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inside, _| json!([inside]))
}

/// A definition of so many tasks in each other, the innermost with an input that is so deep.
fn nested(around: impl Fn(usize, Vec<Value>) -> Vec<Value>, tasks: usize, depth: usize) -> String {
    let mut inside = vec![json!({
        "name": "t", "taskReferenceName": "t", "type": "SIMPLE",
        "inputParameters": {"x": value(depth - 1)},
    })];
    for n in (0..tasks - 1).rev() {
        inside = around(n, inside);
    }
    json!({ "name": "deep", "tasks": inside }).to_string()
}

fn mixed(n: usize, inside: Vec<Value>) -> Vec<Value> {
    (AROUND[n % AROUND.len()].1)(n, inside)
}

fn begin(text: &str, input: Value) -> Decision {
    let def = WorkflowDef::from_json(text).unwrap();
    let task_defs = [].into();
    validate(&def, &task_defs).unwrap();
    let again = WorkflowDef::from_json(def.to_json().unwrap().get()).unwrap();
    assert!(again == def);
    let plan = Plan::compile(1, def.clone(), &task_defs).unwrap();
    drop(def);
    let mut state = RunState::new(WorkflowId::new(), Arc::new(input), Arc::new(json!({})), None);
    state.fresh = true;
    for name in ["t", "l", "s", "d", "f", "j", "w"] {
        state.task_defs.insert(name.to_owned(), None);
    }
    decide(&plan, &mut state, &Event::Start).unwrap()
}

#[test]
fn definitions_as_deep_as_allowed_are_run_on_a_small_stack() {
    for (name, around) in &AROUND {
        let text = nested(around, NESTED_MAX, DEPTH_MAX);
        let decision = on_a_small_stack(|| begin(&text, json!({})));
        // What is written out for a SUB_WORKFLOW is another run's.
        let scheduled = if *name == "SUB_WORKFLOW" { 1 } else { NESTED_MAX };
        assert!(decision.scheduled.len() >= scheduled, "{name}");
    }
    let text = nested(mixed, NESTED_MAX, DEPTH_MAX);
    let decision = on_a_small_stack(|| begin(&text, json!({})));
    assert!(decision.scheduled.iter().any(|task| task.node.task_type.as_ref() == "SUB_WORKFLOW"));
}

fn fault_of(text: &str) -> String {
    on_a_small_stack(|| {
        let def = WorkflowDef::from_json(text);
        let checked = def.and_then(|def| {
            let refused = validate(&def, &[].into());
            assert!(refused.is_err() || Plan::compile(1, def, &[].into()).is_err());
            refused
        });
        checked.unwrap_err().to_string()
    })
}

#[test]
fn deeper_definitions_are_refused_with_the_place_and_the_limit() {
    let too_many = "more than 100 tasks stand in each other here";
    for (name, around) in &AROUND {
        let fault = fault_of(&nested(around, NESTED_MAX + 1, 1));
        let (path, message) = fault.split_once(&format!(": {too_many}")).unwrap();
        assert!(path.starts_with("workflow definition \"deep\" version 1: $.tasks[0]."), "{path}");
        assert_eq!(path.matches("[0]").count() % NESTED_MAX, 1, "{name}: {path}");
        assert_eq!(message, ": put some of them into a workflow of their own");
    }
    assert!(fault_of(&nested(mixed, NESTED_MAX + 1, 1)).contains(too_many));
    let fault = fault_of(&nested(mixed, NESTED_MAX, DEPTH_MAX + 1));
    assert!(fault.contains(".inputParameters.x[0]["), "{fault}");
    assert!(fault.contains("nested deeper than 100: flatten it"), "{fault}");
}

#[test]
fn a_text_that_no_definition_can_be_is_refused_before_it_is_read() {
    for (_, around) in &AROUND {
        let fault = fault_of(&nested(around, 300, 1));
        assert!(fault.contains(": $.tasks[0]."), "{fault}");
        assert!(fault.contains(": is nested deeper than 499: flatten it"), "{fault}");
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

/// What data gives a dynamic fork, nested so deep.
fn forked((_, around): &Around, depth: usize) -> Decision {
    let mut tasks = vec![json!({"name": "t", "taskReferenceName": "t"})];
    let mut n = 0;
    while depth_of(&json!(around(n, tasks.clone()))) <= depth {
        tasks = around(n, tasks);
        n += 1;
    }
    let fork = json!({
        "name": "w", "tasks": [
            {
                "name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN_DYNAMIC",
                "dynamicForkTasksParam": "tasks", "dynamicForkTasksInputParamName": "inputs",
                "inputParameters": {"tasks": "${workflow.input.tasks}", "inputs": {}},
            },
            {"name": "join", "taskReferenceName": "join", "type": "JOIN"},
        ],
    });
    on_a_small_stack(|| begin(&fork.to_string(), json!({ "tasks": tasks })))
}

#[test]
fn data_of_a_dynamic_fork_is_as_deep_as_a_payload_may_be() {
    // A branch is one task, and that of a FORK_JOIN would be two.
    for around in AROUND.iter().filter(|around| around.0 != "FORK_JOIN") {
        let decision = forked(around, DEPTH_MAX - 3);
        assert_eq!(decision.end, None, "{}", around.0);
        // What is written out for a SUB_WORKFLOW is another run's.
        let innermost = if around.0 == "SUB_WORKFLOW" { "w" } else { "t" };
        let mut names = decision.scheduled.iter().map(|task| &*task.reference_name);
        assert!(names.any(|name| name.starts_with(innermost)), "{}", around.0);
        let decision = forked(around, DEPTH_MAX + 4);
        let reason = decision.end.unwrap().reason.unwrap();
        assert!(reason.contains("nested deeper than 100: flatten it"), "{reason}");
    }
}

/// Built by a program, with no text that could be refused.
#[test]
fn tasks_that_a_program_nests_deeper_are_refused_before_anything_walks_them() {
    let mut task = WorkflowTask { name: "t".to_owned(), ..WorkflowTask::default() };
    task.task_reference_name = "t".to_owned();
    for n in 0..200 {
        let inside = vec![task];
        task = WorkflowTask { task_reference_name: format!("l{n}"), ..WorkflowTask::default() };
        task.task_type = TaskType::DoWhile;
        task.loop_over = inside;
    }
    let def = WorkflowDef { name: "deep".to_owned(), tasks: vec![task], ..WorkflowDef::default() };
    on_a_small_stack(|| {
        for refused in [
            validate(&def, &[].into()).map(drop),
            def.to_json().map(drop),
            Plan::compile(1, def.clone(), &[].into()).map(drop),
        ] {
            let fault = refused.unwrap_err().to_string();
            assert!(fault.contains("loopOver[0]: more than 100 tasks stand in each"), "{fault}");
        }
    });
}
