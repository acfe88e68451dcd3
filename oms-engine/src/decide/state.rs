//! What a decision reads of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::graph::{Branch, instance};
use super::lists::Beside;
use super::node::Node;
use super::status::{TaskStatus, WorkflowStatus};
use crate::definition::{Payload, TaskDef, TaskToDomain};
use crate::ids::{TaskId, WorkflowId};

/// The last attempt of a step that ended, in the last turns of its loops.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    /// The turns of the loops it stands in, the outermost first.
    pub(crate) turns: Vec<u32>,
    pub(crate) epoch: i16,
    pub(crate) attempt: i16,
    pub(crate) status: TaskStatus,
    pub(crate) input: Option<Payload>,
    pub(crate) output: Option<Payload>,
    pub(crate) reason: Option<String>,
    /// Only after a fresh load.
    pub(crate) history: Option<HistoryFields>,
}

/// What only a history row tells of an attempt. Times in epoch milliseconds, 0 for not set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistoryFields {
    pub(crate) poll_count: i32,
    pub(crate) worker: Option<String>,
    pub(crate) scheduled_ms: i64,
    pub(crate) started_ms: i64,
    pub(crate) ended_ms: i64,
}

/// A run as a decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunState {
    pub(crate) id: WorkflowId,
    pub(crate) epoch: i16,
    pub(crate) status: WorkflowStatus,
    pub(crate) input: Arc<Value>,
    pub(crate) variables: Arc<Value>,
    pub(crate) correlation_id: Option<Arc<str>>,
    pub(crate) parent_id: Option<WorkflowId>,
    /// Only after a fresh load.
    pub(crate) task_to_domain: Option<Arc<TaskToDomain>>,
    pub(crate) reason: Option<String>,
    /// By reference name, without turns.
    pub(crate) facts: BTreeMap<Arc<str>, Fact>,
    /// The attempt that is open, by reference name with turns, as far as it is known here.
    pub(crate) open: BTreeMap<Arc<str>, i16>,
    /// How often a step had COMPLETED and was set aside by a restart or rerun, by reference name
    /// with turns; absent for never.
    pub(crate) set_aside: BTreeMap<String, i16>,
    /// The loops around what is open here, by reference name without turns.
    pub(crate) loops: BTreeMap<String, OpenLoop>,
    /// The branch of a dynamic fork in which the event happens.
    pub(crate) branch: Option<Arc<Branch>>,
    /// The event's own task, where it is a DYNAMIC one: as its found definition makes it.
    pub(crate) dynamic: Option<Arc<Node>>,
    /// All that ended, by reference name with turns: for runs whose history may hold what lies
    /// ahead, since an operator retried, reran or skipped.
    pub(crate) done: Option<Arc<BTreeMap<String, Fact>>>,
    /// The step that the run was rerun from, with turns, and what that is given in place of its own
    /// input.
    pub(crate) given: Option<(String, Arc<Value>)>,
    /// Whether sub-workflows that ended badly are gone on with when their steps are reached.
    pub(crate) resumes: bool,
    /// Task definitions that the definition does not name, and were looked up for it: none for
    /// a name that has none.
    pub(crate) task_defs: BTreeMap<String, Option<TaskDef>>,
    /// What else is open, where JOINs go by their lists.
    pub(crate) beside: Option<Beside>,
    /// When an operator last retried or reran it.
    pub(crate) retried_at: Option<DateTime<Utc>>,
    /// Whether its end is settled and what it did is undone before.
    pub(crate) undoing: bool,
    /// Whether it was read under the lock of what is decided, by one who may take time.
    pub(crate) fresh: bool,
}

/// A loop that is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenLoop {
    pub(crate) turns: Vec<u32>,
    /// Which turn it is in, from 1.
    pub(crate) turn: u32,
    pub(crate) input: Payload,
    /// What it goes through.
    pub(crate) items: Option<Arc<Value>>,
}

impl OpenLoop {
    pub(super) fn item(&self) -> Option<&Value> {
        self.items.as_ref()?.get(usize::try_from(self.turn).ok()?.checked_sub(1)?)
    }

    /// What it gives while it is open, without its turns.
    pub(super) fn output(&self) -> Map<String, Value> {
        let mut output = Map::new();
        output.insert("iteration".to_owned(), json!(self.turn));
        if let Some(item) = self.item() {
            output.insert("loopIndex".to_owned(), json!(self.turn.saturating_sub(1)));
            output.insert("loopItem".to_owned(), item.clone());
        }
        output
    }
}

impl Fact {
    pub(crate) fn instance(&self, reference_name: &str) -> String {
        instance(reference_name, &self.turns)
    }
}

impl RunState {
    pub(crate) fn new(
        id: WorkflowId,
        input: Arc<Value>,
        variables: Arc<Value>,
        correlation_id: Option<Arc<str>>,
    ) -> Self {
        Self {
            id,
            epoch: 0,
            status: WorkflowStatus::Running,
            input,
            variables,
            correlation_id,
            parent_id: None,
            task_to_domain: None,
            reason: None,
            facts: BTreeMap::new(),
            open: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            loops: BTreeMap::new(),
            branch: None,
            dynamic: None,
            done: None,
            given: None,
            resumes: false,
            task_defs: BTreeMap::new(),
            beside: None,
            retried_at: None,
            undoing: false,
            fresh: false,
        }
    }

    pub(crate) fn task_id(&self, reference_name: &str, attempt: i16) -> TaskId {
        self.task_id_of_epoch(reference_name, self.epoch, attempt)
    }

    pub(crate) fn task_id_of_epoch(
        &self,
        reference_name: &str,
        epoch: i16,
        attempt: i16,
    ) -> TaskId {
        TaskId { workflow_id: self.id, epoch, attempt, reference_name: reference_name.to_owned() }
    }

    /// Changes the run's status, along an edge of the table of transitions.
    pub(super) fn turn(&mut self, status: WorkflowStatus, reason: Option<String>) {
        debug_assert!(self.status.may_become(status), "{} to {status}", self.status);
        self.status = status;
        self.reason = reason;
    }

    pub(crate) fn set_aside(&self, reference_name: &str) -> i16 {
        self.set_aside.get(reference_name).copied().unwrap_or(0)
    }
}
