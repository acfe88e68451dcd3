//! Who reads what: which steps decide on a fresh load, which inputs are stored with the token,
//! and how long memory keeps what a step gave.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::graph::{Graph, Parent};
use super::node::{Kind, Node};
use super::plan::reads_history;
use crate::definition::{Fields, Reads, Template};

/// Fields of the workflow that cannot change between the scheduling of a task and a rescue.
const FIXED_FIELDS: [&str; 8] = [
    "input",
    "workflowId",
    "parentWorkflowId",
    "parentWorkflowTaskId",
    "workflowType",
    "version",
    "correlationId",
    "schemaVersion",
];

/// The branches a step stands in: the index of each fork and the first step of the branch.
pub(super) type Branches = Arc<Vec<(usize, usize)>>;

/// Marks the steps that decide on a fresh load, and those whose input is stored.
pub(super) fn mark(graph: &mut Graph) {
    let branches = branches_of(graph);
    let sets_variables = graph.nodes.iter().any(|node| matches!(node.kind, Kind::SetVariable));
    let marks: Vec<(bool, bool)> = graph
        .nodes
        .iter()
        .map(|node| {
            let reads = &node.reads;
            let beside = !node.sole && reads_beside(graph, &branches, node, sets_variables);
            let fresh = reads_history(reads) || beside;
            // The input of a dynamic branch is data that stands nowhere else.
            let stored = beside || graph.is_branch() || stores_input(reads);
            (fresh, stored || !node.kind.is_worker())
        })
        .collect();
    for (node, (fresh, stored)) in graph.nodes.iter_mut().zip(marks) {
        let mut marked = Node::clone(node);
        (marked.fresh, marked.stores_input) = (fresh, stored);
        *node = Arc::new(marked);
    }
}

/// Whether a step of a branch reads what other branches may change while it is open.
fn reads_beside(graph: &Graph, branches: &[Branches], node: &Node, sets_variables: bool) -> bool {
    if node.reads.dynamic || (sets_variables && node.reads.variables()) {
        return true;
    }
    // What floats may be open wherever something reads it.
    if graph.floats && !node.reads.tasks.is_empty() {
        return true;
    }
    if graph.is_branch() {
        return node.reads.tasks.keys().any(|name| graph.index_of(name).is_none());
    }
    let Some(own) = branches.get(node.index) else { return true };
    let names = node.reads.tasks.keys().chain(node.waits_for());
    names
        .filter_map(|name| graph.index_of(name))
        .filter_map(|index| branches.get(index))
        .any(|others| beside(own, others))
}

/// Whether steps stand in different branches of a fork.
pub(super) fn beside(own: &Branches, other: &Branches) -> bool {
    let forks = own.iter().zip(other.iter());
    forks.into_iter().any(|(own, other)| own.0 == other.0 && own.1 != other.1)
}

pub(super) fn branches_of(graph: &Graph) -> Vec<Branches> {
    let mut all: Vec<Branches> = Vec::with_capacity(graph.nodes.len());
    // The first step of each branch stands for the branch.
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for node in &graph.nodes {
        if let Kind::Fork { branches, .. } = &node.kind {
            first.extend(branches.iter().map(|at| (*at, *at)));
        }
        if let (Some(at), Some(next)) = (first.get(&node.index).copied(), node.next)
            && matches!(node.parent, Parent::Branch(_))
        {
            first.insert(next, at);
        }
        let of_parent = |index: usize| all.get(index).cloned().unwrap_or_default();
        let branches = match node.parent {
            Parent::Root | Parent::Undoes(_) => Branches::default(),
            Parent::Case(parent) | Parent::Loop(parent) => of_parent(parent),
            Parent::Branch(fork) => {
                let mut branches = Vec::clone(&of_parent(fork));
                branches.push((fork, first.get(&node.index).copied().unwrap_or(node.index)));
                Arc::new(branches)
            }
        };
        all.push(branches);
    }
    all
}

fn stores_input(reads: &Reads) -> bool {
    reads.dynamic
        || reads.workflow.all
        || reads.workflow.named.iter().any(|field| !FIXED_FIELDS.contains(&field.as_str()))
}

/// How long memory keeps what a step gave, so that a long run's state does not grow with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifetimes {
    /// By step: whether something reads its input, and its output.
    payloads: Vec<(bool, bool)>,
    /// By step: the steps that nothing after it reads.
    released: Vec<Vec<usize>>,
    /// By step: whether anything at all asks for it.
    needed: Vec<bool>,
}

impl Lifetimes {
    pub(super) fn of(graph: &Graph, output: Option<&Template>) -> Self {
        let count = graph.nodes.len();
        let mut lives = Lives {
            graph,
            last: graph.nodes.iter().map(|node| node.index).collect(),
            payloads: vec![(false, false); count],
            needed: vec![false; count],
        };
        for node in &graph.nodes {
            // Of a permissive step the end of the run asks how it ended.
            if node.permissive {
                lives.reads(node.index, count, &Fields::default());
            }
            let at = outermost_loop_end(graph, node).max(node.end);
            lives.all(&node.reads, at);
            for name in node.waits_for() {
                lives.named(name, at);
            }
            if let Kind::Loop { condition: Some(condition), .. } = &node.kind {
                lives.of_condition(node, condition, at);
            }
        }
        if let Some(output) = output {
            lives.all(output.reads(), count);
        }
        let Lives { last, mut payloads, needed, .. } = lives;
        if output.is_none() {
            payloads
                .iter_mut()
                .zip(&graph.nodes)
                .filter(|(_, node)| ends_run(graph, node))
                .for_each(|(read, _)| read.1 = true);
        }
        let mut released = vec![Vec::new(); count];
        for (index, last) in last.into_iter().enumerate() {
            if let Some(released) = released.get_mut(last) {
                released.push(index);
            }
        }
        Self { payloads, released, needed }
    }

    pub(super) fn payloads(&self, node: &Node) -> (bool, bool) {
        self.payloads.get(node.index).copied().unwrap_or((true, true))
    }

    pub(super) fn released(&self, passed: Range<usize>) -> impl Iterator<Item = usize> {
        self.released.get(passed).unwrap_or_default().iter().flatten().copied()
    }

    pub(super) fn needed(&self, graph: &Graph) -> BTreeSet<Arc<str>> {
        let needed = graph.nodes.iter().zip(&self.needed).filter(|(_, needed)| **needed);
        needed.map(|(node, _)| node.reference_name.clone()).collect()
    }
}

struct Lives<'a> {
    graph: &'a Graph,
    last: Vec<usize>,
    payloads: Vec<(bool, bool)>,
    needed: Vec<bool>,
}

impl Lives<'_> {
    fn all(&mut self, reads: &Reads, at: usize) {
        if reads.dynamic {
            self.payloads.fill((true, true));
            self.needed.fill(true);
            self.last.iter_mut().for_each(|last| *last = at.max(*last));
        }
        for (name, fields) in &reads.tasks {
            if let Some(index) = self.graph.index_of(name) {
                self.reads(index, at, fields);
            }
        }
    }

    fn named(&mut self, name: &str, at: usize) {
        if let Some(index) = self.graph.index_of(name) {
            self.reads(index, at, &Fields { all: true, ..Fields::default() });
        }
    }

    fn reads(&mut self, index: usize, at: usize, fields: &Fields) {
        if let Some(last) = self.last.get_mut(index) {
            *last = at.max(*last);
        }
        if let Some(needed) = self.needed.get_mut(index) {
            *needed = true;
        }
        if let Some(read) = self.payloads.get_mut(index) {
            *read = (read.0 || fields.contains("input"), read.1 || fields.contains("output"));
        }
    }

    /// A condition may read every step of its body whose name stands in it.
    fn of_condition(&mut self, of: &Node, condition: &str, at: usize) {
        let body = self.graph.nodes.get(of.index + 1..=of.end).unwrap_or_default();
        let named: Vec<Arc<str>> = body
            .iter()
            .map(|node| node.reference_name.clone())
            .filter(|name| condition.contains(&**name))
            .collect();
        for name in named {
            self.named(&name, at);
        }
    }
}

/// A step in a loop is passed again until the outermost loop around it is through.
fn outermost_loop_end(graph: &Graph, node: &Node) -> usize {
    let mut end = node.index;
    let mut parent = node.parent;
    while let Parent::Case(at) | Parent::Branch(at) | Parent::Loop(at) = parent {
        let Some(around) = graph.get(at) else { break };
        if matches!(around.kind, Kind::Loop { .. }) {
            end = around.end;
        }
        parent = around.parent;
    }
    end
}

/// Whether a run can end with this step as its last.
fn ends_run(graph: &Graph, node: &Arc<Node>) -> bool {
    !matches!(graph.after(node), super::graph::Next::Step(_))
}
