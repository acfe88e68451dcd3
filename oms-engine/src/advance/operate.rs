//! Operators' actions, and the end of a run whose own time is up. Each takes all tokens first.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::{Map, Value, json};

use super::events::with_variables;
use super::family::cannot_retry;
use super::load::{Run, load_runs, load_whole};
use super::one::asked;
use super::rerun::Rerun;
use super::rows::run_end;
use super::start::{hold_to_schema, resolve};
use super::take::{Taken, take_all};
use super::undo::Ending;
use super::{Acted, Core};
use crate::decide::{End, SYSTEM_QUEUE, WorkflowStatus, input_of, workflow_timeout};
use crate::definition::{VARIABLES_MAX_BYTES, check_payload};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::store::{CanceledRow, DueToken, RestartRow, RunRow, Token};

/// What to do to a run from outside its steps.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Terminate {
        reason: String,
        /// What it did is undone before.
        compensate: bool,
    },
    Pause,
    Resume,
    Retry {
        /// With the sub-workflows that ended badly, in place of new ones.
        resumes: bool,
    },
    Restart {
        use_latest_definitions: bool,
    },
    SetPriority(i16),
    Rerun(Rerun),
    /// Merged into those it has; with `append` a list is added to the list that one holds.
    SetVariables {
        variables: Map<String, Value>,
        append: bool,
    },
    /// Tasks that wait for a delay before a worker gets them are ready.
    ResetCallbacks,
    Skip {
        reference_name: String,
        input: Value,
        output: Value,
    },
    /// Its own time is up, if it still is.
    TimeUp,
    /// Nothing is kept of it.
    Remove,
}

impl Operation {
    pub(crate) const fn verb(&self) -> &'static str {
        match self {
            Self::Terminate { .. } => "terminate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Restart { .. } => "restart",
            Self::SetPriority(_) => "set the priority of",
            Self::Rerun(_) => "rerun",
            Self::SetVariables { .. } => "set variables of",
            Self::ResetCallbacks => "reset callbacks of",
            Self::Skip { .. } => "skip a task of",
            Self::TimeUp => "time out",
            Self::Remove => "remove",
        }
    }
}

impl Operation {
    /// Whether there is nothing left to do.
    fn is_done(&self, row: &RunRow) -> bool {
        match self {
            Self::Terminate { compensate, .. } => {
                row.status == WorkflowStatus::Terminated || (*compensate && row.is_undone())
            }
            Self::Pause => row.status == WorkflowStatus::Paused,
            Self::TimeUp => row.status != WorkflowStatus::Running || !row.overdue,
            _ => false,
        }
    }

    /// Why a run as it is cannot have it.
    fn refusal(&self, row: &RunRow) -> Option<String> {
        let status = row.status;
        let ended = status.is_terminal();
        match self {
            Self::Terminate { .. } if status == WorkflowStatus::Completed => {
                Some(format!("it has ended {status}"))
            }
            Self::Pause
            | Self::SetPriority(_)
            | Self::SetVariables { .. }
            | Self::ResetCallbacks
                if ended =>
            {
                Some(format!("it has ended {status}"))
            }
            Self::Resume if status != WorkflowStatus::Paused => {
                Some(format!("it is {status}, not PAUSED"))
            }
            Self::Skip { .. } if status != WorkflowStatus::Running => {
                Some(format!("it is {status}, not RUNNING"))
            }
            Self::Skip { .. } if row.is_undone() => Some("what it did is being undone".to_owned()),
            Self::Retry { .. } | Self::Restart { .. } | Self::Rerun(_) | Self::Remove if !ended => {
                Some(format!("it is {status} and has not ended"))
            }
            _ => None,
        }
    }
}

fn refused(workflow_id: WorkflowId, operation: &Operation, reason: String) -> Error {
    Error::Conflict { workflow_id, action: operation.verb(), reason }
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
        if operation.is_done(&taken.row) {
            return Ok(Acted::default());
        }
        if let Some(reason) = operation.refusal(&taken.row) {
            return Err(refused(id, operation, reason));
        }
        match operation {
            Operation::Terminate { reason, .. } if status.is_terminal() => {
                self.terminate_ended(tx, id, reason).await
            }
            Operation::Terminate { reason, compensate } => {
                self.terminate(tx, taken, reason.clone(), *compensate).await
            }
            Operation::TimeUp => self.time_up(tx, taken).await,
            Operation::Remove => self.remove(tx, &taken.row).await,
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
            Operation::SetVariables { variables, append } => {
                self.set_variables(tx, &taken.row, (variables, *append)).await
            }
            Operation::ResetCallbacks => {
                let ready = self.store.reset_callbacks(tx, id).await?;
                Ok(Acted { ready, timed: true, ..Acted::default() })
            }
            Operation::Retry { resumes } => self.retry(tx, taken.row, *resumes).await,
            Operation::Rerun(rerun) => self.rerun(tx, taken.row, rerun).await,
            Operation::Skip { reference_name, input, output } => {
                self.skip(tx, taken.row, reference_name, (input, output)).await
            }
            Operation::Restart { use_latest_definitions } => {
                self.restart(tx, taken.row, *use_latest_definitions).await
            }
        }
    }

    async fn retry(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        resumes: bool,
    ) -> Result<Acted, Error> {
        let loaded = load_whole(&self.store, tx, &self.plans, row).await?;
        let none = BTreeMap::new();
        let done = loaded.run.state.done.as_deref().unwrap_or(&none);
        match cannot_retry(loaded.row.status, done) {
            Some(reason) => {
                let operation = Operation::Retry { resumes };
                Err(refused(loaded.row.id, &operation, reason.to_owned()))
            }
            None => self.reopen(tx, loaded, resumes, None).await,
        }
    }

    async fn load(&self, tx: &Transaction<'_>, row: RunRow) -> Result<Run, Error> {
        Ok(load_whole(&self.store, tx, &self.plans, row).await?.run)
    }

    /// Ends a run with its open tasks; `by_operator` says whether an operator does, and whether he
    /// wants undone what it did. Out: also the run and its end, if that is written.
    pub(super) async fn end(
        &self,
        tx: &Transaction<'_>,
        taken: Taken,
        by_operator: Option<bool>,
        end: impl FnOnce(&mut Run) -> End + Send,
    ) -> Result<(Acted, Option<(Run, End)>), Error> {
        let id = taken.row.id;
        let interrupted = taken.row.undo.clone().filter(|undo| undo.end.is_some());
        let mut run = self.load(tx, taken.row).await?;
        for token in taken.leaves.iter().map(|leaf| &leaf.token) {
            if !token.reference_name.is_empty() {
                run.state.open.insert(token.reference_name.clone(), token.attempt);
            }
        }
        let ending = Ending { end: end(&mut run).within_limits(&run.plan), by_operator };
        let mut acted = Acted { ended: Some(id), ..Acted::default() };
        let end = self.end_or_undo(tx, (&run, &taken.leaves), ending, &mut acted).await?;
        match &end {
            None => acted.ended = None,
            Some(end) => {
                acted.tally.ended = Some(run.ended(end.status, end.reason.as_deref()));
                if let Some(undo) = interrupted {
                    self.note_left(tx, &run, undo).await?;
                }
            }
        }
        Ok((acted, end.map(|end| (run, end))))
    }

    /// The inputs of tasks whose token has none.
    pub(super) async fn inputs_of(
        &self,
        tx: &Transaction<'_>,
        leaves: &[DueToken],
    ) -> Result<Vec<(String, Arc<Value>)>, Error> {
        let without = leaves.iter().map(|leaf| &leaf.token);
        let without = without.filter(|t| t.input.is_none() && !t.reference_name.is_empty());
        let tokens: Vec<&Token> = without.collect();
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<_> = tokens.iter().map(|token| asked(token)).collect();
        let runs = load_runs(&self.store, tx, &self.plans, &asked).await?;
        let inputs = tokens.into_iter().zip(runs).filter_map(|(token, run)| {
            let run = run?;
            let name = &token.reference_name;
            let node = run.plan.node(name)?;
            let input = input_of(&run.plan, &run.state, node, name, token.attempt);
            Some((name.to_string(), input.shared()))
        });
        Ok(inputs.collect())
    }

    /// Ends a run whose tokens are locked. Out: the end as it is written, and queues that have
    /// ready tokens now.
    pub(super) async fn end_run(
        &self,
        tx: &Transaction<'_>,
        run: &Run,
        ending: Ending,
        inputs: &[(String, Arc<Value>)],
    ) -> Result<(End, Vec<String>), Error> {
        let id = run.state.id;
        let compensate = ending.compensates();
        let mut end = ending.end;
        let reason = reason_of_children(&end);
        let canceled = CanceledRow { inputs, reason: &reason, compensate, stay: None };
        let mut ready = Vec::new();
        if self.store.cancel_tokens(tx, id, &canceled).await? {
            ready.push(SYSTEM_QUEUE.to_owned());
        }
        if end.output.is_none() {
            let last = self.store.last_output(tx, id).await?;
            end.output = Some(Arc::new(last.unwrap_or_else(|| json!({}))));
            end = end.within_limits(&run.plan);
        }
        self.store.end_workflow(tx, id, &run_end(end.clone())).await?;
        ready.extend(self.store.count_down(tx, id).await?);
        Ok((end, ready))
    }

    async fn time_up(&self, tx: &Transaction<'_>, taken: Taken) -> Result<Acted, Error> {
        let id = taken.row.id;
        let run = self.load(tx, taken.row.clone()).await?;
        if !run.plan.times_out() {
            tracing::warn!(workflow_id = %id, workflow = %run.plan.name, "workflow time-out (ALERT_ONLY)");
            self.store.disarm_workflow(tx, id).await?;
            return Ok(Acted::default());
        }
        let ended = self.end(tx, taken, None, |run| workflow_timeout(&run.plan, &mut run.state));
        let (mut acted, ended) = ended.await?;
        if let Some((run, end)) = ended {
            acted.ready.extend(self.start_failure_workflow(tx, &run, &end).await?);
        }
        acted.timed = true;
        Ok(acted)
    }

    /// Forgets an ended run. A parent that has not ended may still read what it gave.
    async fn remove(&self, tx: &Transaction<'_>, row: &RunRow) -> Result<Acted, Error> {
        if let Some(parent) = row.parent_id {
            let parents = self.store.load_runs(tx, &[parent]).await?;
            if parents.iter().any(|parent| !parent.status.is_terminal()) {
                let reason = format!("its parent {parent} has not ended");
                return Err(refused(row.id, &Operation::Remove, reason));
            }
        }
        self.store.remove_workflow(tx, row.id).await?;
        Ok(Acted::default())
    }

    async fn resume(&self, tx: &Transaction<'_>, row: RunRow) -> Result<Acted, Error> {
        let (id, undone) = (row.id, row.is_undone());
        let run = self.load(tx, row).await?;
        let ready = self.store.resume_tokens(tx, id).await?;
        let timeout_ms = run.plan.timeout_ms.filter(|_| !undone);
        self.store.set_status(tx, id, WorkflowStatus::Running, timeout_ms).await?;
        Ok(Acted { ready, timed: true, ..Acted::default() })
    }

    async fn set_variables(
        &self,
        tx: &Transaction<'_>,
        row: &RunRow,
        (given, append): (&Map<String, Value>, bool),
    ) -> Result<Acted, Error> {
        let variables = Value::Object(with_variables(&row.variables, given, append));
        check_payload("variables of the workflow", &variables, VARIABLES_MAX_BYTES).map_err(
            |fault| Error::invalid(format!("{} {}", fault.what, fault.path), fault.reason),
        )?;
        self.store.set_variables(tx, row.id, &variables).await?;
        Ok(Acted::default())
    }

    async fn restart(
        &self,
        tx: &Transaction<'_>,
        row: RunRow,
        use_latest_definitions: bool,
    ) -> Result<Acted, Error> {
        let (id, told) = (row.id, row.clone());
        let (priority, completed) = (row.priority, row.status == WorkflowStatus::Completed);
        let mut run = self.load(tx, row).await?;
        if completed && !run.plan.def.restartable {
            let reason = "it has ended COMPLETED and its definition is not restartable".to_owned();
            return Err(Error::Conflict { workflow_id: id, action: "restart", reason });
        }
        if use_latest_definitions {
            run.plan = resolve(self, tx, &run.plan.name, None).await?.plan;
            hold_to_schema(&run.plan, &run.state.input)?;
        }
        let restart = RestartRow {
            definition_id: run.plan.definition_id,
            version: run.plan.def.version,
            variables: run.plan.variables.clone(),
            timeout_ms: run.plan.timeout_ms,
        };
        let epoch = self.store.restart_workflow(tx, id, &restart).await?;
        self.tell_parent(tx, &told, None).await?;
        self.go_on(tx, (id, epoch, priority), &json!({ "start": true })).await
    }

    /// Leaves what follows to whichever engine takes the token.
    pub(super) async fn go_on(
        &self,
        tx: &Transaction<'_>,
        place: (WorkflowId, i16, i16),
        then: &Value,
    ) -> Result<Acted, Error> {
        self.store.open_decide(tx, place, then).await?;
        Ok(Acted { ready: vec![SYSTEM_QUEUE.to_owned()], timed: true, ..Acted::default() })
    }
}

/// Why the runs end that the tasks of an ended run wait for.
pub(super) fn reason_of_children(end: &End) -> String {
    match end.reason.as_deref().unwrap_or_default() {
        "" => format!("Parent workflow has been terminated with status {}", end.status),
        reason => format!("Parent workflow has been terminated with reason: {reason}"),
    }
}
