//! Definitions as deep as they may be, on a stack as small as a thread of the engine has.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::decide::{Decision, Event, Plan, RunState, decide};
use crate::definition::{DEPTH_MAX, WorkflowDef, validate};
use crate::ids::WorkflowId;

/// What a thread of the runtime has.
const STACK_BYTES: usize = 2 * 1024 * 1024;

fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// A task of a type around others: how much deeper that makes the JSON, and the tasks.
type Around = (&'static str, usize, fn(usize, Vec<Value>) -> Vec<Value>);

const AROUND: [Around; 5] = [
    ("DO_WHILE", 2, |n, inside| {
        vec![json!({
            "name": "l", "taskReferenceName": format!("l{n}"), "type": "DO_WHILE",
            "loopCondition": "false", "loopOver": inside,
        })]
    }),
    ("SWITCH", 3, |n, inside| {
        vec![json!({
            "name": "s", "taskReferenceName": format!("s{n}"), "type": "SWITCH",
            "evaluatorType": "value-param", "expression": "x", "inputParameters": {"x": "c"},
            "decisionCases": {"c": inside},
        })]
    }),
    ("SWITCH with a default", 2, |n, inside| {
        vec![json!({
            "name": "s", "taskReferenceName": format!("s{n}"), "type": "SWITCH",
            "evaluatorType": "value-param", "expression": "x", "inputParameters": {"x": "d"},
            "decisionCases": {"c": []}, "defaultCase": inside,
        })]
    }),
    ("DECISION", 3, |n, inside| {
        vec![json!({
            "name": "d", "taskReferenceName": format!("d{n}"), "type": "DECISION",
            "caseValueParam": "x", "inputParameters": {"x": "c"}, "decisionCases": {"c": inside},
        })]
    }),
    ("FORK_JOIN", 3, |n, inside| {
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
];

/// A definition whose JSON is exactly so deep, and how many tasks stand in each other.
fn nested((_, deeper, around): &Around, depth: usize) -> (String, usize) {
    let mut inside = vec![json!({"name": "t", "taskReferenceName": "t", "type": "SIMPLE"})];
    // The definition, its list of tasks, and the task inside.
    let mut at = 3;
    let mut levels = 0;
    while at + deeper <= depth {
        inside = around(levels, inside);
        at += deeper;
        levels += 1;
    }
    let mut plain = json!(1);
    for _ in at..depth {
        plain = json!([plain]);
    }
    let def = json!({"name": "deep", "tasks": inside, "metadata": {"more": plain}});
    (def.to_string(), levels)
}

fn begin(text: &str, input: Value) -> Decision {
    let def = WorkflowDef::from_json(text).unwrap();
    let task_defs = [].into();
    validate(&def, &task_defs).unwrap();
    let plan = Plan::compile(1, def.clone(), &task_defs).unwrap();
    drop(def);
    let mut state = RunState::new(WorkflowId::new(), Arc::new(input), Arc::new(json!({})), None);
    state.fresh = true;
    for name in ["t", "l", "s", "d", "f", "j"] {
        state.task_defs.insert(name.to_owned(), None);
    }
    decide(&plan, &mut state, &Event::Start).unwrap()
}

#[test]
fn definitions_as_deep_as_allowed_are_run_on_a_small_stack() {
    for around in &AROUND {
        let (text, levels) = nested(around, DEPTH_MAX);
        let decision = on_a_small_stack(|| begin(&text, json!({})));
        assert!(levels >= 32, "{}: {levels}", around.0);
        let names = decision.scheduled.iter().map(|task| task.reference_name.as_str());
        assert!(names.clone().any(|name| name.starts_with('t')), "{}", around.0);
        assert!(names.count() > levels, "{}", around.0);
    }
}

#[test]
fn deeper_definitions_are_refused_with_the_limit() {
    for around in &AROUND {
        let (text, _) = nested(around, DEPTH_MAX + around.1);
        let fault = on_a_small_stack(|| WorkflowDef::from_json(&text).unwrap_err().to_string());
        assert!(fault.contains("nested deeper than 100: flatten it"), "{fault}");
    }
}

/// What data gives a dynamic fork.
fn forked(around: &Around, depth: usize) -> Decision {
    let (text, _) = nested(around, depth);
    let mut def: Value = serde_json::from_str(&text).unwrap();
    let tasks = def["tasks"].take();
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
        let names = decision.scheduled.iter().map(|task| task.reference_name.as_str());
        assert!(names.clone().any(|name| name.starts_with("t")), "{}", around.0);
        let decision = forked(around, DEPTH_MAX + 2);
        let reason = decision.end.unwrap().reason.unwrap();
        assert!(reason.contains("nested deeper than 100: flatten it"), "{reason}");
    }
}

/// Built by a program, with no text that could be refused.
#[test]
fn tasks_that_a_program_nests_deeper_are_refused_before_anything_walks_them() {
    for (_, deeper, around) in &AROUND {
        let fault = on_a_small_stack(|| {
            let mut inside = vec![json!({"name": "t", "taskReferenceName": "t"})];
            for level in 0..DEPTH_MAX.div_ceil(*deeper) {
                inside = around(level, inside);
            }
            let tasks = serde_json::from_value(Value::Array(inside)).unwrap();
            let def = WorkflowDef { name: "deep".to_owned(), tasks, ..WorkflowDef::default() };
            validate(&def, &[].into()).unwrap_err().to_string()
        });
        assert!(fault.contains("nested deeper than 100: flatten it"), "{fault}");
    }
}
