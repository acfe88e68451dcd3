//! What dynamic forks of a run have opened, as its picture shows it.

use std::collections::HashMap;

use oms_engine::{Execution, TaskExecution, TaskStatus, WorkflowTask};
use serde_json::{Map, Value};

use super::look::Look;
use super::text::number;
use crate::graph::{Forks, Mark, Opened, Rest};
use crate::shown::plain_name;

/// Branches of a fork that are drawn one by one.
const BRANCHES_MAX: usize = 10;
/// Steps of all that are drawn so; a branch with more is counted with the others.
const STEPS_MAX: usize = 300;

/// The attempt that is shown of each step: the last one of its last turn.
pub(super) type Last<'a> = HashMap<&'a str, &'a TaskExecution>;

pub(super) fn last(run: &Execution) -> Last<'_> {
    let mut last = Last::new();
    for task in &run.tasks {
        last.insert(plain_name(&task.reference_task_name).0, task);
        // A name that only looks like a turn of a loop.
        last.insert(&task.reference_task_name, task);
    }
    last
}

/// The engine notes what a fork opens in the input of the fork. The step that is looked at is drawn,
/// if it is one of them.
pub(super) fn forks(run: &Execution, last: &Last<'_>, chosen: &str) -> Forks {
    let mut steps = STEPS_MAX;
    let mut forks = Forks::new();
    for task in &run.tasks {
        let name = plain_name(&task.reference_task_name).0;
        let is_last = last.get(name).is_some_and(|last| std::ptr::eq(*last, task));
        let defs = task.input_data.get("forkedTaskDefs").and_then(Value::as_array);
        let opened = defs.filter(|_| is_last && task.status == TaskStatus::Completed);
        if let Some(defs) = opened {
            forks.insert(name.to_owned(), opened_by(defs, last, plain_name(chosen).0, &mut steps));
        }
    }
    forks
}

fn name_of(def: &Value) -> &str {
    def.get("taskReferenceName").and_then(Value::as_str).unwrap_or_default()
}

fn opened_by(defs: &[Value], last: &Last<'_>, chosen: &str, steps: &mut usize) -> Opened {
    let mut opened = Opened::default();
    let mut rest: Vec<(Look, usize)> = Vec::new();
    let beyond = defs.iter().skip(BRANCHES_MAX).any(|def| name_of(def) == chosen);
    for def in defs {
        let name = name_of(def);
        let room = BRANCHES_MAX - usize::from(beyond && name != chosen);
        let branch = if opened.branches.len() < room { branch(def) } else { None };
        let size = branch.as_ref().map_or(0, |branch| steps_in(branch).len());
        match branch {
            Some(branch) if size <= *steps => {
                *steps -= size;
                opened.branches.push(branch);
            }
            _ => {
                let look = last.get(name).map_or(Look::NOT_REACHED, |task| Look::of_task(task));
                match rest.iter_mut().find(|(other, _)| other.word == look.word) {
                    Some((_, count)) => *count += 1,
                    None => rest.push((look, 1)),
                }
            }
        }
    }
    rest.sort_by_key(|(look, _)| look.rank());
    opened.rest = rest.into_iter().map(of_rest).collect();
    opened
}

fn of_rest((look, count): (Look, usize)) -> Rest {
    let (class, icon, word) = (look.class, look.icon, look.word.to_owned());
    // All of them are in the list below.
    let link = Some("#tasks".to_owned());
    let mark = Mark { class, icon, word, link, ..Mark::default() };
    Rest { text: format!("and {} more", number(count)), mark }
}

/// A branch without what it was given, which may be large.
fn branch(def: &Value) -> Option<WorkflowTask> {
    let own = def.as_object()?.iter().filter(|(key, _)| *key != "inputParameters");
    let own: Map<String, Value> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(own)).ok()
}

/// A step and those that stand in it.
pub(super) fn steps_in(task: &WorkflowTask) -> Vec<&WorkflowTask> {
    let (mut steps, mut left) = (Vec::new(), vec![task]);
    while let Some(task) = left.pop() {
        left.extend(task.decision_cases.values().flatten());
        left.extend(&task.default_case);
        left.extend(task.fork_tasks.iter().flatten());
        left.extend(&task.loop_over);
        left.extend(task.compensation.as_deref());
        steps.push(task);
    }
    steps
}
