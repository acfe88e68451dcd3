//! Undoing, line by line: a line is one token that waits for what it opened last and keeps the
//! rest, so that nothing of what has been undone is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::flow::{Place, Walk};
use super::graph::{Branch, Graph, Parent, instance};
use super::node::Node;
use super::state::{Fact, OpenLoop, RunState};
use super::unwind::{Line, Part};
use super::{DecideError, Fate, Scope, Wait, next_attempt};

/// What comes next, with what its steps read.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    pub(crate) parts: Vec<Part>,
    /// By reference name with turns; under the name alone the last.
    pub(crate) facts: BTreeMap<String, Fact>,
}

impl Walk<'_> {
    /// Whether nothing follows a task any more, since its run's end is settled: it is waited for.
    pub(super) fn settled(&mut self, place: &Place) -> bool {
        let settled = self.state.undoing && !place.node.undoes();
        self.out.arrives |= settled;
        settled
    }

    /// Opens what comes next in a line.
    pub(super) fn undo(&mut self, undo: &Undo) -> Result<(), DecideError> {
        if undo.parts.is_empty() {
            self.out.arrives = true;
            return Ok(());
        }
        let branch = self.state.branch.clone();
        self.line(Scope::Source, branch.as_ref(), &undo.parts, &undo.facts)
    }

    fn line(
        &mut self,
        scope: Scope,
        branch: Option<&Arc<Branch>>,
        parts: &[Part],
        facts: &BTreeMap<String, Fact>,
    ) -> Result<(), DecideError> {
        match parts.split_first() {
            // A step alone needs no line of its own to wait for it.
            Some((Part::Step(name), [])) if scope != Scope::Source => {
                self.open_undo(scope, branch, name, facts)
            }
            Some((Part::Step(name), rest)) => {
                let key = self.push_line(scope, branch, 1, rest);
                self.open_undo(Scope::Opened(key), branch, name, facts)
            }
            Some((Part::Lines(lines), rest)) => {
                let key = self.push_line(scope, branch, lines.len(), rest);
                for line in lines {
                    let own = branch_of(line)?;
                    let branch = own.as_ref().or(branch);
                    self.line(Scope::Opened(key), branch, &line.parts, facts)?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn push_line(
        &mut self,
        scope: Scope,
        branch: Option<&Arc<Branch>>,
        remaining: usize,
        rest: &[Part],
    ) -> usize {
        let key = self.out.scheduled.len();
        // Of no task: its node says nothing.
        if let Some(node) = self.plan.graph.get(0).cloned() {
            let (turns, region) = (Vec::new(), Scope::Around);
            let place = Place { node, turns, scope, region, branch: branch.cloned() };
            let mut entry = self.entry(&place, 0, json!({ "undo": rest }).into());
            entry.key = Some(key);
            entry.fate = Fate::Line { remaining };
            self.out.scheduled.push(entry);
        }
        key
    }

    /// What was to be undone is through in the same decision: it could not begin.
    pub(super) fn arrive_at_line(&mut self, key: usize) {
        let line = self.out.scheduled.iter_mut().find(|entry| entry.key == Some(key));
        if let Some(Fate::Line { remaining }) = line.map(|line| &mut line.fate) {
            *remaining = remaining.saturating_sub(1);
        }
    }

    fn open_undo(
        &mut self,
        scope: Scope,
        branch: Option<&Arc<Branch>>,
        name: &str,
        facts: &BTreeMap<String, Fact>,
    ) -> Result<(), DecideError> {
        let unknown = || DecideError::UnknownReference(name.to_owned());
        let (graph, node, turns) =
            find(&self.plan.graph, branch.map(|branch| &**branch), name).ok_or_else(unknown)?;
        let undo = node.undo.and_then(|undo| graph.get(undo)).cloned().ok_or_else(unknown)?;
        let around = loops_around(graph, &node);
        let view = View { graph: &self.plan.graph, own: graph, turns: &turns };
        view.show(self.state, &undo, &around, facts);
        let branch = branch.cloned();
        let place = Place { node: undo, turns, scope, region: Scope::Around, branch };
        let own = place.name();
        let attempt = match facts.get(&*own).filter(|fact| fact.epoch == self.state.epoch) {
            Some(fact) => next_attempt(&own, fact.attempt)?,
            None => 0,
        };
        let input = self.input(&place, attempt)?;
        self.state.loops.clear();
        let input = match input {
            Ok(input) => input,
            Err(none) => return self.fail_at_once(&place, attempt, none),
        };
        let delay = Duration::from_millis(u64::try_from(place.node.start_delay_ms).unwrap_or(0));
        let wait = if delay.is_zero() { Wait::Now } else { Wait::For(delay) };
        self.open(&place, attempt, wait, input);
        Ok(())
    }
}

fn branch_of(line: &Line) -> Result<Option<Arc<Branch>>, DecideError> {
    let Some(text) = &line.branch else { return Ok(None) };
    Branch::read(text).map(|branch| Some(Arc::new(branch))).map_err(DecideError::UnknownReference)
}

fn find<'a>(
    definition: &'a Graph,
    branch: Option<&'a Branch>,
    name: &str,
) -> Option<(&'a Graph, Arc<Node>, Vec<u32>)> {
    let own = branch.map(|branch| &branch.graph).filter(|graph| graph.find(name).is_some());
    let graph = own.unwrap_or(definition);
    let (node, turns) = graph.find(name)?;
    Some((graph, node.clone(), turns))
}

/// The loops around a step, the outermost first.
fn loops_around<'a>(graph: &'a Graph, node: &Node) -> Vec<&'a Arc<Node>> {
    let (mut loops, mut parent) = (Vec::new(), node.parent);
    while let Parent::Case(at) | Parent::Branch(at) | Parent::Loop(at) = parent {
        let Some(around) = graph.get(at) else { break };
        if matches!(parent, Parent::Loop(_)) {
            loops.push(around);
        }
        parent = around.parent;
    }
    loops.reverse();
    loops
}

/// The run as a step in certain turns saw it.
struct View<'a> {
    graph: &'a Graph,
    own: &'a Graph,
    turns: &'a [u32],
}

impl View<'_> {
    /// Whose last attempt it reads under a reference name: that of the same turns, and the last
    /// of all where it stands in other loops.
    fn wanted(&self, around: &[&Arc<Node>], name: &str) -> (String, bool) {
        let of = |graph: &Graph| {
            let node = graph.index_of(name).and_then(|index| graph.get(index))?.clone();
            let loops = loops_around(graph, &node);
            let same = loops.iter().zip(around).all(|(a, b)| a.reference_name == b.reference_name);
            Some((node.loops, same || !std::ptr::eq(graph, self.own)))
        };
        match of(self.own).or_else(|| of(self.graph)) {
            Some((loops, true)) if loops <= self.turns.len() => {
                (instance(name, self.turns.get(..loops).unwrap_or_default()), false)
            }
            Some((loops, _)) => (name.to_owned(), loops > 0),
            None => (instance(name, self.turns), false),
        }
    }

    fn show(
        &self,
        state: &mut RunState,
        undo: &Node,
        around: &[&Arc<Node>],
        facts: &BTreeMap<String, Fact>,
    ) {
        for name in self.read(undo) {
            let (exact, _) = self.wanted(around, &name);
            match facts.get(&exact).or_else(|| facts.get(&name)) {
                Some(fact) => state.facts.insert(name.into(), fact.clone()),
                None => state.facts.remove(&*name),
            };
        }
        // The loops around it as its turn saw them, apart from what they went through.
        let outer = self.turns.len().saturating_sub(around.len());
        state.loops.clear();
        for (number, of) in around.iter().enumerate() {
            let at = outer + number;
            let Some(turn) = self.turns.get(at) else { continue };
            let fact = state.facts.get(&*of.reference_name);
            let open = OpenLoop {
                turns: self.turns.get(..at).unwrap_or_default().to_vec(),
                turn: *turn,
                input: fact.and_then(|fact| fact.input.clone()).unwrap_or_else(|| json!({}).into()),
                items: None,
            };
            state.loops.insert(of.reference_name.to_string(), open);
        }
    }

    /// The reference names that its input may read.
    fn read(&self, undo: &Node) -> BTreeSet<String> {
        if undo.reads.dynamic {
            let all = self.graph.nodes.iter().chain(&self.own.nodes);
            return all.map(|node| node.reference_name.to_string()).collect();
        }
        undo.reads.tasks.keys().cloned().collect()
    }
}

/// What is read for what comes next in a line: reference names, with turns or in loops.
pub(crate) fn undo_reads(
    definition: &Graph,
    branch: Option<&Branch>,
    parts: &[Part],
) -> BTreeSet<(String, bool)> {
    let mut wanted = BTreeSet::new();
    match parts.first() {
        Some(Part::Step(name)) => {
            let Some((graph, node, turns)) = find(definition, branch, name) else { return wanted };
            let Some(undo) = node.undo.and_then(|undo| graph.get(undo)) else { return wanted };
            let view = View { graph: definition, own: graph, turns: &turns };
            let around = loops_around(graph, &node);
            wanted.extend(view.read(undo).iter().map(|name| view.wanted(&around, name)));
            wanted.insert((instance(&undo.reference_name, &turns), false));
        }
        Some(Part::Lines(lines)) => {
            for line in lines {
                let own = branch_of(line).ok().flatten();
                wanted.extend(undo_reads(definition, own.as_deref().or(branch), &line.parts));
            }
        }
        None => {}
    }
    wanted
}
