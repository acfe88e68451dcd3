//! What JOINs that go by their lists see and do in the tables.

use std::collections::BTreeSet;

use super::rows::{Open, Tables};
use crate::advance::asked;
use crate::advance::lists::loop_around;
use crate::advance::load::Run;
use crate::decide::Beside;
use crate::ids::WorkflowId;
use crate::store::{Token, TokenState};

impl Tables {
    pub(super) fn look_beside(&self, run: &mut Run, token: &Token) {
        let graph = &run.plan.graph;
        if !graph.by_list || run.state.undoing {
            return;
        }
        let own = |open: &&Open| {
            open.row.token.workflow_id == token.workflow_id && open.row.token.id != token.id
        };
        let name = |open: &Open| {
            let after = || open.row.token.input.as_ref()?.get("after")?.as_str();
            match &*open.row.token.reference_name {
                "" => after().map(str::to_owned),
                name => Some(name.to_owned()),
            }
        };
        let listed =
            |name: &String| graph.listed.contains(name.split("__").next().unwrap_or_default());
        let others = self.open.values().filter(own);
        let mut beside = Beside {
            around: None,
            lineages: i64::try_from(others.clone().filter(|o| !o.row.token.is_control()).count())
                .unwrap()
                + 1,
            live: others.clone().any(fires),
            open: others.filter_map(name).filter(listed).collect(),
        };
        if let Some(name) = loop_around(&run.plan, asked(token).reference_name) {
            let mut scope = token.scope;
            while let Some(open) = scope.and_then(|id| self.open.get(&id)) {
                if *open.row.token.reference_name == *name && beside.around.is_none() {
                    beside.around = scope;
                    beside.lineages = i64::from(open.row.remaining.unwrap());
                }
                scope = open.row.token.scope;
            }
            assert!(beside.around.is_some() || !graph.floats, "{name} is not open");
        }
        run.state.beside = Some(beside);
    }

    pub(super) fn grow(&mut self, around: Option<i64>, lineages: i64) {
        if let Some(open) = around.and_then(|id| self.open.get_mut(&id)) {
            let grown = i64::from(open.row.remaining.unwrap()) + lineages;
            assert!(grown > 0, "a loop of no lineage");
            open.row.remaining = Some(i32::try_from(grown).unwrap());
        }
    }

    pub(super) fn wake_joins(&mut self, id: WorkflowId, ended: &BTreeSet<String>) {
        let waits = |open: &Open| {
            open.row.token.workflow_id == id
                && open.row.token.state == TokenState::Container
                && open.row.remaining == Some(0)
        };
        let lists = |open: &Open| {
            let input = open.row.token.input.clone().unwrap_or_default();
            let lists = ["joinOn", "defaultExclusiveJoinTask"];
            let names = lists.into_iter().filter_map(|key| input.get(key)?.as_array());
            names.flatten().any(|name| name.as_str().is_some_and(|name| ended.contains(name)))
        };
        let waiting = self.open.values().filter(|open| waits(open));
        let mut woken: Vec<i64> =
            waiting.clone().filter(|open| lists(open)).map(|open| open.row.token.id).collect();
        let of_run = self.open.values().filter(|open| open.row.token.workflow_id == id);
        if woken.is_empty() && !of_run.clone().any(fires) {
            woken.extend(waiting.map(|open| open.row.token.id).min());
        }
        for id in woken {
            self.open.get_mut(&id).unwrap().row.token.state = TokenState::Ready;
        }
    }
}

fn fires(open: &Open) -> bool {
    open.row.token.state != TokenState::Container
        || open.row.task_type.as_deref() == Some("SUB_WORKFLOW")
}
