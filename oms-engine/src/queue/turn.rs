//! One turn of the pump: outcomes to rows, one statement, and what follows from its answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::handed::{Next, Outcome, Report, StartReply, StartRequestItem, task_id};
use super::pump::{BATCH_MAX, Held};
use super::{DECIDE_QUEUE, Pump, Slot};
use crate::advance::{
    Action, Happened, OneStep, Run, as_object, load_runs, opened_row, run_end, within_limits,
};
use crate::decide::{Event, TaskEnd, TaskStatus, WorkflowStatus, decide, input_of};
use crate::definition::{TASK_PAYLOAD_MAX_BYTES, check_payload};
use crate::error::{Error, Remedy, remedy};
use crate::ids::{TaskId, draw_jitter};
use crate::store::{
    AdvanceBatch, Advanced, EndedRow, OpenedRow, ReturnedRow, StartBatch, Token, TokenState,
};

/// A run keeps its slot for so long while others wait.
const CHAIN_MAX: Duration = Duration::from_secs(1);
/// How often it is looked who waits while all slots are taken.
const PEEK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest reason that is stored, in bytes.
pub(crate) const REASON_MAX_BYTES: usize = 10_000;
/// The longest time before a task in progress is handed out again: ten years.
const CALLBACK_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// A task whose end cannot be written is handed out again after this time.
const POISON_DELAY_MS: i64 = 60_000;

/// The priorities of ready tasks that found no slot, when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct WaitingTasks {
    looked: Option<Instant>,
    highest: Option<i16>,
}

/// An outcome that was decided and is to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) task_id: TaskId,
    pub(super) ended: EndedRow,
    /// To decide again where memory turns out to be stale.
    end: TaskEnd,
    run: Run,
    opened: Option<(OpenedRow, Arc<Value>)>,
    slot: Option<Slot>,
    chain_since: Instant,
    /// Its end was refused by the database once already.
    poisoned: bool,
}

/// What one statement writes.
#[derive(Debug, Default)]
struct Work {
    pending: Vec<Pending>,
    starts: Vec<(StartRequestItem, Option<Slot>)>,
    claims: HashMap<String, Vec<Slot>>,
}

impl Pump {
    pub(super) async fn turn(&mut self, starts: Vec<StartRequestItem>) {
        let mut slow = Vec::new();
        let mut returned = Vec::new();
        let mut work = Work { pending: std::mem::take(&mut self.carried), ..Work::default() };
        for report in std::mem::take(&mut self.reports) {
            self.sort_report(report, &mut work.pending, &mut slow, &mut returned);
        }
        for start in starts {
            let slot = self.keep_slot(&start.row.first, start.row.priority, None);
            work.starts.push((start, slot));
        }
        self.plan_claims(&mut work).await;
        self.write(work, &mut slow).await;
        if !returned.is_empty() {
            self.return_tasks(&returned).await;
        }
        slow.append(&mut self.carried_steps);
        for step in slow {
            self.go_slow(step).await;
        }
        self.store_logs().await;
    }

    /// Decides an outcome from memory, or sends it the slow way.
    fn sort_report(
        &mut self,
        report: Report,
        pending: &mut Vec<Pending>,
        slow: &mut Vec<OneStep>,
        returned: &mut Vec<ReturnedRow>,
    ) {
        let Some(held) = self.held.remove(&report.token_id) else {
            tracing::warn!(
                token = report.token_id,
                "a late report has no effect: its lease is lost"
            );
            return;
        };
        let id = task_id(&held.token);
        self.keep_log(&id, report.log);
        let worker = self.settings.worker_name.clone();
        let Some(end) = task_end(&held, report.outcome) else {
            returned.push(ReturnedRow {
                token_id: held.token.id,
                holder: self.holder,
                delay_ms: 0,
                output: None,
                worker,
            });
            return;
        };
        let end = match end {
            Ended::End(end) => end,
            Ended::InProgress { delay_ms, output } => {
                let (token_id, holder) = (held.token.id, self.holder);
                returned.push(ReturnedRow { token_id, holder, delay_ms, output, worker });
                return;
            }
        };
        match self.decide_now(held, end) {
            Ok(decided) => pending.push(*decided),
            Err(step) => slow.push(*step),
        }
    }

    fn decide_now(&self, held: Held, end: TaskEnd) -> Result<Box<Pending>, Box<OneStep>> {
        let Held { token, mut run, input, slot, chain_since, .. } = held;
        let step = OneStep {
            token_id: token.id,
            holder: self.holder,
            worker: Some(self.settings.worker_name.clone()),
            happened: Happened::Ended(end.clone()),
        };
        if run.plan.fresh_after(&token.reference_name) {
            return Err(Box::new(step));
        }
        let Ok(decision) = decide(&run.plan, &mut run.state, &Event::Ended(end.clone())) else {
            return Err(Box::new(step));
        };
        let end_of_run = decision.end.map(within_limits);
        if let Some(run_end) = &end_of_run {
            let fails = run_end.status != WorkflowStatus::Completed;
            if fails && run.plan.has_failure_workflow() {
                return Err(Box::new(step));
            }
        }
        let opened = decision.open.map(|open| {
            let input = open.input.clone();
            (opened_row(open, token.id), input)
        });
        drop(slot);
        let slot = opened
            .as_ref()
            .and_then(|(row, _)| self.keep_slot(row, token.priority, Some(chain_since)));
        let ended = EndedRow {
            token_id: token.id,
            rev: token.rev,
            holder: self.holder,
            status: decision.ended_as.unwrap_or(end.status),
            input: token.input.is_none().then_some(input),
            output: end.output.clone(),
            worker: Some(self.settings.worker_name.clone()),
            reason: end.reason.clone(),
            run_end: end_of_run.map(run_end),
        };
        let task_id = task_id(&token);
        let pending =
            Pending { task_id, ended, end, run, opened, slot, chain_since, poisoned: false };
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
        self.settings.slots.reserve(&row.queue, 1).pop()
    }

    /// Takes slots for the queues that may have ready tasks.
    async fn plan_claims(&mut self, work: &mut Work) {
        let flagged = self.settings.wakes.take();
        let mut without = Vec::new();
        let shares = flagged.iter().filter(|q| *q != DECIDE_QUEUE).count().max(1);
        let share = self.settings.slots.free().div_ceil(shares).min(BATCH_MAX);
        for queue in flagged {
            if queue == DECIDE_QUEUE {
                work.claims.insert(queue, Vec::new());
                continue;
            }
            let slots = self.settings.slots.reserve(&queue, share);
            if slots.is_empty() {
                without.push(queue);
            } else {
                work.claims.insert(queue, slots);
            }
        }
        self.look_who_waits(&without).await;
        self.settings.wakes.put_back(without);
    }

    async fn look_who_waits(&mut self, queues: &[String]) {
        if queues.is_empty() {
            self.waiting = WaitingTasks::default();
            return;
        }
        if self.waiting.looked.is_some_and(|at| at.elapsed() < PEEK_INTERVAL) {
            return;
        }
        let Some(client) = &self.client else { return };
        let served: Vec<String> =
            queues.iter().filter(|q| self.settings.slots.serves(q)).cloned().collect();
        match self.settings.core.store.peek_queues(client, &served).await {
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
        tracing::warn!(%error, "a pump's statement failed");
        self.client = None;
    }

    async fn write(&mut self, work: Work, slow: &mut Vec<OneStep>) {
        let mut todo = vec![work];
        while let Some(mut work) = todo.pop() {
            if work.pending.is_empty() && work.starts.is_empty() && work.claims.is_empty() {
                continue;
            }
            match self.execute(&mut work).await {
                Ok((started, advanced)) => self.written(work, started, advanced, slow).await,
                Err(error) => self.not_written(work, error, &mut todo, slow).await,
            }
        }
    }

    async fn execute(&mut self, work: &mut Work) -> Result<(StartBatch, Advanced), Error> {
        for pending in &mut work.pending {
            if let Some((row, _)) = &mut pending.opened {
                row.state = match (&pending.slot, row.delay_ms) {
                    (Some(_), _) => TokenState::Leased,
                    (None, Some(_)) => TokenState::Delayed,
                    (None, None) => TokenState::Ready,
                };
            }
        }
        for (start, slot) in &mut work.starts {
            if slot.is_some() {
                start.row.first.state = TokenState::Leased;
            }
        }
        let batch = AdvanceBatch {
            ended: work.pending.iter().map(|p| p.ended.clone()).collect(),
            opened: work
                .pending
                .iter()
                .filter_map(|p| p.opened.as_ref().map(|o| o.0.clone()))
                .collect(),
            claims: work
                .claims
                .iter()
                .map(|(queue, slots)| {
                    let n = if queue == DECIDE_QUEUE { BATCH_MAX } else { slots.len() };
                    (queue.clone(), i32::try_from(n).unwrap_or(i32::MAX))
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
        let nothing_to_advance = batch.ended.is_empty() && batch.claims.is_empty();
        if rows.is_empty() {
            return Ok((StartBatch::default(), store.advance(client, &batch, holder).await?));
        }
        if nothing_to_advance {
            let started = store.start_workflows(client, &rows, Some(holder)).await?;
            return Ok((started, Advanced::default()));
        }
        let tx = store.begin(client).await?;
        // Sent one behind the other without waiting: one round trip, one commit.
        let (started, advanced) = tokio::try_join!(
            store.start_workflows(&tx, &rows, Some(holder)),
            store.advance(&tx, &batch, holder)
        )?;
        store.commit(tx).await?;
        Ok((started, advanced))
    }

    async fn written(
        &mut self,
        work: Work,
        started: StartBatch,
        advanced: Advanced,
        slow: &mut Vec<OneStep>,
    ) {
        let applied: BTreeSet<i64> = advanced.applied.into_iter().collect();
        let mut opened: HashMap<_, Token> =
            advanced.opened.into_iter().map(|token| (token.workflow_id, token)).collect();
        for pending in work.pending {
            if applied.contains(&pending.ended.token_id) {
                let token = opened.remove(&pending.task_id.workflow_id);
                self.applied(pending, token);
            } else {
                slow.push(OneStep {
                    token_id: pending.ended.token_id,
                    holder: pending.ended.holder,
                    worker: pending.ended.worker,
                    happened: Happened::Ended(pending.end),
                });
            }
        }
        self.started(work.starts, started).await;
        self.claimed(work.claims, advanced.claimed, slow).await;
    }

    fn applied(&mut self, pending: Pending, opened: Option<Token>) {
        if pending.ended.run_end.is_some() {
            self.tell_ended(pending.task_id.workflow_id);
        }
        let (Some(token), Some((row, input))) = (opened, pending.opened) else { return };
        match (token.state, pending.slot) {
            (TokenState::Leased, Some(slot)) => {
                let next = Next { token, run: pending.run, input, slot };
                self.hand_out(next, pending.chain_since);
            }
            (TokenState::Ready, _) => self.ready(&row.queue),
            _ => {}
        }
        self.arm(&row);
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
        let mut opened: HashMap<_, Token> =
            done.opened.into_iter().map(|token| (token.workflow_id, token)).collect();
        let mut met = Vec::new();
        for (start, slot) in starts {
            if !new.contains(&start.row.id) {
                met.push(start);
                continue;
            }
            self.arm(&start.row.first);
            if let Some(ms) = start.row.timeout_ms {
                self.settings.wakes.due_in(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
            }
            match (opened.remove(&start.row.id), slot) {
                (Some(token), Some(slot)) if token.state == TokenState::Leased => {
                    let next = Next { token, run: start.run, input: start.input, slot };
                    self.hand_out(next, Instant::now());
                }
                (Some(token), _) if token.state == TokenState::Ready => self.ready(&token.queue),
                _ => {}
            }
            reply(start.reply, StartReply::Started);
        }
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
        for start in met {
            let row = found.iter().find(|row| row.asked == start.row.id);
            reply(
                start.reply,
                match row {
                    Some(row) if row.found == start.row.id => StartReply::Started,
                    Some(row) => StartReply::Found { id: row.found, same_input: row.same_input },
                    None => StartReply::Stale,
                },
            );
        }
    }

    async fn claimed(
        &mut self,
        mut slots: HashMap<String, Vec<Slot>>,
        tokens: Vec<Token>,
        slow: &mut Vec<OneStep>,
    ) {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for token in &tokens {
            *counts.entry(&token.queue).or_default() += 1;
        }
        for (queue, asked) in &slots {
            let asked = if queue == DECIDE_QUEUE { BATCH_MAX } else { asked.len() };
            if counts.get(queue.as_str()).copied().unwrap_or(0) >= asked {
                // It gave all that was asked for: there may be more.
                self.settings.wakes.wake(queue);
            }
        }
        let (decide_tokens, tasks): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|token| token.reference_name.is_empty());
        slow.extend(decide_tokens.into_iter().map(|token| OneStep {
            token_id: token.id,
            holder: self.holder,
            worker: None,
            happened: Happened::Decide,
        }));
        if tasks.is_empty() {
            return;
        }
        let mut ids: Vec<_> = tasks.iter().map(|token| token.workflow_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let core = self.settings.core.clone();
        let Some(client) = &self.client else { return };
        let loaded = match load_runs(&core.store, client, &core.plans, &ids).await {
            Ok(loaded) => loaded,
            Err(error) => return self.failed(&error),
        };
        let runs: HashMap<_, Run> =
            loaded.into_iter().map(|loaded| (loaded.row.id, loaded.run)).collect();
        let mut unknown = Vec::new();
        for token in tasks {
            let slot = slots.get_mut(&token.queue).and_then(Vec::pop);
            let run = runs.get(&token.workflow_id).cloned();
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
        if !unknown.is_empty() {
            self.postpone(&unknown).await;
        }
    }

    async fn return_tasks(&mut self, returned: &[ReturnedRow]) {
        let Some(client) = &self.client else { return };
        match self.settings.core.store.return_tasks(client, returned).await {
            Ok(done) => {
                for (_, queue) in done {
                    if let Some(queue) = queue {
                        self.ready(&queue);
                    }
                }
                if let Some(ms) = returned.iter().map(|r| r.delay_ms).filter(|ms| *ms > 0).min() {
                    self.settings
                        .wakes
                        .due_in(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
                }
            }
            // What was not returned is a lease that nobody runs: the new holder gives it back.
            Err(error) => self.failed(&error),
        }
    }

    async fn go_slow(&mut self, step: OneStep) {
        let core = self.settings.core.clone();
        let Some(client) = &mut self.client else {
            self.carried_steps.push(step);
            return;
        };
        match core.act(client, &Action::Step(&step)).await {
            Ok(acted) => {
                if acted.lost {
                    tracing::warn!(
                        token = step.token_id,
                        "a late report has no effect: its lease is lost"
                    );
                }
                for queue in &acted.ready {
                    self.ready(queue);
                }
                if let Some(id) = acted.ended {
                    self.tell_ended(id);
                }
                if acted.timed {
                    self.settings.wakes.due_in(Duration::ZERO);
                }
            }
            Err(error) if error.is_retryable() => {
                self.carried_steps.push(step);
                self.failed(&error);
            }
            Err(error) => {
                tracing::error!(%error, token = step.token_id, "a step could not be written");
                self.postpone(&[step.token_id]).await;
            }
        }
    }

    /// Hands tokens out again later.
    async fn postpone(&mut self, tokens: &[i64]) {
        let Some(client) = &self.client else { return };
        let holder = self.holder;
        match self.settings.core.store.postpone_tasks(client, tokens, holder, POISON_DELAY_MS).await
        {
            Ok(()) => {}
            Err(error) => self.failed(&error),
        }
    }

    async fn not_written(
        &mut self,
        mut work: Work,
        error: Error,
        todo: &mut Vec<Work>,
        slow: &mut Vec<OneStep>,
    ) {
        self.settings.wakes.put_back(work.claims.drain().map(|(queue, _)| queue));
        let what = match &error {
            Error::Database { source, .. } => remedy(source),
            Error::Deadline { .. } | Error::Connection { .. } => Remedy::NewConnection,
            _ => Remedy::GiveUp,
        };
        match what {
            Remedy::RepeatTransaction => {
                tracing::debug!(%error, "a batch is repeated");
                todo.push(work);
            }
            Remedy::NewConnection | Remedy::BackOff => {
                tracing::warn!(%error, "the outcome of a batch is unknown; it is read back");
                self.client = None;
                self.carried.append(&mut work.pending);
                self.carried_starts.extend(work.starts.into_iter().map(|(start, _)| {
                    let mut start = start;
                    start.row.first.state = if start.row.first.delay_ms.is_some() {
                        TokenState::Delayed
                    } else {
                        TokenState::Ready
                    };
                    start
                }));
            }
            Remedy::GiveUp => split(work, error, todo, slow),
        }
    }
}

/// Halves a batch that the database refuses, until the bad item stands alone and fails its task
/// or its start.
fn split(mut work: Work, error: Error, todo: &mut Vec<Work>, slow: &mut Vec<OneStep>) {
    let n = work.pending.len() + work.starts.len();
    if n > 1 {
        let pending = work.pending.split_off(work.pending.len() / 2);
        let starts = work.starts.split_off(work.starts.len().div_ceil(2));
        todo.push(Work { pending, starts, ..Work::default() });
        todo.push(work);
        return;
    }
    if let Some((start, _)) = work.starts.pop() {
        reply(start.reply, StartReply::Failed(error));
        return;
    }
    let Some(mut pending) = work.pending.pop() else { return };
    tracing::error!(%error, task_id = %pending.task_id, "the database refused an outcome");
    if !pending.poisoned {
        pending.end.status = TaskStatus::FailedWithTerminalError;
        pending.end.output = None;
        pending.end.reason = Some(format!("its outcome could not be stored: {error}"));
    }
    slow.push(OneStep {
        token_id: pending.ended.token_id,
        holder: pending.ended.holder,
        worker: pending.ended.worker,
        happened: Happened::Ended(pending.end),
    });
}

fn reply(to: tokio::sync::oneshot::Sender<StartReply>, reply: StartReply) {
    if to.send(reply).is_err() {
        tracing::debug!("whoever started a workflow no longer waits; the workflow runs");
    }
}

/// A run as the holder of this token sees it, and the task's input.
fn begin(mut run: Run, token: &Token) -> Option<(Run, Arc<Value>)> {
    let node = run.plan.node(&token.reference_name)?.clone();
    let input = match &token.input {
        Some(input) => Arc::new(input.clone()),
        None => Arc::new(input_of(&run.plan, &run.state, &node, token.attempt)),
    };
    run.state.open.insert(token.reference_name.clone(), token.attempt);
    Some((run, input))
}

enum Ended {
    End(TaskEnd),
    InProgress { delay_ms: i64, output: Option<Arc<Value>> },
}

/// What a worker's outcome means, or none for a task that is to run again elsewhere.
fn task_end(held: &Held, outcome: Outcome) -> Option<Ended> {
    let end = |status, output: Option<Value>, reason: Option<String>, retry_after| TaskEnd {
        reference_name: held.token.reference_name.clone(),
        attempt: held.token.attempt,
        status,
        input: Some(held.input.clone()),
        output: output.map(Arc::new),
        reason: reason.map(clean),
        retry_after,
        timeout: None,
        jitter: draw_jitter(),
    };
    let checked = |output: Option<Value>| {
        let output = output.map(as_object);
        match &output {
            Some(value) => {
                let what = format!("output of task {:?}", held.token.reference_name);
                match check_payload(&what, value, TASK_PAYLOAD_MAX_BYTES) {
                    Ok(()) => Ok(output),
                    Err(fault) => Err(fault.to_string()),
                }
            }
            None => Ok(None),
        }
    };
    let refused = |reason| {
        let status = TaskStatus::FailedWithTerminalError;
        Some(Ended::End(end(status, None, Some(reason), None)))
    };
    match outcome {
        Outcome::Completed { output } => match checked(Some(output)) {
            Ok(output) => Some(Ended::End(end(TaskStatus::Completed, output, None, None))),
            Err(reason) => refused(reason),
        },
        Outcome::Failed { reason, output, retry_after, terminal } => match checked(output) {
            Ok(output) => {
                let status =
                    if terminal { TaskStatus::FailedWithTerminalError } else { TaskStatus::Failed };
                Some(Ended::End(end(status, output, Some(reason), retry_after)))
            }
            Err(fault) => refused(format!("{reason}; {fault}")),
        },
        Outcome::InProgress { callback_after, output } => match checked(output) {
            Ok(output) => Some(Ended::InProgress {
                delay_ms: i64::try_from(callback_after.min(CALLBACK_MAX).as_millis())
                    .unwrap_or(i64::MAX),
                output: output.map(Arc::new),
            }),
            Err(reason) => refused(reason),
        },
        Outcome::Abandoned => None,
    }
}

/// A reason, or a line of a log, that PostgreSQL takes: no NUL, not too long.
pub(super) fn clean(mut reason: String) -> String {
    if reason.contains('\0') {
        reason = reason.replace('\0', "\u{fffd}");
    }
    if reason.len() > REASON_MAX_BYTES {
        let end = (0..=REASON_MAX_BYTES).rev().find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or(0));
        reason.push('…');
    }
    reason
}
