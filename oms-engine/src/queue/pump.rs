//! The pump: takes the outcomes that are there, writes them in one statement, claims, hands out.
//!
//! It never waits to fill a batch: batches grow by themselves while a statement is under way and
//! are one when idle. One pump has one connection and is one holder of leases.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::compare::Suspects;
use super::handed::{
    Committed, HandedOut, Leased, PumpHandle, PumpMessage, Report, StartRequestItem, Workers,
};
use super::lent::{Answer, Away};
use super::polls::Known;
use super::turn::Pending;
use super::{Floors, Polls, Slots, Turns, Wakes, made_room, ready};
use crate::advance::{Core, OneStep};
use crate::clock::Clock;
use crate::definition::clean_reason;
use crate::id_map::IdMap;
use crate::ids::{TaskId, WorkflowId};
use crate::store::{Connector, RunEnd};
use crate::telemetry::{Ran, lease_lost, ran};

/// Outcomes, and starts, that one statement takes at most.
pub(super) const BATCH_MAX: usize = 500;
/// Messages that may wait for a pump.
const MESSAGES_MAX: usize = 4_096;
/// Starts that may wait for a pump; further callers wait before they are taken in.
const STARTS_MAX: usize = 4_096;

/// Lines that tasks logged and that wait for a connection.
const LOGS_MAX: usize = 100_000;
/// The session that this process lives by; none while it has none.
pub(crate) type SessionId = Option<i64>;

/// The news that a run has ended, for those who wait for it.
#[derive(Debug)]
pub(crate) struct EndedRun {
    pub(crate) id: WorkflowId,
    /// How, where it was decided here.
    pub(crate) end: Option<RunEnd>,
}

/// What a pump shares with the rest of the engine.
#[derive(Debug, Clone)]
pub(crate) struct PumpSettings {
    pub(crate) core: Arc<Core>,
    pub(crate) connector: Connector,
    pub(crate) slots: Arc<Slots>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) floors: Arc<Floors>,
    pub(crate) polls: Arc<Polls>,
    pub(crate) workers: Arc<dyn Workers>,
    pub(crate) session: watch::Receiver<SessionId>,
    pub(crate) ended: mpsc::Sender<EndedRun>,
    pub(crate) clock: Clock,
    pub(crate) worker_name: Arc<str>,
}

/// A task that is leased to this pump and runs here.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) leased: Arc<Leased>,
    /// The token's, which a take-over changes.
    pub(super) rev: i32,
    /// Of a task for a remote worker.
    pub(super) known: Option<Known>,
    pub(super) since: Instant,
    /// Since when steps of this run have followed each other in one slot.
    pub(super) chain_since: Instant,
}

impl Deref for Held {
    type Target = Leased;

    fn deref(&self) -> &Leased {
        &self.leased
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(super) settings: PumpSettings,
    pub(super) handle: PumpHandle,
    messages: mpsc::Receiver<PumpMessage>,
    starts: mpsc::Receiver<StartRequestItem>,
    pub(super) client: Option<ClientWrapper>,
    pub(super) holder: i64,
    /// Holders of before, whose leases may still have to be taken over.
    pub(super) old_holders: Vec<i64>,
    pub(super) held: IdMap<Held>,
    /// Tasks that this process runs and that are still to be begun.
    pub(super) to_begin: Vec<HandedOut>,
    /// Tasks that went to remote workers and are not leased to this pump any more.
    pub(super) away: Away,
    /// When these are looked for.
    pub(super) lend_at: Option<Instant>,
    /// Who is to hear when what was reported of a token is written.
    pub(super) answers: IdMap<Answer>,
    /// Those of them whose report is written.
    pub(super) told: Vec<Answer>,
    /// Outcomes and starts whose fate was unknown; they go first.
    #[expect(clippy::vec_box, reason = "as they come from what was not written")]
    pub(super) carried: Vec<Box<Pending>>,
    pub(super) carried_starts: Vec<StartRequestItem>,
    pub(super) carried_steps: Vec<OneStep>,
    pub(super) reports: Vec<Report>,
    pub(super) logs: Vec<(TaskId, String)>,
    pub(super) suspects: Suspects,
    pub(super) waiting: super::turn::WaitingTasks,
    pub(super) stopping: Option<(Instant, oneshot::Sender<()>)>,
}

impl Pump {
    pub(crate) fn new(settings: PumpSettings) -> Self {
        let (message_sender, messages) = mpsc::channel(MESSAGES_MAX);
        let (start_sender, starts) = mpsc::channel(STARTS_MAX);
        let handle = PumpHandle::new(message_sender, start_sender);
        Self {
            settings,
            handle,
            messages,
            starts,
            client: None,
            holder: 0,
            old_holders: Vec::new(),
            held: IdMap::default(),
            to_begin: Vec::new(),
            away: Away::default(),
            lend_at: None,
            answers: IdMap::default(),
            told: Vec::new(),
            carried: Vec::new(),
            carried_starts: Vec::new(),
            carried_steps: Vec::new(),
            reports: Vec::new(),
            logs: Vec::new(),
            suspects: Suspects::default(),
            waiting: Default::default(),
            stopping: None,
        }
    }

    pub(crate) fn handle(&self) -> PumpHandle {
        self.handle.clone()
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        let mut session = self.settings.session.clone();
        loop {
            if session.has_changed().unwrap_or(false) || self.client.is_none() {
                session.mark_unchanged();
                if !self.renew(&mut session).await {
                    break;
                }
            }
            let mut starts = std::mem::take(&mut self.carried_starts);
            self.gather(&mut starts, &mut session).await;
            if let Some((until, _)) = &self.stopping
                && (self.held.is_empty() || Instant::now() >= *until)
                && self.nothing_to_write()
                && starts.is_empty()
            {
                break;
            }
            self.turn(starts).await;
        }
        self.stop().await;
    }

    /// Waits for something to do, then takes what is there without waiting.
    async fn gather(
        &mut self,
        starts: &mut Vec<StartRequestItem>,
        session: &mut watch::Receiver<SessionId>,
    ) {
        if self.nothing_to_write() && starts.is_empty() {
            let held = !self.held.is_empty();
            let until = |(until, _): &(Instant, _)| if held { *until } else { Instant::now() };
            let until = self.stopping.as_ref().map(until);
            let until = until.into_iter().chain(self.next_lending()).min();
            let wakes = self.settings.wakes.clone();
            tokio::select! {
                message = self.messages.recv() => if let Some(m) = message { self.take(m).await },
                start = self.starts.recv() => starts.extend(start),
                () = wakes.woken() => {}
                _ = session.changed() => session.mark_changed(),
                () = sleep_until(until) => {}
            }
        }
        self.settings.polls.answer();
        while self.reports.len() < BATCH_MAX {
            let Ok(message) = self.messages.try_recv() else { break };
            self.take(message).await;
        }
        while starts.len() < BATCH_MAX {
            let Ok(start) = self.starts.try_recv() else { break };
            starts.push(start);
        }
        self.begin_tasks();
    }

    fn nothing_to_write(&self) -> bool {
        self.reports.is_empty() && self.carried.is_empty() && self.carried_steps.is_empty()
    }

    async fn take(&mut self, message: PumpMessage) {
        match message {
            PumpMessage::Report(report) => self.reports.push(report),
            PumpMessage::Committed(committed) => self.committed(committed),
            PumpMessage::Taken(tokens) => {
                for id in tokens {
                    self.away.remove(id);
                    self.lose(id);
                }
            }
            PumpMessage::Leased { holder, tokens, asked } if holder == self.holder => {
                let leased = tokens.iter().filter(|(_, h)| *h == holder).map(|(id, _)| *id);
                self.compare(&leased.collect(), asked).await;
            }
            PumpMessage::Leased { .. } => {}
            PumpMessage::Stop { grace, done } => {
                self.settings.slots.close();
                self.stopping = Some((Instant::now() + grace, done));
            }
        }
    }

    fn committed(&mut self, committed: Committed) {
        self.keep_log(&committed.task_id, committed.log);
        if let Some(id) = committed.ended {
            self.tell_ended(id, None);
        }
        for queue in &committed.ready {
            self.ready(queue);
        }
        if committed.timed {
            self.settings.wakes.due_in(Duration::ZERO);
        }
        if committed.holder == self.holder {
            let steps = committed.fallen.iter().map(|id| self.system_step(*id));
            let steps: Vec<OneStep> = steps.collect();
            self.carried_steps.extend(steps);
        }
        // Its slot becomes free. It may be gone: a take-over met the commit half way.
        let held = self.held.remove(&committed.token_id);
        if let Some(held) = &held {
            ran(&held.token.queue, Ran::Completed, held.since.elapsed());
            made_room(&self.settings.slots, &self.settings.wakes, &held.token.queue);
        }
        let chain_since = held.map_or_else(Instant::now, |held| held.chain_since);
        // What is leased to an earlier holder was given back when that was taken over.
        if let Some(next) = committed.next
            && committed.holder == self.holder
        {
            self.hand_out(*next, chain_since);
        }
    }

    pub(super) fn keep_log(&mut self, task_id: &TaskId, lines: Vec<String>) {
        self.logs.extend(lines.into_iter().map(|line| (task_id.clone(), clean_reason(line))));
    }

    pub(super) fn tell_ended(&self, id: WorkflowId, end: Option<RunEnd>) {
        // Whoever waits polls as well, so a full channel costs time and nothing else.
        if self.settings.ended.try_send(EndedRun { id, end }).is_err() {
            tracing::trace!(workflow_id = %id, "nobody took the news of an end");
        }
    }

    /// A queue has a ready task that was written here.
    pub(super) fn ready(&self, queue: &str) {
        ready(&self.settings.slots, &self.settings.wakes, queue);
    }

    /// A lease is lost: its task is canceled and what it reports has no effect.
    pub(super) fn lose(&mut self, token_id: i64) {
        if let Some(held) = self.held.remove(&token_id) {
            lease_lost();
            let task_id = super::handed::task_id(&held.token);
            if held.known.is_some() {
                tracing::debug!(%task_id, "the lease of a remote worker's task is another's");
            } else {
                tracing::warn!(%task_id, "lease lost; the task is canceled");
            }
            made_room(&self.settings.slots, &self.settings.wakes, &held.token.queue);
            held.cancellation.cancel();
        }
    }

    pub(super) fn lose_all(&mut self) {
        let ids: Vec<i64> = self.held.keys().copied().collect();
        for id in ids {
            self.lose(id);
        }
        self.carried.clear();
        self.carried_steps.clear();
        self.answers.clear();
    }

    /// Gives back what still runs, and answers who waits for the end.
    async fn stop(&mut self) {
        self.handle.set_holder(0);
        self.lend_delivered(Duration::ZERO).await;
        let running: Vec<i64> = self.held.keys().copied().collect();
        for held in self.held.values() {
            held.cancellation.cancel();
        }
        if !running.is_empty() {
            self.release(&running).await;
        }
        self.store_logs().await;
        self.held.clear();
        self.away.clear();
        self.answers.clear();
        if let Some((_, done)) = self.stopping.take()
            && done.send(()).is_err()
        {
            tracing::debug!("nobody waits for the pump's end");
        }
    }

    pub(super) async fn store_logs(&mut self) {
        if self.logs.is_empty() {
            return;
        }
        let Some(client) = &self.client else { return };
        let lines = std::mem::take(&mut self.logs);
        match self.settings.core.store.append_logs(client, &lines).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() && lines.len() < LOGS_MAX => {
                self.logs = lines;
                self.failed(&error);
            }
            Err(error) => {
                tracing::warn!(%error, lines = lines.len(), "lines that tasks logged were lost");
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
