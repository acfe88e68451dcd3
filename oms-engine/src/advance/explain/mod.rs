//! Why a run stands where it stands, and where its time went.

mod said;
mod times;
mod waits;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde::Serialize;

pub use times::{PathStep, StepTime, TimeSpent};
pub use waits::{OpenTaskExplained, WaitsFor};

use super::Core;
use crate::decide::{Plan, WorkflowStatus};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{ExplainedEnd, ExplainedRun, ExplainedTask, HISTORY_MAX};

/// Steps of the critical path that are listed, the last.
const PATH_MAX: usize = 1_000;

/// Why a run stands where it stands, and where its time went. Times are in epoch milliseconds in
/// JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Explanation {
    /// The run.
    pub workflow_id: WorkflowId,
    /// The definition's name.
    pub workflow_name: String,
    /// The definition's version.
    pub workflow_version: i32,
    /// Where it stands.
    pub status: WorkflowStatus,
    /// All of it in one sentence.
    pub summary: String,
    /// The moment as of which all of this is, by the database's clock.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub as_of: DateTime<Utc>,
    /// When it was started, or restarted.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub create_time: DateTime<Utc>,
    /// When it ended.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub end_time: Option<DateTime<Utc>>,
    /// When its own time is up, where it has not ended.
    #[serde(
        with = "chrono::serde::ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub deadline: Option<DateTime<Utc>>,
    /// The run that waits for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_workflow_id: Option<WorkflowId>,
    /// How it ends once what it did is undone; set while that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensating: Option<WorkflowStatus>,
    /// How many tasks are open.
    pub open_task_count: i64,
    /// What each open task waits for: of the hundred oldest.
    pub open_tasks: Vec<OpenTaskExplained>,
    /// Where the time went.
    pub time: TimeExplained,
}

/// Where a run's time went.
///
/// The critical path is the chain of attempts of which each began when the one before it ended,
/// found from the end (of an open run, from the task that is open longest) backwards. Its times add
/// up to the run's. A sub-workflow is one step of it. Back-off is what the task's retry policy says,
/// without jitter; what a worker asked for itself, and delays within dynamic forks, count as time in the
/// queue.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TimeExplained {
    /// From the start to the end, or until now.
    pub total_ms: i64,
    /// What the critical path's steps add up to, with what lies between them.
    pub critical: TimeSpent,
    /// The steps of the critical path that took time, in order; the last thousand.
    pub critical_path: Vec<PathStep>,
    /// How many steps of the critical path came before those listed.
    pub critical_path_omitted: usize,
    /// The sums of each step, over all of its attempts and turns: the one that took most of the critical
    /// path first.
    pub steps: Vec<StepTime>,
    /// Whether the run has more than the 50,000 attempts that this looks at, the last: then what was
    /// before is missing.
    pub partial: bool,
}

impl Core {
    pub(crate) async fn explain(
        &self,
        tx: &Transaction<'_>,
        id: WorkflowId,
    ) -> Result<Explanation, Error> {
        let Some(run) = self.store.explain_run(tx, id).await? else {
            return Err(Error::WorkflowNotFound(id));
        };
        let of_run = std::iter::once(run.definition_id);
        let plans = self.plans.load(&self.store, tx, of_run).await?;
        let Some(plan) = plans.get(&run.definition_id) else {
            let what = format!("its definition {} is missing", run.definition_id);
            return Err(Error::invariant(id, what));
        };
        let (open, count) = self.store.explain_tasks(tx, id).await?;
        let ended = self.store.explain_history(tx, id).await?;
        Ok(explanation((id, &run), plan, (&open, count), &ended))
    }
}

fn explanation(
    (id, run): (WorkflowId, &ExplainedRun),
    plan: &Plan,
    (open, count): (&[ExplainedTask], i64),
    ended: &[ExplainedEnd],
) -> Explanation {
    let open_tasks: Vec<OpenTaskExplained> =
        open.iter().map(|task| waits::explained(id, task, plan, run)).collect();
    let until = run.ended_at.unwrap_or(run.now);
    let attempts = times::attempts(plan, run.now, ended, open);
    let mut path = times::critical_path(run.created_at, until, &attempts);
    let critical = times::sum(&path.steps, path.rest_ms);
    let steps = times::by_step(&attempts, &path.steps);
    let omitted = path.steps.len().saturating_sub(PATH_MAX);
    let critical_path = path.steps.split_off(omitted);
    let mut explained = Explanation {
        workflow_id: id,
        workflow_name: run.name.clone(),
        workflow_version: run.version,
        status: run.status,
        summary: String::new(),
        as_of: run.now,
        create_time: run.created_at,
        end_time: run.ended_at,
        deadline: run.deadline.filter(|_| !run.status.is_terminal()),
        parent_workflow_id: run.parent_id,
        compensating: run.undoing,
        open_task_count: count,
        open_tasks,
        time: TimeExplained {
            total_ms: (until - run.created_at).num_milliseconds().max(0),
            critical,
            critical_path,
            critical_path_omitted: omitted,
            steps,
            partial: i64::try_from(ended.len()).unwrap_or(i64::MAX) >= HISTORY_MAX,
        },
    };
    explained.summary = said::summary(&explained, run);
    explained
}
