//! The steps of a definition as a graph: what follows what, and what stands in what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::node::{Kind, Node};
use crate::definition::{Fault, TaskDef, TimeoutPolicy, WorkflowTask};

/// Where a sequence of steps stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// It is the definition itself, or a branch of a dynamic fork.
    Root,
    /// A case of the switch with this index.
    Case(usize),
    /// A branch of the fork with this index.
    Branch(usize),
    /// The body of the loop with this index.
    Loop(usize),
    /// Apart from all others: it undoes the step with this index.
    Undoes(usize),
}

/// What comes after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Step(usize),
    /// The body of this loop is through.
    Turn(usize),
    /// The branch is through.
    Arrive,
    /// The definition is through.
    Done,
}

/// Steps by index, in the order of the text: a step comes before what stands in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graph {
    pub(super) nodes: Vec<Arc<Node>>,
    /// What undoes others; their indices follow those of the steps.
    undo: Vec<Arc<Node>>,
    by_reference: BTreeMap<Arc<str>, usize>,
    /// A branch of a dynamic fork ends where its fork's JOIN waits.
    is_branch: bool,
    /// Whether a JOIN in it may leave branches behind.
    pub(crate) floats: bool,
    /// Whether a JOIN in it goes by its list, and what such list.
    pub(crate) by_list: bool,
    pub(crate) listed: BTreeSet<String>,
}

/// A branch of a dynamic fork: its text is not in the definition, so its tasks carry it.
#[derive(Debug, PartialEq)]
pub(crate) struct Branch {
    pub(crate) graph: Graph,
    /// The step and the task definitions it names, as they are stored.
    pub(crate) text: Arc<Value>,
}

impl Graph {
    /// Compiles steps that were validated. Faults are those of expressions.
    pub(super) fn compile(
        tasks: &[WorkflowTask],
        task_defs: &BTreeMap<String, TaskDef>,
        loops: usize,
        is_branch: bool,
    ) -> (Self, Vec<Fault>) {
        let mut builder =
            Builder { nodes: Vec::new(), undo: Vec::new(), faults: Vec::new(), task_defs };
        let place = Place { parent: Parent::Root, loops, sole: !is_branch };
        builder.sequence(tasks, "$.tasks", place);
        builder.number_undo();
        let shared = |nodes: Vec<Node>| nodes.into_iter().map(Arc::new).collect();
        let (nodes, undo): (Vec<Arc<Node>>, Vec<Arc<Node>>) =
            (shared(builder.nodes), shared(builder.undo));
        let all = nodes.iter().chain(&undo);
        let by_reference = all.map(|node| (node.reference_name.clone(), node.index)).collect();
        let (floats, by_list, listed) = (false, false, BTreeSet::new());
        let mut graph = Self { nodes, undo, by_reference, is_branch, floats, by_list, listed };
        graph.mark_lists();
        (graph, builder.faults)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Node>> {
        match index.checked_sub(self.nodes.len()) {
            None => self.nodes.get(index),
            Some(undo) => self.undo.get(undo),
        }
    }

    /// Its steps, apart from those that undo others.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter()
    }

    /// The steps that can be undone, each with what undoes it.
    pub(crate) fn undoable(&self) -> impl Iterator<Item = (&Arc<Node>, &Arc<Node>)> {
        self.undo.iter().filter_map(|undo| match undo.parent {
            Parent::Undoes(step) => Some((self.nodes.get(step)?, undo)),
            _ => None,
        })
    }

    pub(crate) fn index_of(&self, reference_name: &str) -> Option<usize> {
        self.by_reference.get(reference_name).copied()
    }

    pub(super) const fn is_branch(&self) -> bool {
        self.is_branch
    }

    /// The step of a reference name, which inside loops carries the number of each loop's turn,
    /// the outermost first: `pay__2__1`.
    pub(crate) fn find(&self, instance: &str) -> Option<(&Arc<Node>, Vec<u32>)> {
        if let Some(node) = self.by_reference.get(instance).and_then(|index| self.get(*index))
            && node.loops == 0
        {
            return Some((node, Vec::new()));
        }
        let mut turns = Vec::new();
        let mut rest = instance;
        while let Some((base, turn)) = rest.rsplit_once(SEPARATOR) {
            turns.push(turn.parse().ok()?);
            rest = base;
            let node = self.by_reference.get(rest).and_then(|index| self.get(*index));
            if let Some(node) = node
                && node.loops == turns.len()
            {
                turns.reverse();
                return Some((node, turns));
            }
        }
        None
    }

    /// What comes after a step that is through.
    pub(super) fn after(&self, node: &Arc<Node>) -> Next {
        let mut node = node;
        loop {
            if let Some(next) = node.next {
                return Next::Step(next);
            }
            match node.parent {
                Parent::Case(switch) => match self.get(switch) {
                    Some(switch) => node = switch,
                    None => return Next::Done,
                },
                Parent::Undoes(_) => return Next::Arrive,
                Parent::Branch(fork) if !self.floats_at(fork) => return Next::Arrive,
                _ => return self.end_of_region(node),
            }
        }
    }

    fn floats_at(&self, fork: usize) -> bool {
        self.get(fork).is_some_and(|fork| matches!(fork.kind, Kind::Fork { floats: true, .. }))
    }

    /// The loop that a step stands in, as far as this graph has it. What its JOINs leave behind
    /// belongs to that; to the graph where there is none.
    pub(crate) fn region(&self, node: &Node) -> Option<usize> {
        let mut parent = node.parent;
        while let Parent::Case(at) | Parent::Branch(at) = parent {
            parent = self.get(at)?.parent;
        }
        match parent {
            Parent::Loop(of) => Some(of),
            _ => None,
        }
    }

    fn end_of_region(&self, node: &Node) -> Next {
        match self.region(node) {
            Some(of) => Next::Turn(of),
            None if self.is_branch => Next::Arrive,
            None => Next::Done,
        }
    }
}

const SEPARATOR: &str = "__";

/// The reference name of a step in these turns of its loops.
pub(crate) fn instance(reference_name: &str, turns: &[u32]) -> String {
    let mut name = reference_name.to_owned();
    for turn in turns {
        name.push_str(SEPARATOR);
        name.push_str(&turn.to_string());
    }
    name
}

#[derive(Clone, Copy)]
struct Place {
    parent: Parent,
    loops: usize,
    sole: bool,
}

struct Builder<'a> {
    nodes: Vec<Node>,
    undo: Vec<Node>,
    faults: Vec<Fault>,
    task_defs: &'a BTreeMap<String, TaskDef>,
}

impl Builder<'_> {
    /// Adds a sequence and what stands in it. The index of its first step.
    fn sequence(&mut self, tasks: &[WorkflowTask], path: &str, place: Place) -> Option<usize> {
        let mut first = None;
        let mut last: Option<usize> = None;
        for (n, task) in tasks.iter().enumerate() {
            let index = self.nodes.len();
            let path = format!("{path}[{n}]");
            let fork = last.filter(|last| {
                self.nodes.get(*last).is_some_and(|node| {
                    matches!(node.kind, Kind::Fork { .. } | Kind::DynamicFork(_))
                })
            });
            let def = task.effective_task_def(self.task_defs);
            match Node::compile(task, &def, &path) {
                Ok(mut node) => {
                    node.index = index;
                    node.parent = place.parent;
                    node.loops = place.loops;
                    node.sole = place.sole;
                    if let Kind::Join { fork: of, .. } = &mut node.kind {
                        *of = fork;
                    }
                    self.nodes.push(node);
                }
                Err(fault) => {
                    self.faults.push(fault);
                    continue;
                }
            }
            self.undo_of(task, index, &path, place);
            self.children(task, index, &path, place);
            let end = self.nodes.len() - 1;
            if let Some(node) = self.nodes.get_mut(index) {
                node.end = end;
            }
            if let Some(last) = last.and_then(|last| self.nodes.get_mut(last)) {
                last.next = Some(index);
            }
            first = first.or(Some(index));
            last = Some(index);
        }
        first
    }

    fn undo_of(&mut self, task: &WorkflowTask, index: usize, path: &str, place: Place) {
        let Some(undo) = task.undo_task() else { return };
        let def = undo.effective_task_def(self.task_defs);
        match Node::compile(&undo, &def, &format!("{path}.compensation")) {
            Ok(mut node) => {
                node.parent = Parent::Undoes(index);
                node.loops = place.loops;
                node.sole = false;
                // The run ends anyway, with all that can be undone.
                if node.timeout_policy == TimeoutPolicy::TimeOutWorkflow {
                    node.timeout_policy = TimeoutPolicy::Retry;
                }
                self.undo.push(node);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    fn number_undo(&mut self) {
        for (index, undo) in (self.nodes.len()..).zip(&mut self.undo) {
            (undo.index, undo.end) = (index, index);
            if let Parent::Undoes(step) = undo.parent
                && let Some(step) = self.nodes.get_mut(step)
            {
                step.undo = Some(index);
            }
        }
    }

    fn children(&mut self, task: &WorkflowTask, index: usize, path: &str, place: Place) {
        let inside = |parent, loops, sole| Place { parent, loops: place.loops + loops, sole };
        let case = inside(Parent::Case(index), 0, place.sole);
        let kind = match self.nodes.get(index).map(|node| node.kind.clone()) {
            Some(Kind::Switch { on, .. }) => {
                let cases = task.decision_cases.iter().map(|(name, tasks)| {
                    (
                        name.clone(),
                        self.sequence(tasks, &format!("{path}.decisionCases.{name}"), case),
                    )
                });
                let cases = cases.collect();
                let default =
                    self.sequence(&task.default_case, &format!("{path}.defaultCase"), case);
                Kind::Switch { on, cases, default }
            }
            Some(Kind::Fork { .. }) => {
                let place = inside(Parent::Branch(index), 0, false);
                let branches = task.fork_tasks.iter().enumerate().map(|(n, tasks)| {
                    self.sequence(tasks, &format!("{path}.forkTasks[{n}]"), place)
                });
                Kind::Fork { branches: branches.flatten().collect(), floats: false }
            }
            Some(Kind::Loop { condition, items, .. }) => {
                let place = inside(Parent::Loop(index), 1, place.sole);
                let body = self.sequence(&task.loop_over, &format!("{path}.loopOver"), place);
                Kind::Loop { condition, items, body }
            }
            _ => return,
        };
        if let Some(node) = self.nodes.get_mut(index) {
            node.kind = kind;
        }
    }
}
