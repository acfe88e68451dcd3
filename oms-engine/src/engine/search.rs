//! What is searched for, and what is found.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::WorkflowSummary;
use crate::decide::{TaskStatus, WorkflowStatus};
use crate::ids::{TaskId, WorkflowId};
use crate::store::{FoundRun, ListedRow};

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextQuery {
    /// One of these.
    OneOf(Vec<String>),
    /// This, where `*` stands for any text.
    Like(String),
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// At or after this.
    pub from: Option<DateTime<Utc>>,
    /// Before this.
    pub before: Option<DateTime<Utc>>,
}

/// By what runs are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkflowSort {
    /// When they were started.
    #[default]
    StartTime,
    /// When they ended; those that have not come last, also in the order that begins with the last.
    EndTime,
    /// The definition's name.
    WorkflowType,
    /// The correlation id.
    CorrelationId,
    /// The status, by its letters.
    Status,
}

/// By what tasks are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskSort {
    /// When they were scheduled.
    #[default]
    ScheduledTime,
    /// When they were first handed out.
    StartTime,
    /// When they ended.
    EndTime,
    /// When they last changed.
    UpdateTime,
    /// Their type.
    TaskType,
}

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// The first first.
    Ascending,
    /// The last first.
    #[default]
    Descending,
}

/// Which runs to find: all that fit every field that is set.
///
/// Names, ids, correlation ids, parents, times of start and all statuses but COMPLETED have an
/// index. The rest is looked at run by run, within the time that a search has.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkflowSearch {
    /// Of these ids.
    pub workflow_ids: Option<Vec<WorkflowId>>,
    /// Of definitions of this name.
    pub name: Option<TextQuery>,
    /// Of these versions.
    pub versions: Option<Vec<i32>>,
    /// In one of these statuses.
    pub statuses: Option<Vec<WorkflowStatus>>,
    /// With this correlation id.
    pub correlation_id: Option<TextQuery>,
    /// Started as sub-workflows of these.
    pub parent_ids: Option<Vec<WorkflowId>>,
    /// Without those that were started as sub-workflows.
    pub top_level_only: bool,
    /// Started, or restarted, then.
    pub created: TimeRange,
    /// Ended then.
    pub ended: TimeRange,
    /// Each of these occurs, in letters of any size, in an id, name, reason, input or output.
    pub words: Vec<String>,
    /// Words are not looked for in the values of fields of these names in inputs and outputs, nor in
    /// what stands behind such a value that is an object or a list.
    pub unsearched_fields: Vec<String>,
    /// By what they are sorted.
    pub sort: WorkflowSort,
    /// Which way; the last first by default.
    pub order: SortOrder,
    /// So many hits are passed over.
    pub start: usize,
    /// So many are given; 1 to 1,000, 100 when 0.
    pub size: usize,
}

/// Which tasks to find, ended and open: all that fit every field that is set.
///
/// Runs, correlation ids, parents, task ids, unsuccessful statuses and the times of what has ended
/// have an index. The rest is looked at task by task, within the time that a search has.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TaskSearch {
    /// These.
    pub task_ids: Option<Vec<TaskId>>,
    /// Of these runs.
    pub workflow_ids: Option<Vec<WorkflowId>>,
    /// Of runs by definitions of these names.
    pub workflow_names: Option<Vec<String>>,
    /// Of runs with these correlation ids.
    pub correlation_ids: Option<Vec<String>>,
    /// Of sub-workflows of these.
    pub parent_ids: Option<Vec<WorkflowId>>,
    /// Of this type: a worker's by its name, in any domain.
    pub task_type: Option<TextQuery>,
    /// In one of these statuses.
    pub statuses: Option<Vec<TaskStatus>>,
    /// Scheduled then.
    pub scheduled: TimeRange,
    /// First handed out then.
    pub started: TimeRange,
    /// Ended then.
    pub ended: TimeRange,
    /// Last changed then.
    pub updated: TimeRange,
    /// Each of these occurs, in letters of any size, in an id, name, worker, reason, input or
    /// output.
    pub words: Vec<String>,
    /// Words are not looked for in the values of fields of these names in inputs and outputs, nor in
    /// what stands behind such a value that is an object or a list.
    pub unsearched_fields: Vec<String>,
    /// By what they are sorted.
    pub sort: TaskSort,
    /// Which way; the last first by default.
    pub order: SortOrder,
    /// So many hits are passed over.
    pub start: usize,
    /// So many are given; 1 to 1,000, 100 when 0.
    pub size: usize,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Found<T> {
    /// How many fit. They are counted up to 10,000 behind this page: with more it is that number,
    /// and grows with the pages.
    pub total_hits: usize,
    /// The page.
    pub results: Vec<T>,
}

/// A run that was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FoundWorkflow {
    /// What lists have of it too.
    #[serde(flatten)]
    pub summary: WorkflowSummary,
    /// The run that started it as a sub-workflow.
    pub parent_workflow_id: Option<WorkflowId>,
    /// What it was started with; none where that takes more than 32 KiB.
    pub input: Option<Value>,
    /// What it ended with; none where it has not, or that takes more than 32 KiB.
    pub output: Option<Value>,
    /// Domains for its tasks, by task type or `*`.
    pub task_to_domain: Option<Value>,
    /// Reference names of tasks of which an attempt failed.
    pub failed_reference_task_names: Vec<String>,
}

impl From<FoundRun> for FoundWorkflow {
    fn from(run: FoundRun) -> Self {
        Self {
            summary: WorkflowSummary::from(ListedRow {
                id: run.id,
                name: run.name,
                version: run.version,
                status: run.status,
                priority: run.priority,
                correlation_id: run.correlation_id,
                idempotency_key: run.idempotency_key,
                created_at: run.created_at,
                ended_at: run.ended_at,
                reason: run.reason,
            }),
            parent_workflow_id: run.parent_id,
            input: run.input,
            output: run.output,
            task_to_domain: run.task_to_domain,
            failed_reference_task_names: run.failed,
        }
    }
}
