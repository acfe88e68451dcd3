//! Parents and children: what one is told when the other ends or is brought back.
//!
//! No transaction touches the tokens of two runs. What concerns a relative is a control token of
//! the relative, written in the same transaction; an engine takes it and does it in one of its
//! own. Each kind says when it is void, so that it may come late.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::load::{LoadedRun, load_whole};
use super::take::{Taken, take_all};
use super::{Acted, Core};
use crate::decide::{Fact, Kind, Plan, SYSTEM_QUEUE, WorkflowStatus};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{Cut, HistoryRow, RunRow, Token};

/// What a run is told of a relative.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Control {
    /// The run that waited for it has ended. Void once another task waits for it than then.
    /// What it did is undone first if `compensate` is set.
    Terminate { reason: String, token: Option<i64>, compensate: bool },
    /// A task of its parent waits for it. It goes on if it ended badly and `retry` is set, unless
    /// it was brought back since the task before that one ended. Void once that task is gone.
    Resume { token: i64, retry: bool },
    /// What it did is undone, and the tasks that this token of its own waits for have had their
    /// time. Void once that has fallen.
    CutOff { gate: i64 },
    /// A child of it that had ended was brought back. Void unless it has ended itself and the
    /// child is what the last attempt of a step of it, that is not optional, had started.
    Reopen { child: WorkflowId, above: Option<Above> },
}

/// What a run gets as it goes on, since a task of a sub-workflow below it was rerun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Above {
    pub(super) workflow: WorkflowId,
    pub(super) input: Option<Value>,
    pub(super) correlation_id: Option<String>,
}

impl Control {
    /// Reads a token. None: it tells of no relative.
    pub(super) fn read(token: &Token) -> Option<Self> {
        let told = token.input.as_ref().filter(|_| token.is_control())?;
        let text = |key: &str| told.get(key).and_then(Value::as_str);
        let number = told.get("token").and_then(Value::as_i64);
        match text("control")? {
            "terminate" => Some(Self::Terminate {
                reason: text("reason").unwrap_or_default().to_owned(),
                token: number,
                compensate: told.get("compensate").and_then(Value::as_bool).unwrap_or(false),
            }),
            "cut off" => Some(Self::CutOff { gate: told.get("gate")?.as_i64()? }),
            "resume" => Some(Self::Resume {
                token: number?,
                retry: told.get("retry").and_then(Value::as_bool).unwrap_or(false),
            }),
            "reopen" => Some(Self::Reopen {
                child: text("child")?.parse().ok()?,
                above: serde_json::from_value(told.get("above").cloned().unwrap_or_default())
                    .ok()?,
            }),
            _ => None,
        }
    }

    /// As a token says it.
    pub(super) fn told(&self) -> Value {
        match self {
            Self::Terminate { reason, token, compensate } => json!({
                "control": "terminate", "reason": reason, "token": token,
                "compensate": compensate,
            }),
            Self::CutOff { gate } => json!({ "control": "cut off", "gate": gate }),
            Self::Resume { token, retry } => {
                json!({ "control": "resume", "token": token, "retry": retry })
            }
            Self::Reopen { child, above } => {
                json!({ "control": "reopen", "child": child.to_string(), "above": above })
            }
        }
    }
}

/// What becomes of a run that a task of its parent waits for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// It goes on as it is.
    Waits,
    /// It is retried.
    Retried,
    /// Its end is the task's.
    Counts,
}

/// What becomes of a run that a task of its parent waits for again.
pub(super) fn resumed(
    plan: &Plan,
    row: &RunRow,
    retry: bool,
    done: &BTreeMap<String, Fact>,
) -> Resumed {
    if !row.status.is_terminal() {
        Resumed::Waits
    } else if retry && row.parent_token.is_some() && goes_on(plan, row.status, done) {
        Resumed::Retried
    } else {
        Resumed::Counts
    }
}

/// Whether a run that ended badly can go on. One that ended before anything of it was done begins,
/// and one that was terminated between two tasks goes on with the second.
fn goes_on(plan: &Plan, status: WorkflowStatus, done: &BTreeMap<String, Fact>) -> bool {
    let never_began = status != WorkflowStatus::Completed && done.is_empty();
    let ends = |name: &String| plan.node(name).is_some_and(|node| node.kind == Kind::Terminate);
    let stopped = status == WorkflowStatus::Terminated && !done.keys().any(ends);
    never_began || stopped || cannot_retry(status, done).is_none()
}

/// Why an ended run cannot be retried.
pub(super) fn cannot_retry(
    status: WorkflowStatus,
    done: &BTreeMap<String, Fact>,
) -> Option<&'static str> {
    if status == WorkflowStatus::Completed {
        return Some("it has ended COMPLETED");
    }
    let failed = done.values().any(|fact| !fact.status.is_successful());
    let retriable = failed || (status == WorkflowStatus::TimedOut && !done.is_empty());
    (!retriable).then_some("it has no task that could be retried")
}

/// The last attempt of the step that started this run, if no other run was started by it since.
pub(super) fn current_task_of<'a>(
    plan: &Plan,
    history: &'a [HistoryRow],
    child: WorkflowId,
) -> Option<&'a HistoryRow> {
    let child = child.to_string();
    let started = |row: &&HistoryRow| {
        let named = row.output.as_ref().and_then(|output| output.get("subWorkflowId")?.as_str());
        row.queue == "SUB_WORKFLOW" && named == Some(&child)
    };
    let last = history.iter().rfind(started)?;
    let later = history.iter().rfind(|row| row.reference_name == last.reference_name)?;
    let optional = plan.node(&last.reference_name).is_some_and(|node| node.optional);
    (std::ptr::eq(last, later) && !optional).then_some(last)
}

impl Core {
    /// Does what a control token says. None: it is no control token.
    pub(super) async fn control(
        &self,
        tx: &Transaction<'_>,
        token: &Token,
    ) -> Result<Option<Acted>, Error> {
        let Some(control) = Control::read(token) else { return Ok(None) };
        let id = token.workflow_id;
        let acted = match take_all(&self.store, tx, id).await? {
            Some(taken) => self.told_by_relative(tx, taken, control).await?,
            None => Acted::default(),
        };
        self.store.close_token(tx, token.id).await?;
        Ok(Some(acted))
    }

    async fn told_by_relative(
        &self,
        tx: &Transaction<'_>,
        taken: Taken,
        control: Control,
    ) -> Result<Acted, Error> {
        let status = taken.row.status;
        match control {
            Control::Terminate { token, .. }
                if status.is_terminal() || taken.row.parent_token != token =>
            {
                Ok(Acted::default())
            }
            Control::Terminate { compensate: true, .. } if taken.row.is_undone() => {
                Ok(Acted::default())
            }
            Control::Terminate { reason, compensate, .. } => {
                Box::pin(self.terminate(tx, taken, reason, compensate)).await
            }
            Control::CutOff { gate } if taken.row.is_undone() => {
                self.cut_off(tx, taken, gate).await
            }
            Control::CutOff { .. } => Ok(Acted::default()),
            Control::Resume { token, retry } => {
                self.resume_child(tx, taken.row, token, retry).await
            }
            Control::Reopen { child, above } => self.reopen_for(tx, taken.row, child, above).await,
        }
    }

    /// A task of the parent waits for this run, from whichever state it is in.
    async fn resume_child(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        token: i64,
        retry: bool,
    ) -> Result<Acted, Error> {
        let id = row.id;
        if !self.store.lock_waiting(tx, token, id).await? {
            return Ok(Acted::default());
        }
        let LoadedRun { run, row, .. } = load_whole(&self.store, tx, &self.plans, row).await?;
        let none = BTreeMap::new();
        match resumed(&run.plan, &row, retry, run.state.done.as_deref().unwrap_or(&none)) {
            Resumed::Waits => {
                self.store.attach_child(tx, id, token).await?;
                Ok(Acted::default())
            }
            Resumed::Retried => {
                let waiting = (true, Some(token));
                let epoch = self.bring_back(tx, &row, run.plan.timeout_ms, waiting).await?;
                self.go_on(tx, (id, epoch, row.priority), &json!({ "retry": true })).await
            }
            Resumed::Counts => {
                self.store.attach_child(tx, id, token).await?;
                let ready = self.store.end_waiting(tx, token).await?.into_iter().collect();
                Ok(Acted { ready, ..Acted::default() })
            }
        }
    }

    /// A child of this run was brought back: so is the run.
    async fn reopen_for(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        child: WorkflowId,
        above: Option<Above>,
    ) -> Result<Acted, Error> {
        let detached = self.store.load_detached(tx, &[row.id]).await?;
        // What was undone of it has to run again: it starts others.
        let undone = row.undo.as_ref().is_some_and(|undo| undo.first.is_some());
        if undone || !row.status.is_terminal() || !detached.contains(&(row.id, child)) {
            return Ok(Acted::default());
        }
        let loaded = load_whole(&self.store, tx, &self.plans, row).await?;
        if current_task_of(&loaded.run.plan, &loaded.history, child).is_none() {
            return Ok(Acted::default());
        }
        self.reopen(tx, loaded, true, above).await
    }

    /// Goes on with an ended run, and has its parents go on.
    pub(super) async fn reopen(
        &self,
        tx: &Transaction<'_>,
        loaded: LoadedRun,
        resumes: bool,
        above: Option<Above>,
    ) -> Result<Acted, Error> {
        let LoadedRun { run, row, .. } = loaded;
        let epoch = self.bring_back(tx, &row, run.plan.timeout_ms, (resumes, None)).await?;
        let own = above.as_ref().filter(|above| above.workflow == row.id);
        if let Some(own) = own {
            let set = (own.input.as_ref(), own.correlation_id.as_deref());
            self.store.set_input(tx, row.id, set).await?;
        }
        self.tell_parent(tx, &row, above.filter(|above| above.workflow != row.id)).await?;
        self.go_on(tx, (row.id, epoch, row.priority), &json!({ "retry": true })).await
    }

    /// An ended run goes on where it ended; one that was undone from the first step that was. Out:
    /// its epoch.
    async fn bring_back(
        &self,
        tx: &Transaction<'_>,
        row: &RunRow,
        timeout_ms: Option<i64>,
        (resumes, token): (bool, Option<i64>),
    ) -> Result<i16, Error> {
        let Some((seq, at)) = row.undo.as_ref().and_then(|undo| undo.first) else {
            self.store.reopen_workflow(tx, row.id, timeout_ms, (resumes, token)).await?;
            return Ok(row.epoch);
        };
        let cut = Cut { seq, at, kept: Vec::new(), given: None };
        let epoch = self.store.rerun_workflow(tx, row.id, &cut, timeout_ms).await?;
        if let Some(token) = token {
            self.store.attach_child(tx, row.id, token).await?;
        }
        Ok(epoch)
    }

    /// Tells the parent of a run that it was brought back. The queue of what is told is that of
    /// [`go_on`](Self::go_on).
    pub(super) async fn tell_parent(
        &self,
        tx: &Transaction<'_>,
        row: &RunRow,
        above: Option<Above>,
    ) -> Result<(), Error> {
        if let Some(parent) = row.parent_id {
            let told = Control::Reopen { child: row.id, above }.told();
            self.store.open_control(tx, parent, &told).await?;
        }
        Ok(())
    }

    /// The task that waits for a run that is there already. Out: none if there is no such run.
    pub(super) async fn wait_again(
        &self,
        tx: &Transaction<'_>,
        token: &Token,
        child: WorkflowId,
        retry: bool,
    ) -> Result<Option<Acted>, Error> {
        let told = Control::Resume { token: token.id, retry }.told();
        if !self.store.open_control(tx, child, &told).await? {
            return Ok(None);
        }
        self.store.wait_for_child(tx, token.id, (child, None)).await?;
        let (ready, taken) = (vec![SYSTEM_QUEUE.to_owned()], vec![token.id]);
        Ok(Some(Acted { ready, taken, timed: true, ..Acted::default() }))
    }

    /// Ends a run that has not ended.
    pub(super) async fn terminate(
        &self,
        tx: &Transaction<'_>,
        taken: Taken,
        reason: String,
        compensate: bool,
    ) -> Result<Acted, Error> {
        let end = |run: &mut super::load::Run| {
            let status = WorkflowStatus::Terminated;
            crate::decide::end_now(&run.plan, &mut run.state, status, reason)
        };
        self.end(tx, taken, Some(compensate), end).await.map(|(acted, _)| acted)
    }

    /// An operator's `terminate` of a run that ended badly: it counts as terminated from now on.
    pub(super) async fn terminate_ended(
        &self,
        tx: &Transaction<'_>,
        id: WorkflowId,
        reason: &str,
    ) -> Result<Acted, Error> {
        self.store.terminate_ended(tx, id, reason).await?;
        Ok(Acted { ended: Some(id), ..Acted::default() })
    }
}
