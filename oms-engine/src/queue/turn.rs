//! One turn of the pump: outcomes to rows, one statement, and what follows from its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::handed::{Report, StartRequestItem, task_id};
use super::outcome::{Ended, task_end};
use super::pump::{BATCH_MAX, Held};
use super::{Pump, SYSTEM_QUEUE, Slot, Slots, made_room};
use crate::advance::{Happened, OneStep, Planned, PlannedTask, Run, plan_step};
use crate::decide::TaskEnd;
use crate::error::Error;
use crate::store::{
    AdvanceBatch, Advanced, ClaimFrom, ClaimRow, EndedRow, OpenedRow, REMOTE, ReturnedRow,
    StartBatch, Token, TokenState,
};
use crate::telemetry::{database_retry, ran};

/// A run keeps its slot for so long while others wait.
const CHAIN_MAX: Duration = Duration::from_secs(1);
/// How often it is looked who waits while all slots are taken.
const PEEK_INTERVAL: Duration = Duration::from_millis(100);

/// The priorities of ready tasks that found no slot, when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct WaitingTasks {
    looked: Option<Instant>,
    highest: Option<i16>,
}

/// An outcome that was decided and is to be written.
#[derive(Debug)]
pub(super) struct Pending {
    /// What ended.
    pub(super) token: Token,
    pub(super) ended: EndedRow,
    /// To decide again where memory turns out to be stale.
    pub(super) end: TaskEnd,
    pub(super) run: Run,
    /// What follows, with the slots of what is to be handed out at once.
    pub(super) opened: Vec<(PlannedTask, Option<Slot>)>,
    pub(super) chain_since: Instant,
    /// Its end was refused by the database once already.
    pub(super) poisoned: bool,
}

/// What one statement writes.
#[derive(Debug, Default)]
pub(super) struct Work {
    #[expect(clippy::vec_box, reason = "they are large, and pass through many hands")]
    pub(super) pending: Vec<Box<Pending>>,
    pub(super) starts: Vec<(StartRequestItem, Option<Slot>)>,
    pub(super) claims: HashMap<String, Claim>,
}

/// Ready tasks to take from a queue.
#[derive(Debug)]
pub(super) struct Claim {
    /// One for each task; none for the engine's own, which need none.
    pub(super) slots: Vec<Slot>,
    pub(super) most: usize,
    pub(super) from: ClaimFrom,
}

impl Work {
    /// What was carried over may have been decided before there was a limit.
    fn respect_limits(&mut self, slots: &Slots) {
        for (task, slot) in self.pending.iter_mut().flat_map(|p| &mut p.opened) {
            if slots.limit_of(&task.row.queue).is_some() {
                *slot = None;
            }
        }
    }
}

impl Pump {
    pub(super) async fn turn(&mut self, starts: Vec<StartRequestItem>) {
        let slots = self.settings.slots.clone();
        let _by_limits = slots.by_limits();
        let mut slow = Vec::new();
        let mut returned = Vec::new();
        let mut work = Work { pending: std::mem::take(&mut self.carried), ..Work::default() };
        work.respect_limits(&slots);
        let reports = std::mem::take(&mut self.reports);
        let freed = self.limited_among(&reports);
        for report in reports {
            self.sort_report(report, &mut work, &mut slow, &mut returned);
        }
        for start in starts {
            let slot = self.keep_slot(&start.row.first, start.row.priority, None);
            work.starts.push((start, slot));
        }
        self.make_room(&freed);
        let limited = self.plan_claims(&mut work).await;
        self.write(work, &mut slow).await;
        if !returned.is_empty() {
            self.return_tasks(&returned).await;
        }
        self.answer_all();
        // Another pump took the flag, and looked before there was room.
        let freed: Vec<String> =
            freed.into_iter().filter(|queue| !limited.contains_key(queue)).collect();
        self.make_room(&freed);
        self.claim_limited(limited, &mut slow).await;
        slow.append(&mut self.carried_steps);
        for step in slow {
            self.go_slow(step).await;
        }
        self.lend_due().await;
        self.answer_all();
        self.store_logs().await;
    }

    /// The queues with a limit of which a task is reported.
    fn limited_among(&self, reports: &[Report]) -> Vec<String> {
        let of = |id| self.held.get(&id).or_else(|| self.away.get(id));
        let held = reports.iter().filter_map(|report| of(report.token_id));
        let queues = held.map(|held| &held.token.queue);
        let limited = queues.filter(|queue| self.settings.slots.limited_by(queue).is_some());
        limited.map(|queue| queue.to_string()).collect()
    }

    fn make_room(&self, queues: &[String]) {
        for queue in queues {
            made_room(&self.settings.slots, &self.settings.wakes, queue);
        }
    }

    /// Decides an outcome from memory, or sends it the slow way.
    fn sort_report(
        &mut self,
        report: Report,
        work: &mut Work,
        slow: &mut Vec<OneStep>,
        returned: &mut Vec<ReturnedRow>,
    ) {
        let token_id = report.token_id;
        let found = self.held.remove(&token_id).map(|held| (held, self.holder));
        let found = found.or_else(|| self.away.remove(token_id).map(|held| (held, REMOTE)));
        let Some((held, holder)) = found else {
            if report.answer.is_none() {
                tracing::warn!(token = token_id, "a late report has no effect: its lease is lost");
            }
            return;
        };
        ran(&held.token.queue, report.outcome.as_ran(), held.since.elapsed());
        self.answers.extend(report.answer.map(|answer| (token_id, answer)));
        if !report.log.is_empty() {
            self.keep_log(&task_id(&held.token), report.log);
        }
        let remote = held.known.as_ref().and_then(|known| known.delivery.get().cloned());
        let worker = report.worker.or(remote);
        let worker = worker.unwrap_or_else(|| self.settings.worker_name.clone());
        let (delay_ms, output, reason) = match task_end(&held, report.outcome) {
            Some(Ended::End(end)) => {
                match self.decide_now(held, end, (holder, worker)) {
                    Ok(decided) => work.pending.push(decided),
                    Err(step) => slow.push(*step),
                }
                return;
            }
            Some(Ended::InProgress { delay_ms, output, reason }) => (delay_ms, output, reason),
            None => (Some(0), None, None),
        };
        returned.push(ReturnedRow { token_id, holder, delay_ms, output, worker, reason });
    }

    fn decide_now(
        &self,
        held: Held,
        end: TaskEnd,
        (holder, worker): (i64, Arc<str>),
    ) -> Result<Box<Pending>, Box<OneStep>> {
        let Held { leased, rev, chain_since, .. } = held;
        // With the slot: what follows can have it.
        let (mut token, mut run) = leased.into_parts();
        token.rev = rev;
        let with_slot = |task: PlannedTask| {
            let slot = task
                .for_worker
                .then(|| self.keep_slot(&task.row, token.priority, Some(chain_since)));
            (task, slot.flatten())
        };
        let who = (holder, Some(worker.clone()));
        let Some(planned) = plan_step(&mut run, &token, who, &end, with_slot) else {
            return Err(Box::new(OneStep {
                token_id: token.id,
                holder,
                worker: Some(worker),
                happened: Happened::Ended(end),
            }));
        };
        let Planned { ended, opened } = planned;
        let pending = Pending { token, ended, end, run, opened, chain_since, poisoned: false };
        Ok(Box::new(pending))
    }

    /// A slot for a task that is about to be written, so that it can be written leased; none
    /// where it must queue: no worker or slot here, or somebody more urgent waits, or this run
    /// has had its slot for long while others wait.
    fn keep_slot(
        &self,
        row: &OpenedRow,
        priority: i16,
        chain_since: Option<Instant>,
    ) -> Option<Slot> {
        if row.state != TokenState::Ready {
            return None;
        }
        if let Some(highest) = self.waiting.highest {
            let long = chain_since.is_some_and(|since| since.elapsed() > CHAIN_MAX);
            if highest > priority || (long && highest == priority) {
                return None;
            }
        }
        self.settings.slots.reserve_at_once(&row.queue)
    }

    /// Takes slots for the queues that may have ready tasks. Out: those of queues with limits.
    async fn plan_claims(&mut self, work: &mut Work) -> HashMap<String, Vec<Slot>> {
        let _planning = self.settings.wakes.plan();
        let flagged = self.settings.wakes.take();
        let (mut without, mut limited) = (Vec::new(), HashMap::new());
        let shares = flagged.iter().filter(|q| self.settings.slots.has_own(q)).count().max(1);
        let now = Instant::now();
        let share = self.settings.slots.free().div_ceil(shares).min(BATCH_MAX);
        for queue in flagged {
            if queue == SYSTEM_QUEUE {
                let from = self.settings.floors.begin(&queue, now);
                work.claims.insert(queue, Claim { slots: Vec::new(), most: BATCH_MAX, from });
                continue;
            }
            let limit = self.settings.slots.limit_of(&queue);
            if let Some((name, _)) = &limit
                && !self.may_claim(&queue, name)
            {
                continue;
            }
            let most = limit.as_ref().and_then(|(_, most)| *most).unwrap_or(BATCH_MAX);
            let slots =
                self.settings.slots.reserve(&Arc::from(&*queue), share, most.min(BATCH_MAX));
            if slots.is_empty() {
                without.push(queue);
            } else if limit.is_some() {
                limited.insert(queue, slots);
            } else {
                let from = self.settings.floors.begin(&queue, now);
                work.claims.insert(queue, Claim { most: slots.len(), slots, from });
            }
        }
        self.look_who_waits(&without).await;
        self.settings.wakes.put_back(without.iter().cloned());
        // Somebody may have begun to wait who saw no flag.
        for queue in without.iter().filter(|q| !self.settings.slots.has_own(q)) {
            if !self.settings.slots.is_full(queue) {
                self.settings.wakes.wake(queue);
            }
        }
        limited
    }

    async fn look_who_waits(&mut self, queues: &[String]) {
        let own = |queue: &&String| self.settings.slots.has_own(queue);
        let served: Vec<String> = queues.iter().filter(own).cloned().collect();
        if served.is_empty() {
            self.waiting = WaitingTasks::default();
            return;
        }
        if self.waiting.looked.is_some_and(|at| at.elapsed() < PEEK_INTERVAL) {
            return;
        }
        let Some(client) = &self.client else { return };
        let now = Instant::now();
        let floors = &self.settings.floors;
        let from = served.into_iter().map(|queue| {
            let from = floors.begin(&queue, now);
            (queue, from)
        });
        let queues: Vec<_> = from.collect();
        match self.settings.core.store.peek_queues(client, &queues).await {
            Ok(waiting) => {
                let highest = waiting.into_iter().max();
                self.waiting = WaitingTasks { looked: Some(Instant::now()), highest };
            }
            Err(error) => self.failed(&error),
        }
    }

    /// A statement that is not the hot one failed: the connection is thrown away where that
    /// helps, and all else is read back.
    pub(super) fn failed(&mut self, error: &Error) {
        database_retry(error);
        tracing::warn!(%error, "a pump's statement failed");
        self.client = None;
    }

    async fn write(&mut self, work: Work, slow: &mut Vec<OneStep>) {
        let mut todo = vec![work];
        while let Some(mut work) = todo.pop() {
            if work.pending.is_empty() && work.starts.is_empty() && work.claims.is_empty() {
                continue;
            }
            let begun = Instant::now();
            match self.execute(&mut work).await {
                Ok(done) => self.written(work, done, begun.elapsed(), slow).await,
                Err(error) => self.not_written(work, error, &mut todo, slow).await,
            }
        }
    }

    async fn execute(&mut self, work: &mut Work) -> Result<(StartBatch, Advanced), Error> {
        for (task, slot) in work.pending.iter_mut().flat_map(|p| &mut p.opened) {
            task.row.state = match (slot, task.row.state) {
                (Some(_), _) => TokenState::Leased,
                // It had a slot when the batch was written before, in vain.
                (None, TokenState::Leased) => TokenState::Ready,
                (None, state) => state,
            };
        }
        for (start, slot) in &mut work.starts {
            if slot.is_some() {
                start.row.first.state = TokenState::Leased;
            }
        }
        let batch = AdvanceBatch {
            ended: work.pending.iter().map(|p| &p.ended).collect(),
            opened: work
                .pending
                .iter()
                .flat_map(|p| p.opened.iter().map(|(task, _)| &task.row))
                .collect(),
            claims: work
                .claims
                .iter()
                .map(|(queue, claim)| {
                    let most = i32::try_from(claim.most).unwrap_or(i32::MAX);
                    ClaimRow { queue, most, from: claim.from }
                })
                .collect(),
        };
        let rows: Vec<_> = work.starts.iter().map(|(start, _)| &start.row).collect();
        let store = &self.settings.core.store;
        let holder = self.holder;
        let Some(client) = &mut self.client else {
            // Lost since the turn began.
            let source = "the connection is lost".into();
            return Err(Error::Connection { doing: "advancing workflows", source });
        };
        store.write(client, &rows, &batch, holder).await
    }
}
