//! What a run did that can be undone, what was undone of it, and what was not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::decide::{
    Kind, Plan, RunState, TaskStatus, Unwind, dynamic_forks_in, forked_by, undoable_in,
};
use crate::store::{HistoryRow, NotCompensated};

/// See the module. Of each attempt it knows how it ended, not what it got or gave.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Reference names of steps, and of what undoes them, without turns.
    pairs: BTreeMap<String, String>,
    /// Dynamic forks with what they got, outer ones first.
    forks: Vec<(String, Arc<Value>)>,
    forks_known: BTreeSet<String>,
    /// The last attempt that somebody had, by reference name with turns.
    last: BTreeMap<String, HistoryRow>,
}

impl Ledger {
    /// Out: also the dynamic forks to look at.
    pub(super) fn of(plan: &Plan) -> (Self, Vec<String>) {
        let mut ledger = Self::default();
        for (step, undo) in plan.graph.undoable() {
            ledger.pairs.insert(step.reference_name.to_string(), undo.reference_name.to_string());
        }
        let forks = plan.graph.steps().filter(|node| matches!(node.kind, Kind::DynamicFork(_)));
        let forks: Vec<String> = forks.map(|node| node.reference_name.to_string()).collect();
        ledger.forks_known.extend(forks.iter().cloned());
        (ledger, forks)
    }

    /// Takes dynamic forks that have ended. Out: those that stand in their branches.
    pub(super) fn add_forks(&mut self, rows: Vec<HistoryRow>) -> Vec<String> {
        let mut inner = Vec::new();
        for row in rows {
            let Some(input) = row.input else { continue };
            for task in forked_by(&input) {
                self.pairs.extend(undoable_in(&task));
                for fork in dynamic_forks_in(&task) {
                    if self.forks_known.insert(fork.clone()) {
                        inner.push(fork);
                    }
                }
            }
            self.forks.retain(|(name, _)| *name != row.reference_name);
            self.forks.push((row.reference_name, Arc::new(input)));
        }
        inner
    }

    /// Reference names, without turns, of all that it asks about.
    pub(super) fn names(&self) -> Vec<&str> {
        self.pairs.iter().flat_map(|(step, undo)| [step.as_str(), undo.as_str()]).collect()
    }

    /// Takes attempts that have ended, in order.
    pub(super) fn add(&mut self, rows: Vec<HistoryRow>) {
        // Nobody had what was canceled before it was handed out.
        let had = |row: &HistoryRow| row.status != TaskStatus::Canceled || row.poll_count > 0;
        for row in rows.into_iter().filter(had) {
            self.last.insert(row.reference_name.clone(), row);
        }
    }

    fn undo_of(&self, name: &str) -> Option<String> {
        match name.split_once("__") {
            Some((own, turns)) => Some(format!("{}__{turns}", self.pairs.get(own)?)),
            None => self.pairs.get(name).cloned(),
        }
    }

    fn done(&self) -> impl Iterator<Item = &HistoryRow> {
        let own = |row: &&HistoryRow| self.undo_of(&row.reference_name).is_some();
        self.last.values().filter(|row| row.status == TaskStatus::Completed).filter(own)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.done().next().is_none()
    }

    /// The first step that is to be undone: its number, and when it was scheduled.
    pub(super) fn first(&self) -> Option<(i64, DateTime<Utc>)> {
        self.done().map(|row| (row.seq, row.scheduled_at)).min()
    }

    /// All that is to be undone.
    pub(super) fn unwind(&self) -> Unwind {
        let steps = self.done().map(|row| row.reference_name.clone()).collect();
        Unwind { steps, forks: self.forks.clone() }
    }

    /// What may still stand.
    pub(super) fn left(&self, state: &RunState) -> Vec<NotCompensated> {
        let mut left: Vec<(i64, NotCompensated)> = Vec::new();
        let id = |row: &HistoryRow| {
            state.task_id_of_epoch(&row.reference_name, row.epoch, row.attempt).to_string()
        };
        for row in self.last.values() {
            let Some(undo) = self.undo_of(&row.reference_name) else { continue };
            let undo = self.last.get(&undo).filter(|undo| undo.seq > row.seq);
            let reason = match (row.status, undo) {
                (TaskStatus::Completed, Some(undo)) if undo.status == TaskStatus::Completed => {
                    continue;
                }
                (TaskStatus::Completed, Some(undo)) => format!(
                    "Task {} is {}: {}",
                    id(undo),
                    undo.status,
                    undo.reason.as_deref().unwrap_or_default()
                ),
                (TaskStatus::Completed, None) => "It was not undone".to_owned(),
                (TaskStatus::TimedOut | TaskStatus::Canceled, _) => {
                    format!("It is {}: what it did is not known", row.status)
                }
                _ => continue,
            };
            let name = row.reference_name.clone();
            left.push((row.seq, NotCompensated::new(name, id(row), reason)));
        }
        left.sort_by_key(|(seq, _)| *seq);
        left.into_iter().map(|(_, left)| left).collect()
    }
}
