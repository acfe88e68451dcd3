//! In which order what a run did is undone.
//!
//! It is that of the definition's structure as it ran, turned round: what followed each other is
//! undone from the last to the first (so are the turns of a loop), branches side by side, and all
//! of a fork before what came before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::branches::{Forked, tasks_of};
use super::flow::{Place, Walk};
use super::graph::{Branch, Graph, Parent};
use super::node::{Kind, Node};
use super::{DecideError, Scope};
use crate::definition::WorkflowTask;

/// A longer line is cut into lines of this length: the rest of a line is written again with
/// every part that is taken from it.
const PARTS_MAX: usize = 64;
/// Lines side by side; more are undone one group after the other, so that one decision does not
/// hold what all of them gave.
const LINES_MAX: usize = 256;

/// What comes next in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Part {
    /// A step, by its reference name with turns.
    Step(String),
    /// Lines side by side.
    Lines(Vec<Line>),
}

/// Parts after each other, from the first to be undone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The branch of a dynamic fork that its steps stand in; none for that of the line around.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<Arc<Value>>,
    pub(super) parts: Vec<Part>,
}

/// What a run did that can be undone.
#[derive(Clone, Debug)]
pub(crate) struct Unwind {
    /// Steps, by reference name with turns.
    pub(crate) steps: Vec<String>,
    /// Dynamic forks, by reference name with turns, and what each got; outer ones first.
    pub(crate) forks: Vec<(String, Arc<Value>)>,
}

/// Where a step stands, from the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    At(usize),
    Turn(u32),
    Branch(usize),
}

/// A step to be undone.
#[derive(Debug)]
struct Item {
    path: Vec<Key>,
    name: String,
    /// Branches of dynamic forks around it, by their place in `path`.
    branches: BTreeMap<usize, Arc<Value>>,
}

impl Walk<'_> {
    /// Puts what is to be undone in order.
    pub(super) fn unwind(&mut self, unwind: &Unwind) -> Result<(), DecideError> {
        let parts = self.parts_of(unwind)?;
        self.push_line(Scope::Source, None, 0, &parts);
        Ok(())
    }

    fn parts_of(&self, unwind: &Unwind) -> Result<Vec<Part>, DecideError> {
        let mut brought = Brought::default();
        for (name, input) in &unwind.forks {
            let Some((graph, base)) = brought.base(&self.plan.graph, name) else { continue };
            let Some((node, turns)) = graph.find(name) else { continue };
            let Kind::DynamicFork(from) = &node.kind else { continue };
            let (scope, region, node_of) = (Scope::Source, Scope::Around, node.clone());
            let place = Place { node: node_of, turns, scope, region, branch: None };
            let tasks = tasks_of(from, input, &place).unwrap_or_default();
            let undoable = tasks.into_iter().enumerate().filter(|(_, task)| can_undo(&task.0));
            let (numbers, tasks): (Vec<usize>, Vec<Forked>) = undoable.unzip();
            let branches = self.compile_branches(&place, &tasks)?.unwrap_or_default();
            let fork = base.with(path_of(graph, node, &place.turns));
            for (number, branch) in numbers.into_iter().zip(branches) {
                let mut base = Base { path: fork.path.clone(), branches: fork.branches.clone() };
                base.branches.insert(base.path.len(), branch.text.clone());
                base.path.push(Key::Branch(number));
                brought.add(branch, place.turns.clone(), base);
            }
        }
        let items = unwind.steps.iter().filter_map(|name| {
            let (graph, base) = brought.base(&self.plan.graph, name)?;
            let (node, turns) = graph.find(name)?;
            let Base { path, branches } = base.with(path_of(graph, node, &turns));
            Some(Item { path, name: name.clone(), branches })
        });
        Ok(parts(items.collect(), 0))
    }
}

/// Whether a step that data brings, or one inside it, says by what it is undone.
pub(crate) fn can_undo(task: &WorkflowTask) -> bool {
    !undoable_in(task).is_empty() || !dynamic_forks_in(task).is_empty()
}

/// The steps of a task that data brings that can be undone: their reference names, and those of
/// what undoes them.
pub(crate) fn undoable_in(task: &WorkflowTask) -> Vec<(String, String)> {
    let undo = |task: &WorkflowTask| {
        Some((task.task_reference_name.clone(), task.undo_task()?.task_reference_name))
    };
    tasks_in(task).into_iter().filter_map(undo).collect()
}

/// The dynamic forks in a task that data brings.
pub(crate) fn dynamic_forks_in(task: &WorkflowTask) -> Vec<String> {
    let forks = tasks_in(task);
    let forks = forks.into_iter().filter(|task| task.dynamic_fork_tasks_param.is_some());
    forks.map(|task| task.task_reference_name.clone()).collect()
}

fn tasks_in(task: &WorkflowTask) -> Vec<&WorkflowTask> {
    let (mut all, mut rest) = (Vec::new(), vec![task]);
    while let Some(task) = rest.pop() {
        rest.extend(task.decision_cases.values().flatten());
        rest.extend(&task.default_case);
        rest.extend(task.fork_tasks.iter().flatten());
        rest.extend(&task.loop_over);
        all.push(task);
    }
    all
}

/// The tasks that a dynamic fork opened, from what history has as its input.
pub(crate) fn forked_by(input: &Value) -> Vec<WorkflowTask> {
    let listed = input.get("forkedTaskDefs").and_then(Value::as_array);
    let read = |task: &Value| serde_json::from_value(task.clone()).ok();
    listed.into_iter().flatten().filter_map(read).collect()
}

/// Where a branch, or the definition itself, stands.
#[derive(Clone, Debug, Default)]
struct Base {
    path: Vec<Key>,
    branches: BTreeMap<usize, Arc<Value>>,
}

impl Base {
    fn with(&self, path: Vec<Key>) -> Self {
        let mut base = self.clone();
        base.path.extend(path);
        base
    }
}

/// Branches that data brought, by the reference names in them.
#[derive(Debug, Default)]
struct Brought {
    branches: Vec<(Arc<Branch>, Vec<u32>, Base)>,
    by_name: BTreeMap<(String, Vec<u32>), usize>,
}

impl Brought {
    fn add(&mut self, branch: Arc<Branch>, turns: Vec<u32>, base: Base) {
        for node in &branch.graph.nodes {
            let key = (node.reference_name.to_string(), turns.clone());
            self.by_name.insert(key, self.branches.len());
        }
        self.branches.push((branch, turns, base));
    }

    /// The graph that a step stands in, and where that stands.
    fn base<'a>(&'a self, definition: &'a Graph, name: &str) -> Option<(&'a Graph, Base)> {
        if definition.find(name).is_some() {
            return Some((definition, Base::default()));
        }
        let mut parts = name.split("__");
        let own = parts.next()?.to_owned();
        let turns: Vec<u32> = parts.map_while(|turn| turn.parse().ok()).collect();
        // The turns of the loops around the fork come first.
        let found = (0..=turns.len()).rev().find_map(|outer| {
            let key = (own.clone(), turns.get(..outer)?.to_vec());
            self.branches.get(*self.by_name.get(&key)?)
        });
        found.map(|(branch, _, base)| (&branch.graph, base.clone()))
    }
}

/// The way to a step within its graph.
fn path_of(graph: &Graph, node: &Arc<Node>, turns: &[u32]) -> Vec<Key> {
    let mut path = vec![Key::At(node.index)];
    let (mut node, mut turns) = (node, turns.iter().rev());
    loop {
        let around = match node.parent {
            Parent::Root | Parent::Undoes(_) => break,
            Parent::Case(around) => around,
            Parent::Loop(around) => {
                path.push(Key::Turn(turns.next().copied().unwrap_or(0)));
                around
            }
            Parent::Branch(around) => {
                let Some(Kind::Fork { branches, .. }) = graph.get(around).map(|fork| &fork.kind)
                else {
                    break;
                };
                path.push(Key::Branch(branches.partition_point(|first| *first <= node.index)));
                around
            }
        };
        path.push(Key::At(around));
        let Some(around) = graph.get(around) else { break };
        node = around;
    }
    path.reverse();
    path
}

/// Steps that share the first `depth` keys of their ways, as parts of a line.
fn parts(items: Vec<Item>, depth: usize) -> Vec<Part> {
    let mut groups: BTreeMap<Key, Vec<Item>> = BTreeMap::new();
    for item in items {
        if let Some(key) = item.path.get(depth) {
            groups.entry(*key).or_default().push(item);
        }
    }
    let beside = groups.keys().any(|key| matches!(key, Key::Branch(_)));
    let mut all = Vec::new();
    if beside {
        let lines = groups.into_values().map(|items| {
            let branch = items.first().and_then(|item| item.branches.get(&depth).cloned());
            Line { branch, parts: parts(items, depth + 1) }
        });
        let mut lines: Vec<Line> = lines.collect();
        while !lines.is_empty() {
            let rest = lines.split_off(lines.len().min(LINES_MAX));
            all.push(Part::Lines(std::mem::replace(&mut lines, rest)));
        }
    } else {
        for items in groups.into_values().rev() {
            let (own, inside): (Vec<Item>, Vec<Item>) =
                items.into_iter().partition(|item| item.path.len() == depth + 1);
            all.extend(parts(inside, depth + 1));
            all.extend(own.into_iter().map(|item| Part::Step(item.name)));
        }
    }
    folded(all)
}

fn folded(mut parts: Vec<Part>) -> Vec<Part> {
    while parts.len() > PARTS_MAX {
        let groups = parts
            .chunks(PARTS_MAX)
            .map(|group| Part::Lines(vec![Line { branch: None, parts: group.to_vec() }]));
        parts = groups.collect();
    }
    parts
}
