//! Which tasks stand in branches beside a step: a rerun from it leaves them alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::Scope;
use super::branches::tasks_of;
use super::flow::Place;
use super::graph::{Branch, Graph, Parent, instance};
use super::node::{Kind, Node};
use super::plan::Plan;

/// The branches that a task stands in, from the outermost: the fork with its turns, and which of
/// its branches.
type Path = Vec<(String, usize)>;

/// The JOIN of a fork stands beside each of its branches.
const JOIN: usize = usize::MAX;

/// The branches of a run, those of dynamic forks among them.
#[derive(Debug)]
pub(crate) struct Branches<'a> {
    plan: &'a Plan,
    /// Of dynamic forks, by the name of a step without turns: the fork's own path and turns, and
    /// the branch.
    dynamic: HashMap<String, Vec<Dynamic>>,
}

#[derive(Debug)]
struct Dynamic {
    path: Arc<Path>,
    turns: Arc<Vec<u32>>,
    /// The fork with its turns, and the number of the branch.
    fork: (String, usize),
    branch: Arc<Branch>,
}

impl<'a> Branches<'a> {
    /// `tasks` are those of the run with what they got, in order.
    pub(crate) fn of<'b>(
        plan: &'a Plan,
        tasks: impl Iterator<Item = (&'b str, Option<&'b Value>)>,
    ) -> Self {
        let mut branches = Self { plan, dynamic: HashMap::new() };
        for (name, input) in tasks {
            branches.add(name, input);
        }
        branches
    }

    /// Adds what a dynamic fork has opened.
    fn add(&mut self, name: &str, input: Option<&Value>) {
        let Some((node, turns)) = self.find(name) else { return };
        let (Kind::DynamicFork(from), Some(input)) = (&node.kind, input) else { return };
        let place = Place {
            node: node.clone(),
            turns: turns.clone(),
            scope: Scope::Source,
            region: Scope::Around,
            branch: None,
        };
        let Ok(tasks) = tasks_of(from, input, &place) else { return };
        let path = Arc::new(self.path(name));
        let turns = Arc::new(turns);
        for (number, (task, own)) in tasks.iter().enumerate() {
            // Where its steps stand does not depend on task definitions.
            let compiled = Branch::compile(task, own, &BTreeMap::new(), turns.len());
            let Ok(branch) = compiled.map(Arc::new) else { continue };
            for node in &branch.graph.nodes {
                let (path, turns, branch) = (path.clone(), turns.clone(), branch.clone());
                let fork = (name.to_owned(), number);
                let of_name = self.dynamic.entry(node.reference_name.to_string()).or_default();
                of_name.push(Dynamic { path, turns, fork, branch });
            }
        }
    }

    fn find(&self, name: &str) -> Option<(Arc<Node>, Vec<u32>)> {
        let found = match self.dynamic(name) {
            Some(dynamic) => dynamic.branch.graph.find(name),
            None => self.plan.graph.find(name),
        };
        found.map(|(node, turns)| (node.clone(), turns))
    }

    /// The branch of a dynamic fork that a task stands in, the innermost of them.
    fn dynamic(&self, name: &str) -> Option<&Dynamic> {
        let mut base = name;
        loop {
            if let Some(all) = self.dynamic.get(base) {
                let of_turns = |dynamic: &&Dynamic| {
                    let found = dynamic.branch.graph.find(name);
                    found.is_some_and(|(_, turns)| turns.starts_with(&dynamic.turns))
                };
                return all.iter().rfind(of_turns);
            }
            base = base.rsplit_once("__")?.0;
        }
    }

    fn path(&self, name: &str) -> Path {
        let (graph, mut path) = match self.dynamic(name) {
            Some(dynamic) => {
                let mut path = Path::clone(&dynamic.path);
                path.push(dynamic.fork.clone());
                (&dynamic.branch.graph, path)
            }
            None => (&self.plan.graph, Path::new()),
        };
        if let Some((node, turns)) = graph.find(name) {
            path.extend(path_in(graph, node, &turns));
        }
        path
    }

    /// Whether a task stands in another branch of a fork than a step; of a JOIN, in a branch of its
    /// fork.
    pub(crate) fn beside(&self, step: &str) -> impl Fn(&str) -> bool {
        let mut own = self.path(step);
        if let Some((node, turns)) = self.find(step)
            && let Kind::Join { fork: Some(fork), .. } = &node.kind
        {
            let graph = self.dynamic(step).map_or(&self.plan.graph, |of| &of.branch.graph);
            let fork = graph.get(*fork).map(|fork| instance(&fork.reference_name, &turns));
            own.extend(fork.map(|fork| (fork, JOIN)));
        }
        move |other| {
            let other = self.path(other);
            let parted = own.iter().zip(&other).find(|(own, other)| own != other);
            parted.is_some_and(|(own, other)| own.0 == other.0)
        }
    }
}

/// The branches around a step within its own graph.
fn path_in(graph: &Graph, node: &Arc<Node>, turns: &[u32]) -> Path {
    let mut path = Path::new();
    let mut at = node;
    loop {
        let around = match at.parent {
            Parent::Root | Parent::Undoes(_) => break,
            Parent::Case(index) | Parent::Loop(index) | Parent::Branch(index) => graph.get(index),
        };
        let Some(around) = around else { break };
        if let (Parent::Branch(_), Kind::Fork { branches, .. }) = (at.parent, &around.kind) {
            let outer = turns.get(..around.loops).unwrap_or(turns);
            let number = branches.iter().filter(|first| **first <= at.index).max().copied();
            path.push((instance(&around.reference_name, outer), number.unwrap_or(at.index)));
        }
        at = around;
    }
    path.reverse();
    path
}
