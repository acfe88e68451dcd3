//! What expressions can read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The fields of `${workflow.…}`.
pub const WORKFLOW_FIELDS: [&str; 12] = [
    "input",
    "output",
    "status",
    "workflowId",
    "parentWorkflowId",
    "parentWorkflowTaskId",
    "workflowType",
    "version",
    "correlationId",
    "reasonForIncompletion",
    "schemaVersion",
    "variables",
];

/// The fields of `${<reference name>.…}`.
pub const TASK_FIELDS: [&str; 18] = [
    "input",
    "output",
    "taskType",
    "status",
    "referenceTaskName",
    "retryCount",
    "correlationId",
    "pollCount",
    "taskDefName",
    "scheduledTime",
    "startTime",
    "endTime",
    "workflowInstanceId",
    "taskId",
    "reasonForIncompletion",
    "callbackAfterSeconds",
    "workerId",
    "iteration",
];

/// Where expressions find their values.
///
/// Only the fields that [`Reads`] names are asked for, unless it is dynamic.
pub trait Scope {
    /// A field of the workflow, one of [`WORKFLOW_FIELDS`]; none reads as null.
    fn workflow(&self, field: &str) -> Option<Cow<'_, Value>>;
    /// A field, one of [`TASK_FIELDS`], of the last attempt of a task; none reads as null.
    fn task(&self, reference_name: &str, field: &str) -> Option<Cow<'_, Value>>;
    /// `${CPEWF_TASK_ID}`: the id of the task whose input is made.
    fn task_id(&self) -> Option<&str>;
    /// `${workflow.env.NAME}`; none reads as null.
    fn env(&self, _name: &str) -> Option<&Value> {
        None
    }
}

/// What a template reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reads {
    /// Fields of the workflow; `env` stands for all of its values.
    pub workflow: Fields,
    /// Fields of tasks, by reference name.
    pub tasks: BTreeMap<String, Fields>,
    /// A path is made of data (`${${workflow.input.which}.output}`): anything may be read.
    pub dynamic: bool,
    /// The id of the task whose input is made.
    pub task_id: bool,
}

/// Which fields of a workflow or task are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fields {
    /// All (`${pay}` alone).
    pub all: bool,
    /// These.
    pub named: BTreeSet<String>,
}

impl Fields {
    /// Whether this field is read.
    #[must_use]
    pub fn contains(&self, field: &str) -> bool {
        self.all || self.named.contains(field)
    }

    /// Whether none is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.named.is_empty()
    }
}

impl Reads {
    /// Whether `workflow.variables` may be read, which changes while a run goes on.
    #[must_use]
    pub fn variables(&self) -> bool {
        self.dynamic || self.workflow.contains("variables")
    }

    /// Adds what another template reads.
    pub fn merge(&mut self, other: &Self) {
        self.workflow.merge(&other.workflow);
        for (reference_name, fields) in &other.tasks {
            self.tasks.entry(reference_name.clone()).or_default().merge(fields);
        }
        self.dynamic |= other.dynamic;
        self.task_id |= other.task_id;
    }
}

impl Fields {
    fn merge(&mut self, other: &Self) {
        self.all |= other.all;
        self.named.extend(other.named.iter().cloned());
    }
}
