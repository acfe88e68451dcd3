//! Rerun from a step, and skip of one that was not reached yet.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::family::{Above, current_task_of};
use super::load::{LoadedRun, load_whole};
use super::start::hold_to_schema;
use super::{Acted, Core};
use crate::decide::{Branches, Kind, Plan};
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};
use crate::store::{Cut, HistoryRow, RunRow};

/// The step that a rerun begins with.
#[derive(Clone, Debug)]
pub(crate) enum RerunFrom {
    /// By reference name; in a loop without its turn the last.
    Step(String),
    Task(TaskId),
}

impl RerunFrom {
    pub(crate) fn reference_name(&self) -> &str {
        match self {
            Self::Step(name) => name,
            Self::Task(task) => &task.reference_name,
        }
    }
}

/// What an operator's rerun says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rerun {
    /// None for all of it.
    pub(crate) from: Option<RerunFrom>,
    /// In place of the step's own input.
    pub(crate) task_input: Option<Value>,
    /// Of the run that was named.
    pub(crate) input: Option<Value>,
    pub(crate) correlation_id: Option<String>,
    /// The run that was named, where the task is one of a sub-workflow below it.
    pub(crate) top: Option<WorkflowId>,
}

impl Rerun {
    /// What a run above this one gets as it goes on.
    pub(super) fn above(&self) -> Option<Above> {
        let (input, correlation_id) = (self.input.clone(), self.correlation_id.clone());
        self.top.map(|workflow| Above { workflow, input, correlation_id })
    }
}

/// Where a rerun cuts history off.
#[derive(Debug)]
pub(super) struct From {
    pub(super) name: String,
    pub(super) seq: i64,
    pub(super) at: DateTime<Utc>,
    /// Later tasks of branches beside the step: they stay.
    pub(super) kept: Vec<i64>,
}

/// Where a rerun from a step cuts the visible history of a run off, or why it cannot.
pub(super) fn from_of(
    plan: &Plan,
    history: &[HistoryRow],
    from: &RerunFrom,
) -> Result<From, String> {
    let (found, asked) = match from {
        RerunFrom::Step(name) => {
            let base = |row: &&HistoryRow| {
                let found = plan.graph.find(&row.reference_name);
                found.is_some_and(|(node, _)| *node.reference_name == **name)
            };
            let exact = history.iter().find(|row| row.reference_name == *name);
            (exact.or_else(|| history.iter().rfind(base)), name.clone())
        }
        RerunFrom::Task(id) => {
            let same = |row: &&HistoryRow| {
                (&row.reference_name, row.epoch, row.attempt)
                    == (&id.reference_name, id.epoch, id.attempt)
            };
            (history.iter().find(same), id.to_string())
        }
    };
    let Some(found) = found else { return Err(format!("it has no ended task {asked:?}")) };
    let name = &found.reference_name;
    if plan.node(name).is_some_and(|node| node.undoes()) {
        return Err(format!("task {asked:?} undoes another"));
    }
    let first = history.iter().find(|row| row.reference_name == *name).unwrap_or(found);
    if first.seq == 0 {
        return Err(format!("task {asked:?} was skipped"));
    }
    let tasks = history.iter().map(|row| (row.reference_name.as_str(), row.input.as_ref()));
    let branches = Branches::of(plan, tasks);
    let beside = branches.beside(name);
    let later = |row: &&HistoryRow| {
        let container = matches!(row.queue.as_str(), "JOIN" | "DO_WHILE");
        row.seq >= first.seq || (container && row.ended_at > first.scheduled_at)
    };
    let kept = history.iter().filter(later).filter(|row| beside(&row.reference_name));
    Ok(From {
        name: name.clone(),
        seq: first.seq,
        at: first.scheduled_at,
        kept: kept.map(|row| row.seq).collect(),
    })
}

/// What was undone has to run again, too.
pub(super) fn with_undone(mut cut: Cut<'_>, first: Option<(i64, DateTime<Utc>)>) -> Cut<'_> {
    if let Some((seq, at)) = first {
        cut.kept.retain(|kept| *kept < seq);
        if seq < cut.seq {
            (cut.seq, cut.at) = (seq, at);
        }
    }
    cut
}

fn refused(workflow_id: WorkflowId, action: &'static str, reason: String) -> Error {
    Error::Conflict { workflow_id, action, reason }
}

impl Core {
    /// Runs an ended run again from a step on: what was scheduled before it, and beside it in
    /// other branches, stays.
    pub(super) async fn rerun(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        rerun: &Rerun,
    ) -> Result<Acted, Error> {
        let (id, priority) = (row.id, row.priority);
        let LoadedRun { run, history, row } = load_whole(&self.store, tx, &self.plans, row).await?;
        let from = match &rerun.from {
            Some(from) => from_of(&run.plan, &history, from)
                .map(Some)
                .map_err(|reason| refused(rerun.top.unwrap_or(id), "rerun", reason))?,
            None => None,
        };
        if let Some(top) = rerun.top {
            self.check_above(tx, &row, (top, rerun.input.as_ref())).await?;
        }
        let given = from.as_ref().zip(rerun.task_input.as_ref());
        let cut = Cut {
            seq: from.as_ref().map_or(0, |from| from.seq),
            at: from.as_ref().map_or(DateTime::UNIX_EPOCH, |from| from.at),
            kept: from.as_ref().map(|from| from.kept.clone()).unwrap_or_default(),
            given: given.map(|(from, input)| (from.name.as_str(), input)),
        };
        let cut = with_undone(cut, row.undo.as_ref().and_then(|undo| undo.first));
        let epoch = self.store.rerun_workflow(tx, id, &cut, run.plan.timeout_ms).await?;
        if rerun.top.is_none() {
            if let Some(input) = &rerun.input {
                hold_to_schema(&run.plan, input)?;
            }
            let set = (rerun.input.as_ref(), rerun.correlation_id.as_deref());
            self.store.set_input(tx, id, set).await?;
        }
        self.tell_parent(tx, &row, rerun.above()).await?;
        self.go_on(tx, (id, epoch, priority), &json!({ "retry": true })).await
    }

    /// Whether all runs from this one's parent up to `top` have ended and would be brought back.
    async fn check_above(
        &self,
        tx: &Transaction<'_>,
        row: &RunRow,
        (top, input): (WorkflowId, Option<&Value>),
    ) -> Result<(), Error> {
        let (mut child, mut parent) = (row.id, row.parent_id);
        while let Some(id) = parent {
            let Some(row) = self.store.load_runs(tx, &[id]).await?.pop() else { break };
            if !row.status.is_terminal() {
                let reason = format!("workflow {id} is {} and has not ended", row.status);
                return Err(refused(top, "rerun", reason));
            }
            let LoadedRun { run, history, row } =
                load_whole(&self.store, tx, &self.plans, row).await?;
            if current_task_of(&run.plan, &history, child).is_none() {
                let reason = format!(
                    "the task of workflow {id} that started workflow {child} is optional or has \
                     started another one since"
                );
                return Err(refused(top, "rerun", reason));
            }
            if id == top {
                return input.map_or(Ok(()), |input| hold_to_schema(&run.plan, input));
            }
            (child, parent) = (id, row.parent_id);
        }
        let reason = format!("workflow {} is no sub-workflow of it", row.id);
        Err(refused(top, "rerun", reason))
    }

    /// Notes that a step is to be passed.
    pub(super) async fn skip(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        reference_name: &str,
        (input, output): (&Value, &Value),
    ) -> Result<Acted, Error> {
        let id = row.id;
        let LoadedRun { run, history, .. } = load_whole(&self.store, tx, &self.plans, row).await?;
        let open = self.store.load_open_tasks(tx, id).await?;
        let reached = history.iter().any(|row| row.reference_name == reference_name)
            || open.iter().any(|row| &*row.token.reference_name == reference_name);
        let task_name = skipped(&run.plan, reference_name, reached)
            .map_err(|reason| refused(id, "skip a task of", reason))?;
        self.store.skip_task(tx, id, (reference_name, task_name), (input, output)).await?;
        let mut acted = Acted::default();
        if run.plan.graph.by_list {
            let base = reference_name.split("__").next().unwrap_or_default();
            let skipped = BTreeSet::from([base.to_owned()]);
            acted.ready = self.store.wake_joins(tx, id, &skipped).await?;
        }
        Ok(acted)
    }
}

/// The task name of a step that can be skipped, or why it cannot.
pub(super) fn skipped<'a>(
    plan: &'a Plan,
    reference_name: &str,
    reached: bool,
) -> Result<&'a str, String> {
    let found = plan.graph.find(reference_name);
    let Some((node, _)) = found else {
        let in_loop = plan.node(reference_name).is_some();
        let hint = if in_loop { ": in a loop its name carries the turn" } else { "" };
        return Err(format!("its definition has no task {reference_name:?}{hint}"));
    };
    if reached {
        return Err(format!("task {reference_name:?} was scheduled already"));
    }
    if node.undoes() {
        return Err(format!("task {reference_name:?} undoes another"));
    }
    match node.kind {
        Kind::Fork { .. } | Kind::DynamicFork(_) | Kind::Join { fork: Some(_), .. } => Err(
            format!("task {reference_name:?} is a fork or its JOIN: skip tasks of its branches"),
        ),
        _ => Ok(&node.task_name),
    }
}
