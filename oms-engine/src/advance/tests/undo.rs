//! Runs that end badly, in memory.

use std::sync::Arc;

use chrono::Duration;
use serde_json::{Value, json};

use super::rows::{Open, Tables};
use super::world::World;
use crate::advance::family::Control;
use crate::advance::ledger::Ledger;
use crate::advance::load::Run;
use crate::advance::operate::reason_of_children;
use crate::advance::undo::{Ending, Says, facts_of, is_in_flight};
use crate::decide::{End, Event, Undo, WorkflowStatus, input_of, undo_reads};
use crate::ids::WorkflowId;
use crate::store::{HistoryRow, TokenState, UndoRow};

impl Tables {
    /// What the task of a run gave that was scheduled last.
    pub(super) fn last_output(&self, id: WorkflowId) -> Value {
        let last = self.visible(id).into_iter().rfind(|row| row.seq > 0);
        last.and_then(|row| row.output).unwrap_or_else(|| json!({}))
    }

    /// A token for whichever engine takes it, which ends a run.
    pub(super) fn tell_to_end(&mut self, id: WorkflowId, reason: &str, compensate: bool) {
        let (reason, token) = (reason.to_owned(), self.runs[&id].row.parent_token);
        self.open_decide(id, Control::Terminate { reason, token, compensate }.told());
    }
}

impl World {
    pub(super) fn end_or_undo(&mut self, run: &Run, ending: Ending) {
        let id = run.state.id;
        let compensates = ending.compensates();
        if compensates && run.plan.may_undo && !run.state.undoing {
            let ledger = self.ledger(run);
            let own = self.tables.open.values().filter(|open| open.row.token.workflow_id == id);
            let in_flight = own.filter(|open| is_in_flight(run, &open.row.token));
            let stay: Vec<i64> = in_flight.map(|open| open.row.token.id).collect();
            if !ledger.is_empty() || !stay.is_empty() {
                self.settle_end(id, ending, &stay);
                return;
            }
            let left = ledger.left(&run.state);
            if !left.is_empty() {
                let record = self.tables.runs.get_mut(&id).unwrap();
                record.row.undo = Some(UndoRow { left, ..UndoRow::default() });
            }
        }
        let status = ending.end.status;
        self.end(id, ending.end, compensates);
        if ending.by_operator.is_none() {
            self.start_failure_workflow(run, status);
        }
    }

    fn settle_end(&mut self, id: WorkflowId, ending: Ending, stay: &[i64]) {
        let by_operator = ending.by_operator.is_some();
        let mut end = ending.end;
        let last = self.tables.last_output(id);
        end.output.get_or_insert_with(|| Arc::new(last));
        let end = end.within_limits(&self.tables.runs[&id].plan);
        let reason = reason_of_children(&end);
        let record = self.tables.runs.get_mut(&id).unwrap();
        record.row.status = WorkflowStatus::Running;
        record.row.output = end.output.as_deref().cloned();
        record.row.reason.clone_from(&end.reason);
        record.row.failed_task.clone_from(&end.failed_task);
        record.deadline = None;
        let undo = UndoRow { end: Some(end.status), by_operator, ..UndoRow::default() };
        record.row.undo = Some(undo);
        self.settled.insert(id, end.status);
        self.gather(id, &reason, stay);
    }

    fn gather(&mut self, id: WorkflowId, reason: &str, stay: &[i64]) {
        let waits = |open: &Open| {
            open.row.task_type.as_deref() == Some("SUB_WORKFLOW") && open.row.remaining.is_some()
        };
        let stays = |open: &Open| waits(open) || stay.contains(&open.row.token.id);
        let mut inputs = Vec::new();
        for open in self.tables.open.values().filter(|open| stays(open)) {
            let token = &open.row.token;
            if token.workflow_id == id && token.input.is_none() {
                let run = self.tables.load(token);
                let node = run.plan.node(&token.reference_name).unwrap();
                let name = &token.reference_name;
                inputs.push((token.id, input_of(&run.plan, &run.state, node, name, token.attempt)));
            }
        }
        self.cancel(id, reason, true, |open| !stays(open));
        self.forget(id);
        for (token, input) in inputs {
            self.tables.open.get_mut(&token).unwrap().row.token.input = Some(input.into_value());
        }
        let now = self.tables.now;
        self.tables.open_decide(id, json!({ "unwind": true }));
        let gate = *self.tables.open.last_key_value().unwrap().0;
        let mut staying = Vec::new();
        for (token, open) in &mut self.tables.open {
            let told = Control::read(&open.row.token).is_some();
            if open.row.token.workflow_id == id && *token != gate && !told {
                open.row.token.scope = Some(gate);
                staying.push(*token);
            }
        }
        if staying.is_empty() {
            return;
        }
        let open = self.tables.open.get_mut(&gate).unwrap();
        open.row.token.state = TokenState::Container;
        open.row.remaining = i32::try_from(staying.len()).ok();
        let child = |token: &i64| {
            let mut runs = self.tables.runs.values();
            let child = runs.find(|run| run.row.parent_token == Some(*token));
            child.filter(|run| !run.row.status.is_terminal()).map(|run| run.row.id)
        };
        let children: Vec<WorkflowId> = staying.iter().filter_map(child).collect();
        for child in children {
            self.tables.tell_to_end(child, reason, true);
        }
        self.tables.open_decide(id, Control::CutOff { gate }.told());
        let watch = self.tables.open.values_mut().last().unwrap();
        watch.row.token.state = TokenState::Delayed;
        watch.due = Some(now + Duration::hours(1));
    }

    pub(super) fn cut_off(&mut self, id: WorkflowId, gate: i64) {
        let waits = self.tables.open.get(&gate);
        if waits.is_some_and(|open| open.row.token.state == TokenState::Container) {
            self.gather(id, "Parent workflow is undone", &[]);
        }
    }

    fn named(&self, id: WorkflowId, names: &[&str]) -> Vec<HistoryRow> {
        let rows = self.tables.visible(id).into_iter();
        let base = |row: &HistoryRow| row.reference_name.split("__").next().unwrap().to_owned();
        rows.filter(|row| {
            names.contains(&row.reference_name.as_str()) || names.contains(&base(row).as_str())
        })
        .collect()
    }

    fn ledger(&self, run: &Run) -> Ledger {
        let id = run.state.id;
        let (mut ledger, mut forks) = Ledger::of(&run.plan);
        while !forks.is_empty() {
            let names: Vec<&str> = forks.iter().map(String::as_str).collect();
            forks = ledger.add_forks(self.named(id, &names));
        }
        let rows = self.named(id, &ledger.names());
        ledger.add(rows);
        ledger
    }

    pub(super) fn note_left(&mut self, run: &Run, undo: &UndoRow) {
        let left = self.ledger(run).left(&run.state);
        let record = self.tables.runs.get_mut(&run.state.id).unwrap();
        if record.row.status.is_terminal() {
            // An operator stopped it.
            self.settled.remove(&run.state.id);
        }
        record.row.undo = Some(UndoRow { end: None, left, ..undo.clone() });
    }

    pub(super) fn told_to_undo(&mut self, run: &Run, open: &Open, says: Says) -> Option<Event> {
        let (id, token) = (run.state.id, &open.row.token);
        if run.state.status == WorkflowStatus::Paused {
            let open = self.tables.open.get_mut(&token.id).unwrap();
            open.row.token.state = TokenState::Delayed;
            return None;
        }
        match says {
            Says::Begin => {
                let ledger = self.ledger(run);
                let record = self.tables.runs.get_mut(&id).unwrap();
                record.row.undo.as_mut().unwrap().first = ledger.first();
                Some(Event::Unwind(ledger.unwind()))
            }
            Says::Rest(parts) if parts.is_empty() && token.scope.is_none() => {
                let row = self.tables.runs[&id].row.clone();
                let undo = row.undo.unwrap();
                let end = End {
                    status: undo.end.unwrap(),
                    output: row.output.map(Arc::new),
                    reason: row.reason,
                    failed_task: row.failed_task,
                };
                let status = end.status;
                self.note_left(run, &undo);
                self.end(id, end, false);
                if !undo.by_operator {
                    self.start_failure_workflow(run, status);
                }
                None
            }
            Says::Rest(parts) => {
                let branch = run.state.branch.as_deref();
                let reads = undo_reads(&run.plan.graph, branch, &parts);
                let mut rows = self.tables.visible(id);
                rows.retain(|row| {
                    let base = row.reference_name.split("__").next().unwrap();
                    reads.iter().any(|(name, in_loop)| {
                        if *in_loop { name == base } else { *name == row.reference_name }
                    })
                });
                let in_loops: Vec<&str> =
                    reads.iter().filter(|read| read.1).map(|read| read.0.as_str()).collect();
                let facts = facts_of(run, &rows, &in_loops);
                Some(Event::Undo(Undo { parts, facts }))
            }
        }
    }
}

/// What a run shows of what it could not undo.
pub(super) fn shown(left: &[crate::store::NotCompensated]) -> Vec<(String, String)> {
    let shown = left.iter().map(|left| (left.reference_task_name.clone(), left.reason.clone()));
    shown.collect()
}
