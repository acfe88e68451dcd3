//! What follows from the answer of one statement: who hears of it, and what begins.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::handed::{Next, StartReply, StartRequestItem, task_id};
use super::turn::{Claim, Pending, Work};
use super::{Pump, PumpSettings, Slot};
use crate::advance::{Happened, OneStep, Run, asked, load_runs};
use crate::decide::{SYSTEM_QUEUE, input_of};
use crate::definition::Payload;
use crate::id_map::IdSet;
use crate::store::{Advanced, Opened, OpenedRow, StartBatch, Token, TokenState};
use crate::telemetry::{self, Tally};

impl Pump {
    pub(super) async fn written(
        &mut self,
        work: Work,
        (started, advanced): (StartBatch, Advanced),
        took: Duration,
        slow: &mut Vec<OneStep>,
    ) {
        let sizes = (work.pending.len(), work.starts.len(), advanced.claimed.len());
        telemetry::batch(sizes, took);
        let applied: IdSet = advanced.applied.into_iter().collect();
        let mut opened = advanced.opened.into_iter();
        for pending in work.pending {
            let n = pending.opened.len();
            if applied.contains(&pending.ended.token_id) {
                self.applied(*pending, opened.by_ref().take(n));
            } else {
                opened.by_ref().take(n).for_each(drop);
                slow.push(OneStep {
                    token_id: pending.ended.token_id,
                    holder: pending.ended.holder,
                    worker: pending.ended.worker,
                    happened: Happened::Ended(pending.end),
                });
            }
        }
        self.begin_tasks();
        slow.extend(advanced.fallen.into_iter().map(|token| self.system_step(token.id)));
        self.started(work.starts, started).await;
        self.claimed(work.claims, advanced.claimed, took, slow).await;
    }

    fn applied(&mut self, pending: Pending, opened: impl Iterator<Item = Option<Opened>>) {
        self.tell_written(pending.ended.token_id);
        let Pending { token, ended, run, opened: planned, chain_since, .. } = pending;
        if let Some(end) = ended.run_end {
            let ended = run.ended(end.status, end.reason.as_deref());
            Tally { ended: Some(ended), retried: Vec::new() }.count();
            self.tell_ended(token.workflow_id, Some(end));
        }
        let mut left = planned.iter().filter(|(_, slot)| slot.is_some()).count();
        let mut run = Some(run);
        for ((task, slot), opened) in planned.into_iter().zip(opened) {
            left -= usize::from(slot.is_some());
            let Some(opened) = opened else { continue };
            self.arm(&task.row);
            if task.row.attempt > 0 {
                telemetry::retried(&task.row.queue);
            }
            let Some(slot) = slot else {
                if task.row.state == TokenState::Ready {
                    self.ready(&task.row.queue);
                }
                continue;
            };
            // The last takes the run itself.
            let own = if left == 0 { run.take() } else { run.clone() };
            let Some(own) = own else { continue };
            let (row, input, run) = task.begin(own);
            let token = opened.leased(row, &token);
            self.hand_out(Next { token, run, input, slot }, chain_since);
        }
    }

    /// A token of the engine's own that is leased to this pump.
    pub(super) fn system_step(&self, token_id: i64) -> OneStep {
        OneStep { token_id, holder: self.holder, worker: None, happened: Happened::System }
    }

    /// Tells the timer of a time that was just written.
    fn arm(&self, row: &OpenedRow) {
        let times = [row.delay_ms, row.poll_timeout_ms, row.total_ms];
        if let Some(ms) = times.into_iter().flatten().min() {
            self.settings.wakes.due_in(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        }
    }

    async fn started(&mut self, starts: Vec<(StartRequestItem, Option<Slot>)>, done: StartBatch) {
        let new: BTreeSet<_> = done.started.into_iter().collect();
        let mut leased: HashMap<_, Token> =
            done.leased.into_iter().map(|token| (token.workflow_id, token)).collect();
        let mut met = Vec::new();
        for (start, slot) in starts {
            if !new.contains(&start.row.id) {
                met.push(start);
                continue;
            }
            telemetry::started(&start.row.name);
            self.arm(&start.row.first);
            if let Some(ms) = start.row.timeout_ms {
                self.settings.wakes.due_in(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
            }
            match (leased.remove(&start.row.id), slot, start.next) {
                (Some(token), Some(slot), Some((run, input))) => {
                    self.hand_out(Next { token, run, input, slot }, Instant::now());
                }
                _ if start.row.first.state == TokenState::Ready => {
                    self.ready(&start.row.first.queue);
                }
                _ => {}
            }
            reply(start.reply, StartReply::Started);
        }
        self.begin_tasks();
        if !met.is_empty() {
            self.answer_met(met).await;
        }
    }

    /// Answers starts that met a run with their id or key, or a definition that changed.
    async fn answer_met(&mut self, met: Vec<StartRequestItem>) {
        let rows: Vec<_> = met.iter().map(|start| &start.row).collect();
        let found = match &self.client {
            Some(client) => self.settings.core.store.find_started(client, &rows).await,
            None => Ok(Vec::new()),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                // Asked again on the next connection: a repeated start finds what there is.
                self.failed(&error);
                self.carried_starts.extend(met);
                return;
            }
        };
        let mut found: HashMap<_, _> = found.into_iter().map(|row| (row.asked, row)).collect();
        for start in met {
            let row = found.remove(&start.row.id);
            reply(
                start.reply,
                match row {
                    Some(row) if row.found == start.row.id => StartReply::Started,
                    Some(row) => StartReply::Found(row),
                    None => StartReply::Stale,
                },
            );
        }
    }

    async fn claimed(
        &mut self,
        claims: HashMap<String, Claim>,
        tokens: Vec<Token>,
        took: Duration,
        slow: &mut Vec<OneStep>,
    ) {
        let mut taken: HashMap<&str, Vec<(i16, i64)>> = HashMap::new();
        for token in &tokens {
            taken.entry(&token.queue).or_default().push((token.priority, token.id));
        }
        let now = Instant::now();
        let PumpSettings { floors, wakes, .. } = &self.settings;
        for (queue, claim) in &claims {
            let taken = taken.remove(queue.as_str()).unwrap_or_default();
            let all = taken.len() >= claim.most;
            let rest = floors.claimed(queue, claim.from, taken.into_iter(), (now, took));
            match rest {
                // It gave all that was asked for: there may be more.
                _ if all => wakes.wake(queue),
                Some(rest) => wakes.wake_later(queue, rest),
                None => {}
            }
        }
        let slots = claims.into_iter().map(|(queue, claim)| (queue, claim.slots)).collect();
        self.begin_claimed(slots, tokens, slow).await;
    }

    /// Hands out what was claimed, each in a slot that was taken for its queue.
    pub(super) async fn begin_claimed(
        &mut self,
        mut slots: HashMap<String, Vec<Slot>>,
        tokens: Vec<Token>,
        slow: &mut Vec<OneStep>,
    ) {
        let (own, tasks): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|token| &*token.queue == SYSTEM_QUEUE);
        slow.extend(own.into_iter().map(|token| self.system_step(token.id)));
        if tasks.is_empty() {
            return;
        }
        let core = self.settings.core.clone();
        let Some(client) = &self.client else { return };
        let asked: Vec<_> = tasks.iter().map(asked).collect();
        let loaded = match load_runs(&core.store, client, &core.plans, &asked).await {
            Ok(loaded) => loaded,
            Err(error) => return self.failed(&error),
        };
        let mut unknown = Vec::new();
        for (token, run) in tasks.into_iter().zip(loaded) {
            let slot = slots.get_mut(&*token.queue).and_then(Vec::pop);
            match (slot, run.and_then(|run| begin(run, &token))) {
                (Some(slot), Some((run, input))) => {
                    self.hand_out(Next { token, run, input, slot }, Instant::now());
                }
                _ => {
                    tracing::error!(task_id = %task_id(&token), "a claimed task has no run or definition");
                    unknown.push(token.id);
                }
            }
        }
        self.begin_tasks();
        if !unknown.is_empty() {
            self.postpone(&unknown, self.holder).await;
        }
    }
}

pub(super) fn reply(to: tokio::sync::oneshot::Sender<StartReply>, reply: StartReply) {
    if to.send(reply).is_err() {
        tracing::debug!("whoever started a workflow no longer waits; the workflow runs");
    }
}

/// A run as the holder of this token sees it, and the task's input.
fn begin(mut run: Run, token: &Token) -> Option<(Run, Payload)> {
    let name = &token.reference_name;
    let own = run.state.branch.as_ref().and_then(|branch| branch.graph.find(name));
    let node = own.or_else(|| run.plan.graph.find(name))?.0.clone();
    let input = match &token.input {
        Some(input) => Payload::from(input.clone()),
        None => input_of(&run.plan, &run.state, &node, name, token.attempt),
    };
    run.state.open.insert(name.clone(), token.attempt);
    Some((run, input))
}
