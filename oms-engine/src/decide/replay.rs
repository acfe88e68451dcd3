//! What had ended before it is reached: after an operator's retry, rerun or skip.

use serde_json::Value;

use super::branches::tasks_of;
use super::flow::{Place, Walk, Work};
use super::graph::instance;
use super::node::Kind;
use super::state::Fact;
use super::status::TaskStatus;
use super::{DecideError, Scope};

impl Walk<'_> {
    /// How a step ended that lies ahead: after an operator's retry, rerun or skip.
    pub(super) fn ended_before(&self, place: &Place) -> Option<Fact> {
        self.state.done.as_ref()?.get(&*place.name()).cloned()
    }

    /// Passes a step that ended well before.
    pub(super) fn pass(&mut self, place: &Place, fact: &Fact) -> Result<(), DecideError> {
        let name = place.node.reference_name.clone();
        if place.branch.is_none() {
            self.state.facts.insert(name, fact.clone());
        }
        match &place.node.kind {
            Kind::Switch { .. } if fact.status != TaskStatus::Skipped => {
                let value = fact.output.as_ref().and_then(|output| {
                    output.get("selectedCase").or_else(|| output.get("caseOutput")?.get(0)).cloned()
                });
                let (_, _, first) = self.cases(place, &Value::Null, &value.unwrap_or_default());
                let Some(node) = first.and_then(|at| self.graph(place).get(at).cloned()) else {
                    self.work.push_back(Work::Follow(place.clone()));
                    return Ok(());
                };
                self.schedule(Place { node, ..place.clone() })
            }
            Kind::Fork { .. } | Kind::DynamicFork(_) => self.pass_fork(place, fact),
            _ => {
                self.work.push_back(Work::Follow(place.clone()));
                Ok(())
            }
        }
    }

    /// The run of a sub-workflow that ended badly, where such are gone on with.
    pub(super) fn child_of(&self, place: &Place, fact: &Fact) -> Option<String> {
        let resumed = self.state.resumes && matches!(place.node.kind, Kind::SubWorkflow { .. });
        let output = fact.output.as_ref().filter(|_| resumed)?;
        output.get("subWorkflowId")?.as_str().map(ToOwned::to_owned)
    }

    /// Whether a task of a loop ended badly that the loop went on after: it is to be done again.
    pub(super) fn failed_in(&mut self, place: &Place) -> bool {
        matches!(place.node.kind, Kind::Loop { .. }) && self.failed_inside(place)
    }

    fn failed_in_branches(&mut self, fork: &Place, fact: &Fact) -> bool {
        let listed = fact.input.as_ref().and_then(|input| input.get("forkedTasks"));
        let names: Vec<String> = listed
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| Some(instance(name.as_str()?, &fork.turns)))
            .collect();
        self.failed_inside(fork) || self.failed().iter().any(|failed| names.contains(failed))
    }

    fn failed_inside(&mut self, place: &Place) -> bool {
        if self.failed().is_empty() {
            return false;
        }
        let graph = self.graph(place);
        let failed = self.failed.iter().flatten();
        failed.filter_map(|name| graph.find(name)).any(|(node, turns)| {
            let inside = node.index > place.node.index && node.index <= place.node.end;
            inside && turns.starts_with(&place.turns)
        })
    }

    fn failed(&mut self) -> &[String] {
        let done = self.state.done.as_ref();
        self.failed.get_or_insert_with(|| {
            let done = done.into_iter().flat_map(|done| done.iter());
            let failed = done.filter(|(_, fact)| !fact.status.is_successful());
            failed.map(|(name, _)| name.clone()).collect()
        })
    }

    fn pass_fork(&mut self, place: &Place, fact: &Fact) -> Result<(), DecideError> {
        let join = place.node.next.and_then(|next| self.graph(place).get(next).cloned());
        let Some(join) = join else {
            return Err(DecideError::UnknownReference(place.name().to_string()));
        };
        let join = Place { node: join, ..place.clone() };
        if let Kind::Fork { branches, floats: true } = &place.node.kind {
            let graph = self.graph(place);
            let firsts = branches.iter().filter_map(|index| graph.get(*index).cloned()).collect();
            return self.fork_floating(place, firsts, join);
        }
        let joined = self.ended_before(&join).filter(|fact| fact.status.is_successful());
        if let Some(joined) = joined.filter(|_| !self.failed_in_branches(place, fact)) {
            return self.pass(&join, &joined);
        }
        let mut firsts = Vec::new();
        let mut on = Vec::new();
        match (&place.node.kind, &join.node.kind) {
            (Kind::Fork { branches, .. }, Kind::Join { on: named, .. }) => {
                on.clone_from(named);
                for index in branches {
                    let node = self.graph(place).get(*index).cloned();
                    firsts.extend(node.map(|node| (node, place.branch.clone())));
                }
            }
            _ => {
                let Kind::DynamicFork(from) = &place.node.kind else { return Ok(()) };
                // From what it got: what it shows of its tasks is no definition.
                let input = fact.input.as_deref().cloned().unwrap_or_default();
                let tasks = tasks_of(from, &input, place).unwrap_or_default();
                let branches = self.compile_branches(place, &tasks)?;
                for branch in branches.unwrap_or_default() {
                    let Some(node) = branch.graph.get(0).cloned() else { continue };
                    on.push(node.reference_name.to_string());
                    firsts.push((node, Some(branch)));
                }
            }
        }
        let key = self.new_container(&join, firsts.len());
        for (node, branch) in firsts {
            let scope = Scope::Opened(key);
            self.schedule(Place { node, scope, branch, ..place.clone() })?;
        }
        self.open_join(key, &join, &on)
    }
}
