//! Laws of undoing, for runs of random nested definitions that have ended.

use std::collections::BTreeMap;

use serde_json::Value;

use super::world::World;
use crate::decide::{TaskStatus, WorkflowStatus};
use crate::ids::WorkflowId;
use crate::store::HistoryRow;

/// Where a step stands, read off the definition's text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Sequence(usize),
    Turn(Option<u32>),
    Branch(usize),
}

type Paths = BTreeMap<String, Vec<At>>;

fn paths(tasks: &Value, around: &[At], all: &mut Paths) {
    for (index, task) in tasks.as_array().into_iter().flatten().enumerate() {
        let at = |more: &[At]| [around, &[At::Sequence(index)], more].concat();
        let name = |task: &Value| task["taskReferenceName"].as_str().unwrap().to_owned();
        all.insert(name(task), at(&[]));
        for tasks in task["decisionCases"].as_object().into_iter().flatten() {
            paths(tasks.1, &at(&[]), all);
        }
        let branches = task["forkTasks"].as_array().into_iter().flatten();
        for (number, tasks) in branches.enumerate() {
            paths(tasks, &at(&[At::Branch(number)]), all);
        }
        let brought = task["inputParameters"]["tasks"].as_array().into_iter().flatten();
        for (number, task) in brought.enumerate() {
            all.insert(name(task), at(&[At::Branch(number), At::Sequence(0)]));
        }
        paths(&task["loopOver"], &at(&[At::Turn(None)]), all);
    }
}

/// A step in its turns: its name without them, and where it stands.
fn place(all: &Paths, name: &str) -> (String, Vec<At>) {
    let mut parts = name.split("__");
    let own = parts.next().unwrap().to_owned();
    let mut turns = parts.map(|turn| turn.parse().unwrap());
    let path = all[&own].iter().map(|at| match at {
        At::Turn(_) => At::Turn(turns.next()),
        other => *other,
    });
    let path = path.collect();
    (own, path)
}

/// Whether one step comes before another: none where they stand in branches side by side.
fn before(a: &[At], b: &[At]) -> Option<bool> {
    let (a, b) = a.iter().zip(b).find(|(a, b)| a != b)?;
    match (a, b) {
        (At::Sequence(a), At::Sequence(b)) => Some(a < b),
        (At::Turn(a), At::Turn(b)) => Some(a < b),
        _ => None,
    }
}

/// A step that completed, and the attempts to undo it.
struct Undone<'a> {
    step: &'a HistoryRow,
    path: Vec<At>,
    attempts: Vec<&'a HistoryRow>,
}

/// Every completed step that can be undone is undone once or listed, in an order that respects
/// the structure; nothing else is undone; the run ends as was settled.
pub(super) fn check_undone(world: &World, id: WorkflowId, definition: &Value) {
    let row = &world.tables.runs[&id].row;
    let Some(undo) = &row.undo else {
        let undone =
            |row: &HistoryRow| row.workflow_id == id && row.reference_name.contains("_undo");
        let visible = world.tables.visible(id);
        assert!(!visible.iter().any(undone), "{id} undoes and its row does not say so");
        return;
    };
    assert_eq!(undo.end, None, "{id} has ended");
    if let Some(settled) = world.settled.get(&id) {
        assert_eq!(row.status, *settled, "{id} ends as was settled");
    }
    let mut all = Paths::new();
    paths(&definition["tasks"], &[], &mut all);
    let rows = world.tables.visible(id);
    let mut last: BTreeMap<&str, &HistoryRow> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.reference_name.contains("_undo")) {
        last.insert(&row.reference_name, row);
    }
    let mut undone = Vec::new();
    for step in last.values().filter(|row| row.status == TaskStatus::Completed) {
        let (own, path) = place(&all, &step.reference_name);
        if !can_be_undone(definition, &own) {
            continue;
        }
        let name = step.reference_name.replacen(&own, &format!("{own}_undo"), 1);
        let attempts: Vec<&HistoryRow> =
            rows.iter().filter(|row| row.reference_name == name).collect();
        let completed = attempts.iter().filter(|row| row.status == TaskStatus::Completed).count();
        let listed = undo.left.iter().any(|l| l.reference_task_name == step.reference_name);
        assert!(completed <= 1, "{name} undoes {completed} times");
        assert_eq!(completed == 0, listed, "{name}: undone or listed, not both");
        for attempt in &attempts {
            let (given, got) = (step.output.as_ref(), attempt.input.as_ref());
            assert_eq!(got.map(|got| &got["v"]), given.map(|given| &given["v"]), "{name}");
        }
        undone.push(Undone { step, path, attempts });
    }
    let attempts = rows.iter().filter(|row| row.reference_name.contains("_undo")).count();
    let known: usize = undone.iter().map(|undone| undone.attempts.len()).sum();
    assert_eq!(attempts, known, "{id} undoes what did not complete");
    for earlier in &undone {
        for later in &undone {
            if before(&earlier.path, &later.path) != Some(true) {
                continue;
            }
            let first = earlier.attempts.iter().map(|row| row.scheduled_at).min();
            let done = later.attempts.iter().map(|row| row.ended_at).max();
            // Where it stopped before the later one, the earlier was not begun.
            let stopped = first.is_some() && done.is_none();
            let names = (&earlier.step.reference_name, &later.step.reference_name);
            assert!(!stopped, "{names:?}: the second is undone first");
            assert!(first.is_none() || first >= done, "{names:?} are undone out of order");
        }
    }
}

/// Has the run's input bring the tasks of dynamic forks, since data is no template.
pub(super) fn bring(definition: &mut Value, input: &mut Value) {
    match definition {
        Value::Object(map) => {
            let name = map.get("taskReferenceName").and_then(Value::as_str).map(str::to_owned);
            if let (Some(name), Some("FORK_JOIN_DYNAMIC")) =
                (name, map.get("type").and_then(Value::as_str))
            {
                let given = Value::from(format!("${{workflow.input.{name}}}"));
                input[name] = std::mem::replace(&mut map["inputParameters"]["tasks"], given);
            }
            map.values_mut().for_each(|value| bring(value, input));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| bring(value, input)),
        _ => {}
    }
}

fn can_be_undone(definition: &Value, name: &str) -> bool {
    match definition {
        Value::Object(map) => {
            let own = map.get("taskReferenceName").and_then(Value::as_str) == Some(name);
            (own && map.get("compensation").is_some_and(Value::is_object))
                || map.values().any(|value| can_be_undone(value, name))
        }
        Value::Array(list) => list.iter().any(|value| can_be_undone(value, name)),
        _ => false,
    }
}

/// After a retry that completed nothing counts as done that was undone before.
pub(super) fn check_again(world: &World, id: WorkflowId, undone: &[String]) {
    let row = &world.tables.runs[&id].row;
    assert_eq!(row.status, WorkflowStatus::Completed);
    for done in world.tables.visible(id).iter().filter(|done| done.epoch < row.epoch) {
        assert!(!undone.contains(&done.reference_name), "{done:?} was undone");
    }
}

/// The steps that were undone.
pub(super) fn undone(world: &World, id: WorkflowId) -> Vec<String> {
    let rows = world.tables.visible(id);
    let undone = rows.iter().filter(|row| row.status == TaskStatus::Completed);
    let names = undone.filter(|row| row.reference_name.contains("_undo"));
    names.map(|row| row.reference_name.replacen("_undo", "", 1)).collect()
}
