//! Random shapes as definitions.

use serde_json::{Value, json};

use super::laws::Shape;

/// Writes a sequence out, with names of their own.
pub(super) fn write(shapes: &[Shape], next: &mut usize) -> Vec<Value> {
    let mut steps = Vec::new();
    for shape in shapes {
        *next += 1;
        let failing = matches!(shape, Shape::Task { optional: true, .. });
        let name = format!("{}{next}", if failing { "o" } else { "s" });
        let step = |kind: &str, more: Value| {
            let mut step = json!({ "name": "t", "taskReferenceName": name, "type": kind });
            step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            step
        };
        match shape {
            Shape::Task { optional, permissive, reads, undo } => {
                let undo = undo.then(|| undo_of(&name));
                let mut more = json!({ "optional": optional, "permissive": permissive });
                more["compensation"] = json!(undo);
                if *reads {
                    more["inputParameters"] = reading(steps.last());
                }
                steps.push(step("SIMPLE", more));
            }
            Shape::Noop => steps.push(step("NOOP", json!({}))),
            Shape::SetVariable => {
                steps.push(step("SET_VARIABLE", json!({ "inputParameters": { &name: 1 } })));
            }
            Shape::Event { asynchronous } => steps
                .push(step("EVENT", json!({ "sink": "conductor", "asyncComplete": asynchronous }))),
            Shape::Switch { cases, taken } => {
                let branches: serde_json::Map<String, Value> = cases
                    .iter()
                    .enumerate()
                    .map(|(n, tasks)| (n.to_string(), Value::Array(write(tasks, next))))
                    .collect();
                steps.push(step(
                    "SWITCH",
                    json!({
                        "evaluatorType": "value-param", "expression": "case",
                        "inputParameters": { "case": taken }, "decisionCases": branches,
                    }),
                ));
            }
            Shape::Fork { branches, joined, again } => {
                let branches: Vec<Vec<Value>> =
                    branches.iter().map(|tasks| write(tasks, next)).collect();
                steps.push(step("FORK_JOIN", json!({ "forkTasks": branches })));
                steps.extend(joins(&branches, *joined, *again, next));
            }
            Shape::Loop { turns, body } => {
                let body = write(body, next);
                let items: Vec<usize> = (0..*turns).collect();
                let input = json!({ "_items": items });
                steps.push(step("DO_WHILE", json!({ "loopOver": body, "inputParameters": input })));
            }
            Shape::Dynamic { branches, undo } => {
                steps.push(step("FORK_JOIN_DYNAMIC", dynamic(&name, *branches, *undo)));
                steps.push(join(next, &json!([])));
            }
            Shape::Child => {
                steps
                    .push(step("SUB_WORKFLOW", json!({ "subWorkflowParam": { "name": "child" } })));
            }
            Shape::Terminate => steps.push(step(
                "TERMINATE",
                json!({
                    "inputParameters": { "terminationStatus": "COMPLETED" },
                }),
            )),
        }
    }
    steps
}

/// A JOIN on some branches, and where it is asked for a second one on all.
fn joins(branches: &[Vec<Value>], joined: u8, again: bool, next: &mut usize) -> Vec<Value> {
    let last = branches.iter().filter_map(|tasks| Some(&tasks.last()?["taskReferenceName"]));
    let last: Vec<&Value> = last.collect();
    let waits = |(n, _): &(usize, &&Value)| joined & (1 << n) != 0;
    let some: Vec<&Value> = last.iter().enumerate().filter(waits).map(|(_, n)| *n).collect();
    let mut steps = vec![join(next, &json!(some))];
    if again {
        steps.push(join(next, &json!(last)));
    }
    steps
}

/// A fork of so many tasks that its input names.
fn dynamic(name: &str, branches: usize, undo: bool) -> Value {
    let tasks = (0..branches).map(|n| {
        let name = format!("{name}b{n}");
        let mut task = json!({ "name": "t", "taskReferenceName": name, "type": "SIMPLE" });
        if undo {
            task["compensation"] = undo_of(&name);
        }
        task
    });
    let tasks: Vec<Value> = tasks.collect();
    json!({
        "dynamicForkTasksParam": "tasks", "dynamicForkTasksInputParamName": "inputs",
        "inputParameters": { "tasks": tasks, "inputs": {} },
    })
}

/// What undoes a step: it gets what that gave.
pub(super) fn undo_of(name: &str) -> Value {
    // Data is no template.
    json!({ "name": "t", "inputParameters": { "v": format!("${{{name}.output.v}}") } })
}

/// An input that reads the variables and the step before.
fn reading(before: Option<&Value>) -> Value {
    let name = before.and_then(|step| step["taskReferenceName"].as_str()).unwrap_or("workflow");
    json!({ "variables": "${workflow.variables}", "before": format!("${{{name}.output}}") })
}

fn join(next: &mut usize, on: &Value) -> Value {
    *next += 1;
    let name = format!("j{next}");
    json!({ "name": name, "taskReferenceName": name, "type": "JOIN", "joinOn": on })
}
