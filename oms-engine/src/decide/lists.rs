//! JOINs that go by their lists: which do, when they have what they wait for, and the lineages
//! that go on beside what follows them.
//!
//! A JOIN that names the last task of every branch of its fork counts branches. Any other waits
//! for what it lists; branches that it leaves behind float: they belong to the loop around the
//! fork, or to the run, and whoever is through last goes on there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::flow::{After, Place, Walk};
use super::graph::{Graph, instance};
use super::join::join_end;
use super::node::{Kind, Node};
use super::reads::{Branches, beside, branches_of};
use super::status::TaskStatus;
use super::{DecideError, Gathered, Scope, Wait};

/// What is open beside the task of a decision, read under the lock of the run's lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Beside {
    /// The token of the loop that what floats belongs to; none for the run itself.
    pub(crate) around: Option<i64>,
    /// How many lineages there are in that loop, or run; this one is one of them.
    pub(crate) lineages: i64,
    /// Whether anything else can still lead to something.
    pub(crate) live: bool,
    /// What is listed and open, with turns.
    pub(crate) open: BTreeSet<String>,
}

impl Graph {
    /// Settles which JOINs go by their lists. Branches that data gives have none such.
    pub(super) fn mark_lists(&mut self) {
        if self.is_branch() {
            return;
        }
        for index in (0..self.nodes.len()).rev() {
            self.mark_fork(index);
        }
        let branches = branches_of(self);
        let alone: Vec<usize> = self
            .nodes
            .iter()
            .filter(|node| {
                matches!(node.kind, Kind::Join { fork: None, .. } | Kind::ExclusiveJoin { .. })
            })
            .filter(|node| self.floats || self.lists_beside(node, &branches))
            .map(|node| node.index)
            .collect();
        for index in alone {
            self.go_by_list(index);
        }
        if self.floats {
            for node in &mut self.nodes {
                Arc::make_mut(node).sole = false;
            }
        }
    }

    fn mark_fork(&mut self, index: usize) {
        let Some(fork) = self.get(index).cloned() else { return };
        let (Kind::Fork { branches: firsts, .. }, Some(next)) = (&fork.kind, fork.next) else {
            return;
        };
        let Some(Kind::Join { on, .. }) = self.get(next).map(|join| &join.kind) else { return };
        let counts = firsts.iter().all(|first| {
            let last = self.last_of(*first);
            last.is_some_and(|last| names(on, &last.reference_name) && !leads_on(last))
        });
        if counts && on.iter().all(|name| self.ends_in(name, &fork)) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(index)
            && let Kind::Fork { floats, .. } = &mut Arc::make_mut(node).kind
        {
            *floats = true;
        }
        self.floats = true;
        self.go_by_list(next);
    }

    fn last_of(&self, first: usize) -> Option<&Arc<Node>> {
        let mut node = self.get(first)?;
        while let Some(next) = node.next {
            node = self.get(next)?;
        }
        Some(node)
    }

    /// Whether a task has ended when the branches of this fork are through.
    fn ends_in(&self, name: &str, fork: &Node) -> bool {
        let Some(mut node) = self.index_of(name).and_then(|at| self.get(at)) else { return false };
        if node.index <= fork.index || node.index > fork.end {
            return false;
        }
        loop {
            let (super::graph::Parent::Case(at)
            | super::graph::Parent::Branch(at)
            | super::graph::Parent::Loop(at)) = node.parent
            else {
                return false;
            };
            if at == fork.index {
                return true;
            }
            let Some(around) = self.get(at) else { return false };
            if matches!(around.kind, Kind::Fork { floats: true, .. }) {
                return false;
            }
            node = around;
        }
    }

    fn lists_beside(&self, node: &Node, branches: &[Branches]) -> bool {
        let (Kind::Join { on, .. } | Kind::ExclusiveJoin { on, .. }) = &node.kind else {
            return false;
        };
        let default: &[String] = match &node.kind {
            Kind::ExclusiveJoin { default, .. } => default,
            _ => &[],
        };
        on.iter().chain(default).filter_map(|name| self.index_of(name)).any(|index| {
            let both = branches.get(node.index).zip(branches.get(index));
            both.is_some_and(|(own, other)| beside(own, other))
        })
    }

    fn go_by_list(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        self.by_list = true;
        match &mut Arc::make_mut(node).kind {
            Kind::Join { on, by_list, .. } => {
                *by_list = true;
                self.listed.extend(on.iter().cloned());
            }
            Kind::ExclusiveJoin { on, default, by_list } => {
                *by_list = true;
                self.listed.extend(on.iter().chain(&*default).cloned());
            }
            _ => {}
        }
    }
}

fn names(list: &[String], name: &str) -> bool {
    list.iter().any(|listed| listed == name)
}

/// Whether a step is through before what stands in it is.
fn leads_on(node: &Node) -> bool {
    match &node.kind {
        Kind::Switch { cases, default, .. } => {
            default.is_some() || cases.values().any(Option::is_some)
        }
        _ => false,
    }
}

impl Walk<'_> {
    /// What goes by lists is decided under their lock, by one who sees all that is open.
    pub(super) fn under_lock(&self) -> Result<(), DecideError> {
        if self.state.fresh { Ok(()) } else { Err(DecideError::NeedsFresh) }
    }

    /// A task has ended that a JOIN may list.
    pub(super) fn note_listed(&mut self, name: &str) -> Result<(), DecideError> {
        if self.plan.graph.listed.contains(name) {
            self.under_lock()?;
            self.out.listed.insert(name.to_owned());
        }
        Ok(())
    }

    /// Schedules a JOIN that goes by its list. Whether it has to wait is looked at when this
    /// decision is written.
    pub(super) fn open_by_list(&mut self, place: &Place, attempt: i16) -> Result<(), DecideError> {
        self.under_lock()?;
        let input = join_input(&place.node.kind, None);
        self.open(place, attempt, Wait::Now, input.into());
        Ok(())
    }

    /// So many branches float.
    pub(super) fn float(&mut self, place: &Place, branches: usize) -> Result<(), DecideError> {
        self.under_lock()?;
        match place.region {
            Scope::Opened(key) => {
                if let Some(opened) = self.opened.get_mut(&key) {
                    opened.expected += branches;
                }
            }
            Scope::Source | Scope::Around => {
                let branches = i64::try_from(branches).unwrap_or(i64::MAX);
                self.out.lineages += branches;
                self.left += branches;
            }
        }
        Ok(())
    }

    /// Whether a lineage that is through is the last of its region. One that is not is over.
    pub(super) fn is_last(&mut self, place: &Place) -> Result<bool, DecideError> {
        if !self.graph(place).floats {
            return Ok(true);
        }
        self.under_lock()?;
        if let Scope::Opened(key) = place.scope {
            let Some(opened) = self.opened.get_mut(&key) else { return Ok(true) };
            let last = opened.expected == opened.arrived + 1;
            opened.arrived += usize::from(!last);
            return Ok(last);
        }
        let others = self.state.beside.as_ref().map_or(1, |beside| beside.lineages) + self.left;
        if others <= 1 {
            return Ok(true);
        }
        self.left -= 1;
        self.out.lineages -= 1;
        Ok(false)
    }

    /// Whether a JOIN that goes by its list has what it waits for, or never will.
    pub(super) fn is_settled(&self, place: &Place, gathered: &[Gathered]) -> bool {
        let Some(beside) = &self.state.beside else { return true };
        let name = |name: &String| instance(name, &place.turns);
        let ended = |name: &String| {
            gathered.iter().find(|task| task.reference_name == *name && !beside.open.contains(name))
        };
        let settled = match &place.node.kind {
            Kind::ExclusiveJoin { on, default, .. } => {
                let ran = |name: &String| {
                    beside.open.contains(name)
                        || ended(name).is_some_and(|task| task.status != TaskStatus::Skipped)
                };
                let first = |list: &[String]| list.iter().map(name).find(|name| ran(name));
                let is = |name: Option<String>| name.is_some_and(|name| ended(&name).is_some());
                is(first(on)) || is(first(default))
            }
            Kind::Join { on, .. } => on.iter().map(name).all(|name| ended(&name).is_some()),
            _ => true,
        };
        settled || !beside.live
    }

    /// What a JOIN that goes by its list comes to.
    pub(super) fn end_by_list(&self, place: &Place, attempt: i16, gathered: &[Gathered]) -> After {
        let open = self.state.beside.as_ref().map(|beside| &beside.open);
        let ended = |task: &&Gathered| !open.is_some_and(|o| o.contains(&task.reference_name));
        match &place.node.kind {
            Kind::ExclusiveJoin { on, default, .. } => {
                let find = |name: &String| {
                    let name = instance(name, &place.turns);
                    gathered.iter().filter(ended).find(|task| task.reference_name == name).cloned()
                };
                self.exclusive_join(attempt, (on, default), find)
            }
            kind => {
                let gathered: Vec<Gathered> = gathered.iter().filter(ended).cloned().collect();
                join_end(place, attempt, &join_input(kind, None), &gathered)
            }
        }
    }
}

/// What a JOIN shows as its input; with the tasks of a fork that data gave.
pub(super) fn join_input(kind: &Kind, forked: Option<&[String]>) -> serde_json::Value {
    match kind {
        Kind::ExclusiveJoin { on, default, .. } => {
            serde_json::json!({ "joinOn": on, "defaultExclusiveJoinTask": default })
        }
        Kind::Join { on, .. } => serde_json::json!({ "joinOn": forked.unwrap_or(on) }),
        _ => serde_json::json!({}),
    }
}
