//! Which tasks of a run are listed, and in which order.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::execution::TaskExecution;
use crate::decide::Plan;

/// What of a run's tasks is listed: a container that was opened again, and a sub-workflow that was
/// gone on with, stand once, where they stood first, and turns that their loop does not keep are left out.
pub(super) fn shown(
    tasks: Vec<(i64, TaskExecution)>,
    plan: &Plan,
    rerun: bool,
) -> Vec<(i64, TaskExecution)> {
    let mut shown: Vec<(i64, TaskExecution)> = Vec::with_capacity(tasks.len());
    let mut containers: BTreeMap<String, usize> = BTreeMap::new();
    let mut children: BTreeMap<(String, String), usize> = BTreeMap::new();
    // How often a step went on with the sub-workflow it had, by reference name.
    let mut resumed: BTreeMap<String, i16> = BTreeMap::new();
    for (seq, mut task) in tasks {
        let name = &task.reference_task_name;
        if task.task_type == "SUB_WORKFLOW" {
            task.retry_count -= resumed.get(name).copied().unwrap_or(0);
        }
        if let Some(key) = child_of(&task) {
            if let Some(first) = children.get(&key).and_then(|at| shown.get_mut(*at)) {
                *resumed.entry(name.clone()).or_default() += 1;
                task.retry_count = first.1.retry_count;
                first.1 = task;
                continue;
            }
            children.insert(key, shown.len());
        }
        if !matches!(task.task_type.as_str(), "JOIN" | "DO_WHILE") {
            shown.push((seq, task));
            continue;
        }
        task.retry_count = 0;
        match containers.get(&task.reference_task_name).and_then(|at| shown.get_mut(*at)) {
            Some(first) => first.1 = task,
            None => {
                containers.insert(task.reference_task_name.clone(), shown.len());
                shown.push((seq, task));
            }
        }
    }
    if rerun {
        before_their_bodies(&mut shown, plan);
    }
    let dropped = turns_not_kept(&shown, plan);
    if !dropped.is_empty() {
        shown.retain(|(_, task)| {
            let Some((node, turns)) = plan.graph.find(&task.reference_task_name) else {
                return true;
            };
            !dropped.iter().any(|(of, outer, last)| {
                let inside = node.index > of.start && node.index <= of.end;
                let turn = turns.get(outer.len());
                inside && turns.starts_with(outer) && turn.is_some_and(|turn| turn <= last)
            })
        });
    }
    shown
}

/// Which sub-workflow a task stands for.
fn child_of(task: &TaskExecution) -> Option<(String, String)> {
    let child = task.output_data.get("subWorkflowId")?.as_str()?;
    let is_one = task.task_type == "SUB_WORKFLOW";
    is_one.then(|| (task.reference_task_name.clone(), child.to_owned()))
}

/// A loop that a rerun has opened again stands before what stayed of its turns.
fn before_their_bodies(tasks: &mut Vec<(i64, TaskExecution)>, plan: &Plan) {
    for at in 0..tasks.len() {
        let Some((_, task)) = tasks.get(at).filter(|(_, task)| task.task_type == "DO_WHILE") else {
            continue;
        };
        let Some((node, outer)) = plan.graph.find(&task.reference_task_name) else { continue };
        let first = tasks.iter().take(at).position(|(_, task)| {
            plan.graph.find(&task.reference_task_name).is_some_and(|(inner, turns)| {
                inner.index > node.index && inner.index <= node.end && turns.starts_with(&outer)
            })
        });
        if let Some(first) = first {
            let task = tasks.remove(at);
            tasks.insert(first, task);
        }
    }
}

/// The steps of a loop's body, the turns around the loop, and the last turn that is not kept.
type Dropped = (Range<usize>, Vec<u32>, u32);

fn turns_not_kept(tasks: &[(i64, TaskExecution)], plan: &Plan) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    for (_, task) in tasks.iter().filter(|(_, task)| task.task_type == "DO_WHILE") {
        let keep = task.input_data.get("keepLastN").and_then(Value::as_u64);
        let (Some(keep), Some((node, outer))) = (keep, plan.graph.find(&task.reference_task_name))
        else {
            continue;
        };
        let turns = tasks.iter().filter_map(|(_, task)| {
            let (inner, turns) = plan.graph.find(&task.reference_task_name)?;
            let inside = inner.index > node.index && inner.index <= node.end;
            (inside && turns.starts_with(&outer)).then(|| turns.get(outer.len()).copied())?
        });
        let last = turns.max().unwrap_or(0);
        let keep = u32::try_from(keep).unwrap_or(u32::MAX);
        dropped.push((node.index..node.end, outer, last.saturating_sub(keep)));
    }
    dropped
}
