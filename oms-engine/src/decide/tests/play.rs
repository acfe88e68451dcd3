//! What workers, timers and operators do to a model.

use std::sync::Arc;

use serde_json::json;

use super::model::{Model, Outcome, Token, end_of, parked};
use crate::decide::{
    DecideError, End, Event, RunState, TaskStatus, TimeoutKind, WorkflowStatus, decide, end_now,
    only_alerts, workflow_timeout,
};

/// One thing that is done to a run; what does not apply to its state is left out.
#[derive(Clone, Debug)]
pub(super) enum Move {
    Claim,
    GiveBack,
    Report(Outcome),
    Pause,
    Resume,
    Terminate,
    WorkflowTimeOut,
    Retry,
    Restart,
}

impl Model {
    pub(super) fn play(&mut self, play: &Move) {
        let ended = self.status.is_terminal();
        match play {
            Move::Claim => self.claim(true),
            Move::GiveBack => self.claim(false),
            Move::Report(outcome) => self.report(outcome.clone()),
            Move::Pause if self.status == WorkflowStatus::Running => {
                self.turn(WorkflowStatus::Paused);
            }
            Move::Resume if self.status == WorkflowStatus::Paused => self.resume(),
            Move::Terminate if !ended => self.end_by(|model, state| {
                let reason = "by hand".to_owned();
                end_now(&model.plan, state, WorkflowStatus::Terminated, reason)
            }),
            Move::WorkflowTimeOut if self.status == WorkflowStatus::Running => {
                self.end_by(|model, state| workflow_timeout(&model.plan, state));
            }
            Move::Retry if ended && self.status != WorkflowStatus::Completed => self.retry(),
            Move::Restart if ended => self.restart(),
            _ => {}
        }
        self.check();
    }

    fn claim(&mut self, claim: bool) {
        let Some(Token::Task { claimed, .. }) = &mut self.token else { return };
        if *claimed == claim {
            return;
        }
        *claimed = claim;
        let (from, to) = (TaskStatus::Scheduled, TaskStatus::InProgress);
        if claim { self.task_turns(from, to) } else { self.task_turns(to, from) }
    }

    /// An attempt ends. Workers report what they hold; a time-out comes by itself.
    pub(super) fn report(&mut self, outcome: Outcome) {
        match outcome.timeout {
            Some(TimeoutKind::Poll) => self.claim(false),
            Some(TimeoutKind::Total) => {}
            _ => self.claim(true),
        }
        let Some(Token::Task { open, claimed }) = self.token.clone() else { return };
        if outcome.timeout.is_some_and(|kind| only_alerts(&open.node, kind)) {
            return;
        }
        let end = end_of(&open, outcome);
        if self.status == WorkflowStatus::Paused {
            let (status, event) = parked(&self.plan, &self.memory, &end);
            self.append(&open, claimed, (status, &end));
            self.token = Some(Token::Parked(event));
        } else {
            self.step(&Event::Ended(end));
        }
    }

    fn resume(&mut self) {
        self.turn(WorkflowStatus::Running);
        if let Some(Token::Parked(event)) = self.token.clone() {
            self.step(&event);
        }
    }

    fn end_by(&mut self, end: impl FnOnce(&Self, &mut RunState) -> End) {
        let mut end = end(self, &mut self.fresh());
        if let Some(Token::Task { open, claimed }) = self.token.take() {
            let canceled = end_of(&open, Outcome::of(TaskStatus::Canceled));
            self.append(&open, claimed, (TaskStatus::Canceled, &canceled));
        }
        let last = self.history.iter().rev().find(|row| row.epoch == self.epoch);
        let last = last.and_then(|row| Some(row.output.as_ref()?.shared()));
        let last = last.unwrap_or_else(|| Arc::new(json!({})));
        end.output.get_or_insert(last);
        self.turn(end.status);
        self.reason.clone_from(&end.reason);
        self.end = Some(end);
        self.memory = self.fresh();
    }

    fn retry(&mut self) {
        let nothing = decide(&self.plan, &mut self.fresh(), &Event::Retry);
        if nothing != Err(DecideError::NothingToRetry) {
            self.step(&Event::Retry);
        }
    }

    fn restart(&mut self) {
        self.epoch += 1;
        self.retried = false;
        self.begin_again();
        self.step(&Event::Start);
    }

    /// Brings what is left to an end: all goes well from here.
    pub(super) fn finish(&mut self) {
        self.play(&Move::Resume);
        for _ in 0..=self.plan.graph.nodes.len() {
            if self.token.is_some() {
                self.report(Outcome::completed(json!({ "v": 1 })));
            }
        }
        assert!(self.status.is_terminal(), "{} with {:?}", self.status, self.token);
    }
}
