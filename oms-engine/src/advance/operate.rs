//! Operators' actions, and the end of a run whose own time is up. Each takes all tokens first.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::Value;

use super::load::{Run, load_rest};
use super::rows::{opened_row, run_end, within_limits};
use super::start::resolve;
use super::take::{Taken, take_all};
use super::{Acted, Core};
use crate::decide::{
    Decision, End, Event, RunState, WorkflowStatus, decide, end_now, input_of, workflow_timeout,
};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{NewTask, RestartRow, RunRow, TokenState};

/// What to do to a run from outside its steps.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Terminate {
        reason: String,
    },
    Pause,
    Resume,
    Retry,
    Restart {
        use_latest_definitions: bool,
    },
    SetPriority(i16),
    /// Its own time is up, if it still is.
    TimeUp,
}

impl Operation {
    const fn verb(&self) -> &'static str {
        match self {
            Self::Terminate { .. } => "terminate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Restart { .. } => "restart",
            Self::SetPriority(_) => "set the priority of",
            Self::TimeUp => "time out",
        }
    }
}

impl Core {
    pub(super) async fn operate(
        &self,
        tx: &Transaction<'_>,
        id: WorkflowId,
        operation: &Operation,
    ) -> Result<Acted, Error> {
        let Some(taken) = take_all(&self.store, tx, id).await? else {
            return Err(Error::WorkflowNotFound(id));
        };
        let status = taken.row.status;
        let refuse = |reason: &str| {
            let reason = reason.to_owned();
            Err(Error::Conflict { workflow_id: id, action: operation.verb(), reason })
        };
        match operation {
            Operation::Terminate { .. } if status == WorkflowStatus::Terminated => {
                Ok(Acted::default())
            }
            Operation::Pause if status == WorkflowStatus::Paused => Ok(Acted::default()),
            Operation::TimeUp if status != WorkflowStatus::Running || !taken.row.overdue => {
                Ok(Acted::default())
            }
            Operation::Terminate { .. } | Operation::Pause | Operation::SetPriority(_)
                if status.is_terminal() =>
            {
                refuse(&format!("it has ended {status}"))
            }
            Operation::Resume if status != WorkflowStatus::Paused => {
                refuse(&format!("it is {status}, not PAUSED"))
            }
            Operation::Retry | Operation::Restart { .. } if !status.is_terminal() => {
                refuse(&format!("it is {status} and has not ended"))
            }
            Operation::Retry if status == WorkflowStatus::Completed => {
                refuse("it has ended COMPLETED")
            }
            Operation::Terminate { reason } => {
                let reason = reason.clone();
                self.end(tx, taken, |run| {
                    end_now(&run.plan, &mut run.state, WorkflowStatus::Terminated, reason)
                })
                .await
                .map(|(acted, _, _)| acted)
            }
            Operation::TimeUp => self.time_up(tx, taken).await,
            Operation::Pause => {
                self.store.pause_tokens(tx, id).await?;
                self.store.set_status(tx, id, WorkflowStatus::Paused, None).await?;
                Ok(Acted::default())
            }
            Operation::Resume => self.resume(tx, taken.row).await,
            Operation::SetPriority(priority) => {
                let ready = self.store.set_priority(tx, id, *priority).await?;
                Ok(Acted { ready, ..Acted::default() })
            }
            Operation::Retry => self.retry(tx, taken.row).await,
            Operation::Restart { use_latest_definitions } => {
                self.restart(tx, taken.row, *use_latest_definitions).await
            }
        }
    }

    async fn load(&self, tx: &Transaction<'_>, row: RunRow) -> Result<Run, Error> {
        let id = row.id;
        let mut loaded = load_rest(&self.store, tx, &self.plans, vec![row], false).await?;
        loaded.pop().map(|loaded| loaded.run).ok_or(Error::WorkflowNotFound(id))
    }

    /// Ends a run with its open tasks.
    async fn end(
        &self,
        tx: &Transaction<'_>,
        taken: Taken,
        end: impl FnOnce(&mut Run) -> End + Send,
    ) -> Result<(Acted, Run, End), Error> {
        let id = taken.row.id;
        let mut run = self.load(tx, taken.row).await?;
        let mut inputs = Vec::new();
        for token in taken.leaves.iter().map(|leaf| &leaf.token) {
            if let (None, Some(node)) = (&token.input, run.plan.node(&token.reference_name)) {
                let input: Value = input_of(&run.plan, &run.state, node, token.attempt);
                inputs.push((token.reference_name.clone(), Arc::new(input)));
            }
            if !token.reference_name.is_empty() {
                run.state.open.insert(token.reference_name.clone(), token.attempt);
            }
        }
        let end = within_limits(end(&mut run));
        self.store.cancel_tokens(tx, id, None, &inputs).await?;
        self.store.end_workflow(tx, id, &run_end(end.clone())).await?;
        let leased = taken.leaves.iter().filter(|leaf| leaf.holder != 0);
        let taken = leased.map(|leaf| leaf.token.id).collect();
        Ok((Acted { ended: Some(id), taken, ..Acted::default() }, run, end))
    }

    async fn time_up(&self, tx: &Transaction<'_>, taken: Taken) -> Result<Acted, Error> {
        let id = taken.row.id;
        let run = self.load(tx, taken.row.clone()).await?;
        if !run.plan.times_out() {
            tracing::warn!(workflow_id = %id, workflow = %run.plan.name, "workflow time-out (ALERT_ONLY)");
            self.store.disarm_workflow(tx, id).await?;
            return Ok(Acted::default());
        }
        let (mut acted, run, end) =
            self.end(tx, taken, |run| workflow_timeout(&run.plan, &mut run.state)).await?;
        acted.ready.extend(self.start_failure_workflow(tx, &run, &end).await?);
        acted.timed = true;
        Ok(acted)
    }

    async fn resume(&self, tx: &Transaction<'_>, row: RunRow) -> Result<Acted, Error> {
        let id = row.id;
        let run = self.load(tx, row).await?;
        let ready = self.store.resume_tokens(tx, id).await?;
        self.store.set_status(tx, id, WorkflowStatus::Running, run.plan.timeout_ms).await?;
        Ok(Acted { ready, timed: true, ..Acted::default() })
    }

    async fn retry(&self, tx: &Transaction<'_>, row: RunRow) -> Result<Acted, Error> {
        let id = row.id;
        let place = NewTask { workflow_id: id, epoch: row.epoch, priority: row.priority };
        let mut run = self.load(tx, row).await?;
        let decision = decide(&run.plan, &mut run.state, &Event::Retry).map_err(|error| {
            Error::Conflict { workflow_id: id, action: "retry", reason: error.to_string() }
        })?;
        self.store.reopen_workflow(tx, id, run.plan.timeout_ms).await?;
        self.open(tx, place, decision).await
    }

    async fn restart(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        use_latest_definitions: bool,
    ) -> Result<Acted, Error> {
        let id = row.id;
        let (priority, completed) = (row.priority, row.status == WorkflowStatus::Completed);
        let mut run = self.load(tx, row).await?;
        if completed && !run.plan.def.restartable {
            let reason = "it has ended COMPLETED and its definition is not restartable".to_owned();
            return Err(Error::Conflict { workflow_id: id, action: "restart", reason });
        }
        if use_latest_definitions {
            run.plan = resolve(self, tx, &run.plan.name, None).await?.plan;
        }
        let restart = RestartRow {
            definition_id: run.plan.definition_id,
            version: run.plan.def.version,
            variables: run.plan.variables.clone(),
            timeout_ms: run.plan.timeout_ms,
        };
        let epoch = self.store.restart_workflow(tx, id, &restart).await?;
        let set_aside = self.store.load_set_aside(tx, &[id]).await?;
        let mut state = RunState {
            epoch,
            parent_id: run.state.parent_id,
            ..RunState::new(
                id,
                run.state.input,
                run.plan.variables.clone(),
                run.state.correlation_id,
            )
        };
        state.set_aside =
            set_aside.into_iter().map(|(_, reference, times)| (reference, times)).collect();
        let decision = decide(&run.plan, &mut state, &Event::Start)
            .map_err(|error| Error::invariant(id, error.to_string()))?;
        self.open(tx, NewTask { workflow_id: id, epoch, priority }, decision).await
    }

    async fn open(
        &self,
        tx: &Transaction<'_>,
        place: NewTask,
        decision: Decision,
    ) -> Result<Acted, Error> {
        let rows: Vec<_> = decision.open.into_iter().map(|open| opened_row(open, 0)).collect();
        let ready = rows.iter().filter(|row| row.state == TokenState::Ready);
        let ready = ready.map(|row| row.queue.clone()).collect();
        self.store.open_tasks(tx, place, &rows).await?;
        Ok(Acted { ready, timed: true, ..Acted::default() })
    }
}
