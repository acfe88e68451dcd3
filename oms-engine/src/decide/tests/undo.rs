//! What is to be undone, put in order and taken line by line: order, and what a step of it costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::random::compiled;
use crate::decide::{Decision, Event, Fate, Part, RunState, Undo, Unwind, decide};
use crate::definition::{TaskType, WorkflowDef, WorkflowTask};
use crate::ids::WorkflowId;

fn undoable(name: &str) -> WorkflowTask {
    WorkflowTask::simple("t", name).undone_by(WorkflowTask::simple("u", ""))
}

fn state() -> RunState {
    let none = Arc::new(json!({}));
    let id = WorkflowId::from_uuid(uuid::Uuid::from_u128(7));
    RunState { undoing: true, fresh: true, ..RunState::new(id, none.clone(), none, None) }
}

/// What follows of a decision: the rests of lines, and the tasks that are open.
fn of(decision: Decision) -> (Vec<Value>, Vec<String>) {
    let (mut lines, mut tasks) = (Vec::new(), Vec::new());
    for scheduled in decision.scheduled {
        match scheduled.fate {
            Fate::Line { .. } => lines.push(Value::clone(&scheduled.input)),
            _ => tasks.push(scheduled.reference_name.to_string()),
        }
    }
    (lines, tasks)
}

/// Undoes all of it, the youngest line first. Out: the names in order, the bytes written for
/// lines, and the most tasks that one decision opened.
fn undo_all(def: WorkflowDef, steps: Vec<String>) -> (Vec<String>, usize, usize) {
    let plan = compiled(def, Vec::new());
    let (mut state, unwind) = (state(), Unwind { steps, forks: Vec::new() });
    let (mut lines, _) = of(decide(&plan, &mut state, &Event::Unwind(unwind)).unwrap());
    let (mut names, mut bytes, mut most) = (Vec::new(), 0, 0);
    while let Some(line) = lines.pop() {
        let parts: Vec<Part> = serde_json::from_value(line["undo"].clone()).unwrap();
        let undo = Undo { parts, facts: BTreeMap::new() };
        let (more, tasks) = of(decide(&plan, &mut state, &Event::Undo(undo)).unwrap());
        bytes += more.iter().map(|line| line.to_string().len()).sum::<usize>();
        most = most.max(tasks.len());
        names.extend(tasks);
        lines.extend(more);
        state.open.clear();
    }
    (names, bytes, most)
}

#[test]
fn ten_thousand_turns_are_undone_one_by_one_and_each_costs_as_much_as_of_a_hundred() {
    let looping = || WorkflowTask {
        name: "l".to_owned(),
        task_reference_name: "l".to_owned(),
        task_type: TaskType::DoWhile,
        items: Some("${workflow.input.list}".to_owned()),
        loop_over: vec![undoable("a")],
        ..WorkflowTask::default()
    };
    let cost = |turns: usize| {
        let def = WorkflowDef { tasks: vec![looping()], ..WorkflowDef::default() };
        let steps = (1..=turns).map(|turn| format!("a__{turn}")).collect();
        let (names, bytes, most) = undo_all(def, steps);
        let expected: Vec<String> = (1..=turns).rev().map(|n| format!("a_undo__{n}")).collect();
        assert_eq!((names, most), (expected, 1));
        bytes / turns
    };
    let (few, many) = (cost(100), cost(10_000));
    assert!(many < few * 3, "{many} bytes a step, {few} of a hundred");
}

#[test]
fn wide_forks_are_undone_in_groups_that_one_decision_can_hold() {
    let branches: Vec<String> = (0..1_000).map(|n| format!("b{n}")).collect();
    let fork = WorkflowTask {
        name: "f".to_owned(),
        task_reference_name: "f".to_owned(),
        task_type: TaskType::ForkJoin,
        fork_tasks: branches.iter().map(|name| vec![undoable(name)]).collect(),
        ..WorkflowTask::default()
    };
    let join = WorkflowTask {
        name: "j".to_owned(),
        task_reference_name: "j".to_owned(),
        task_type: TaskType::Join,
        join_on: branches.clone(),
        ..WorkflowTask::default()
    };
    let tasks = vec![undoable("a"), fork, join, undoable("z")];
    let mut steps = branches;
    steps.extend(["a".to_owned(), "z".to_owned()]);
    let def = WorkflowDef { tasks, ..WorkflowDef::default() };
    let (names, _, most) = undo_all(def, steps);
    assert_eq!(names.len(), 1_002);
    assert_eq!((names[0].as_str(), names[1_001].as_str()), ("z_undo", "a_undo"));
    assert!((200..=256).contains(&most), "{most} at once");
}
