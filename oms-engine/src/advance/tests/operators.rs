//! Operators, and what parents and children are told of each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::rows::Open;
use super::world::{World, is_parked};
use crate::advance::Rerun;
use crate::advance::family::{Above, Control, Resumed, cannot_retry, current_task_of, resumed};
use crate::advance::load::Run;
use crate::advance::rerun::{from_of, skipped, with_undone};
use crate::advance::undo::Ending;
use crate::decide::{End, Fact, TaskStatus, WorkflowStatus, end_now, workflow_timeout};
use crate::ids::WorkflowId;
use crate::store::{Cut, TokenState};

impl World {
    pub(super) fn pause(&mut self, id: WorkflowId) -> Result<(), String> {
        if self.ended(id).is_ok() {
            return Err("it has ended".to_owned());
        }
        self.forget(id);
        self.tables.runs.get_mut(&id).unwrap().row.status = WorkflowStatus::Paused;
        Ok(())
    }

    pub(super) fn resume(&mut self, id: WorkflowId) -> Result<(), String> {
        if self.tables.runs[&id].row.status != WorkflowStatus::Paused {
            return Err("it is not PAUSED".to_owned());
        }
        self.forget(id);
        self.tables.runs.get_mut(&id).unwrap().row.status = WorkflowStatus::Running;
        for open in self.tables.open.values_mut().filter(|open| is_parked(open)) {
            if open.row.token.workflow_id == id {
                open.row.token.state = TokenState::Ready;
            }
        }
        Ok(())
    }

    pub(super) fn terminate(
        &mut self,
        id: WorkflowId,
        reason: String,
        compensate: bool,
    ) -> Result<(), String> {
        let now = self.tables.now;
        let row = &mut self.tables.runs.get_mut(&id).unwrap().row;
        match row.status {
            WorkflowStatus::Completed => return Err("it has ended COMPLETED".to_owned()),
            WorkflowStatus::Terminated => return Ok(()),
            WorkflowStatus::Failed | WorkflowStatus::TimedOut => {
                row.status = WorkflowStatus::Terminated;
                (row.reason, row.ended_at) = (Some(reason), Some(now));
                return Ok(());
            }
            WorkflowStatus::Running | WorkflowStatus::Paused => {}
        }
        if compensate && row.is_undone() {
            return Ok(());
        }
        self.end_by(id, Some(compensate), |run| {
            end_now(&run.plan, &mut run.state, WorkflowStatus::Terminated, reason)
        });
        Ok(())
    }

    pub(super) fn workflow_time_up(&mut self, id: WorkflowId) {
        if self.tables.runs[&id].plan.times_out() {
            self.end_by(id, None, |run| workflow_timeout(&run.plan, &mut run.state));
        } else {
            self.tables.runs.get_mut(&id).unwrap().deadline = None;
        }
    }

    fn end_by(
        &mut self,
        id: WorkflowId,
        by_operator: Option<bool>,
        end: impl FnOnce(&mut Run) -> End,
    ) {
        let record = &self.tables.runs[&id];
        let interrupted = record.row.undo.clone().filter(|undo| undo.end.is_some());
        let mut run = self.tables.run(record);
        let end = end(&mut run).within_limits(&run.plan);
        self.end_or_undo(&run, Ending { end, by_operator });
        if let Some(undo) = interrupted {
            self.note_left(&run, &undo);
        }
    }

    /// Does what a control token says. False: it is none.
    pub(super) fn control(&mut self, open: &Open) -> bool {
        let Some(control) = Control::read(&open.row.token) else { return false };
        let id = open.row.token.workflow_id;
        self.tables.open.remove(&open.row.token.id);
        let row = self.tables.runs[&id].row.clone();
        match control {
            Control::Terminate { reason, token, compensate } => {
                if !row.status.is_terminal() && row.parent_token == token {
                    self.terminate(id, reason, compensate).unwrap();
                }
            }
            Control::CutOff { gate } if row.is_undone() => self.cut_off(id, gate),
            Control::CutOff { .. } => {}
            Control::Resume { token, retry } => {
                let named = json!({ "subWorkflowId": id.to_string() });
                let waits = self.tables.open.get(&token).is_some_and(|open| {
                    open.row.token.state == TokenState::Container
                        && open.row.output.as_ref() == Some(&named)
                });
                if waits {
                    self.resume_child(id, token, retry);
                }
            }
            Control::Reopen { child, above } => {
                let record = &self.tables.runs[&id];
                let history = self.tables.visible(id);
                let current = current_task_of(&record.plan, &history, child).is_some();
                let detached = self.tables.runs[&child].row.parent_token.is_none();
                let undone = self.first_undone(id).is_some();
                if row.status.is_terminal() && current && detached && !undone {
                    self.bring_back(id, true, None);
                    if let Some(own) = above.as_ref().filter(|above| above.workflow == id) {
                        self.set_input(id, own.input.as_ref(), own.correlation_id.as_ref());
                    }
                    self.tell_parent(id, above.filter(|above| above.workflow != id));
                    self.tables.open_decide(id, json!({ "retry": true }));
                }
            }
        }
        true
    }

    fn resume_child(&mut self, id: WorkflowId, token: i64, retry: bool) {
        let row = self.tables.runs[&id].row.clone();
        let plan = self.tables.runs[&id].plan.clone();
        match resumed(&plan, &row, retry, &self.done(id)) {
            Resumed::Retried => {
                self.bring_back(id, true, Some(token));
                self.tables.open_decide(id, json!({ "retry": true }));
            }
            waits => {
                self.tables.runs.get_mut(&id).unwrap().row.parent_token = Some(token);
                self.forget(id);
                if waits == Resumed::Counts {
                    self.tables.count_down(token, None);
                }
            }
        }
    }

    fn done(&self, id: WorkflowId) -> BTreeMap<String, Fact> {
        let record = &self.tables.runs[&id];
        let mut row = record.row.clone();
        row.replays = true;
        let history = self.tables.visible(id);
        let run = crate::advance::load::run_of(&record.plan, &row, &history, &[]);
        run.state.done.unwrap().as_ref().clone()
    }

    fn tell_parent(&mut self, id: WorkflowId, above: Option<Above>) {
        if let Some(parent) = self.tables.runs[&id].row.parent_id {
            self.tables.open_decide(parent, Control::Reopen { child: id, above }.told());
        }
    }

    fn reopen(&mut self, id: WorkflowId, resumes: bool, token: Option<i64>) {
        let now = self.tables.now;
        let record = self.tables.runs.get_mut(&id).unwrap();
        let row = &mut record.row;
        (row.status, row.output, row.reason, row.ended_at) =
            (WorkflowStatus::Running, None, None, None);
        (row.replays, row.resumes) = (true, resumes);
        row.undo = None;
        self.settled.remove(&id);
        row.last_retried_at = Some(now);
        let open = |token: &i64| self.tables.open.contains_key(token);
        row.parent_token = token.or_else(|| row.parent_token.filter(open));
        record.deadline = record.plan.timeout_ms.map(|ms| now + chrono::Duration::milliseconds(ms));
    }

    fn first_undone(&self, id: WorkflowId) -> Option<(i64, DateTime<Utc>)> {
        self.tables.runs[&id].row.undo.as_ref().and_then(|undo| undo.first)
    }

    fn bring_back(&mut self, id: WorkflowId, resumes: bool, token: Option<i64>) {
        match self.first_undone(id) {
            Some((seq, at)) => self.cut(id, seq, at),
            None => return self.reopen(id, resumes, token),
        }
        if token.is_some() {
            self.tables.runs.get_mut(&id).unwrap().row.parent_token = token;
        }
    }

    pub(super) fn retry(&mut self, id: WorkflowId, resumes: bool) -> Result<(), String> {
        let status = self.ended(id)?;
        if let Some(reason) = cannot_retry(status, &self.done(id)) {
            return Err(reason.to_owned());
        }
        self.bring_back(id, resumes, None);
        self.tell_parent(id, None);
        self.tables.open_decide(id, json!({ "retry": true }));
        Ok(())
    }

    fn ended(&self, id: WorkflowId) -> Result<WorkflowStatus, String> {
        let status = self.tables.runs[&id].row.status;
        if status.is_terminal() { Ok(status) } else { Err("it has not ended".to_owned()) }
    }

    pub(super) fn restart(&mut self, id: WorkflowId) -> Result<(), String> {
        self.ended(id)?;
        let record = self.tables.runs.get_mut(&id).unwrap();
        record.row.variables = record.plan.variables.clone();
        self.cut(id, 0, DateTime::UNIX_EPOCH);
        self.tell_parent(id, None);
        self.tables.open_decide(id, json!({ "start": true }));
        Ok(())
    }

    fn cut(&mut self, id: WorkflowId, seq: i64, at: DateTime<Utc>) {
        self.reopen(id, false, None);
        let record = self.tables.runs.get_mut(&id).unwrap();
        record.row.epoch += 1;
        record.row.has_cuts = true;
        record.row.given = None;
        record.cuts.push(super::rows::Cut { epoch: record.row.epoch, seq, at, kept: Vec::new() });
    }

    pub(super) fn rerun(&mut self, id: WorkflowId, rerun: &Rerun) -> Result<(), String> {
        self.ended(id)?;
        let record = &self.tables.runs[&id];
        let visible = self.tables.visible(id);
        let from = rerun.from.as_ref().map(|from| from_of(&record.plan, &visible, from));
        let from = from.transpose()?;
        match from {
            None => self.cut(id, 0, DateTime::UNIX_EPOCH),
            Some(from) => {
                let cut = Cut { seq: from.seq, at: from.at, kept: from.kept.clone(), given: None };
                let cut = with_undone(cut, self.first_undone(id));
                self.cut(id, cut.seq, cut.at);
                let record = self.tables.runs.get_mut(&id).unwrap();
                record.cuts.last_mut().unwrap().kept = cut.kept;
                record.row.given = rerun.task_input.clone().map(|input| (from.name, input));
            }
        }
        if rerun.top.is_none() {
            self.set_input(id, rerun.input.as_ref(), rerun.correlation_id.as_ref());
        }
        self.tell_parent(id, rerun.above());
        self.tables.open_decide(id, json!({ "retry": true }));
        Ok(())
    }

    fn set_input(
        &mut self,
        id: WorkflowId,
        input: Option<&Value>,
        correlation_id: Option<&String>,
    ) {
        let row = &mut self.tables.runs.get_mut(&id).unwrap().row;
        if let Some(input) = input {
            row.input = Arc::new(input.clone());
        }
        if correlation_id.is_some() {
            row.correlation_id = correlation_id.cloned();
        }
    }

    pub(super) fn set_variables(&mut self, id: WorkflowId, given: &Value) -> Result<(), String> {
        if self.ended(id).is_ok() {
            return Err("it has ended".to_owned());
        }
        self.forget(id);
        let row = &mut self.tables.runs.get_mut(&id).unwrap().row;
        Arc::make_mut(&mut row.variables)
            .as_object_mut()
            .unwrap()
            .extend(given.as_object().unwrap().clone());
        Ok(())
    }

    pub(super) fn reset_callbacks(&mut self, id: WorkflowId) -> Result<(), String> {
        if self.ended(id).is_ok() {
            return Err("it has ended".to_owned());
        }
        let now = self.tables.now;
        for open in self.tables.open.values_mut() {
            let token = &open.row.token;
            let delayed = token.state == TokenState::Delayed && open.due.is_some();
            let of_worker = open.row.task_type.is_none() && !token.reference_name.is_empty();
            if token.workflow_id == id && delayed && of_worker {
                open.begins(TokenState::Leased, now);
            }
        }
        Ok(())
    }

    pub(super) fn skip(
        &mut self,
        id: WorkflowId,
        name: &str,
        step: &Map<String, Value>,
    ) -> Result<(), String> {
        let record = &self.tables.runs[&id];
        if record.row.status != WorkflowStatus::Running {
            return Err(format!("it is {}, not RUNNING", record.row.status));
        }
        let (epoch, now) = (record.row.epoch, self.tables.now);
        let is_open = |open: &Open| {
            open.row.token.workflow_id == id && &*open.row.token.reference_name == name
        };
        let reached = self.tables.visible(id).iter().any(|row| row.reference_name == name)
            || self.tables.open.values().any(is_open);
        let task_name = skipped(&record.plan, name, reached)?.to_owned();
        self.tables.runs.get_mut(&id).unwrap().row.replays = true;
        self.forget(id);
        self.tables.history.push(crate::store::HistoryRow {
            workflow_id: id,
            reference_name: name.to_owned(),
            epoch,
            attempt: 0,
            status: TaskStatus::Skipped,
            seq: 0,
            queue: task_name,
            poll_count: 0,
            input: step.get("input").cloned(),
            output: step.get("output").cloned(),
            worker: None,
            reason: None,
            scheduled_at: now,
            started_at: None,
            ended_at: now,
        });
        let base = name.split("__").next().unwrap_or_default();
        self.tables.wake_joins(id, &std::collections::BTreeSet::from([base.to_owned()]));
        Ok(())
    }
}
