//! The end of a batch: its steps decided from memory, written by one statement, and committed.

use std::collections::HashSet;

use deadpool_postgres::Transaction;

use super::{Member, Ran, Transactions};
use crate::advance::{Acted, Happened, OneStep, Run, plan_step};
use crate::decide::{TaskEnd, TaskStatus};
use crate::definition::Payload;
use crate::error::{Error, Remedy, remedy};
use crate::ids::draw_jitter;
use crate::queue::{Committed, HandedOut, Next, Outcome, Slot};
use crate::store::{AdvanceBatch, EndedRow, Opened, OpenedRow, TokenState};
use crate::telemetry::{Tally, database_retry_for, lease_lost};
use crate::worker::TaskError;

/// What to write for the end of a step.
struct Step {
    /// None: memory cannot decide it.
    ended: Option<EndedRow>,
    opened: Vec<OpenedRow>,
    end: TaskEnd,
    /// What is handed over, by its place among what is opened.
    next: Option<(usize, Run, Payload, Slot)>,
    ready: Vec<String>,
    ends_run: bool,
    tally: Tally,
    timed: bool,
}

/// What the hot statement did of a batch.
#[derive(Default)]
struct Written {
    /// Those that it was not given, or refused.
    refused: Vec<usize>,
    opened: Vec<Option<Opened>>,
    fallen: Vec<i64>,
}

impl Transactions {
    /// Writes the steps' ends and commits. An error means that nothing was committed.
    pub(super) async fn end(
        &self,
        tx: Transaction<'_>,
        batch: &[Member],
        outputs: Vec<Payload>,
    ) -> Result<Ran, Error> {
        // One pump has handed them out.
        let holder = batch.first().map_or(0, |member| member.task.pump.holder());
        let _by_limits = self.slots.by_limits();
        let steps = batch.iter().zip(outputs).map(|(m, output)| self.plan(&m.task, holder, output));
        let mut steps: Vec<Step> = steps.collect();
        let written = self.write(&tx, batch, &steps, holder).await?;
        match (batch, &mut steps[..]) {
            _ if written.refused.is_empty() => {}
            ([member], [step]) => {
                if !self.step(&tx, &member.task, step).await? {
                    self.core.store.roll_back(tx).await?;
                    lease_lost();
                    let task_id = member.task.task_id();
                    tracing::warn!(%task_id, "lease lost; the task's writes are rolled back");
                    return Ok(Ran::Outcome(Outcome::Abandoned));
                }
            }
            _ => return Ok(Ran::Apart(written.refused)),
        }
        if let Err(error) = self.core.store.commit(tx).await {
            return Ok(match &error {
                // A deferred constraint, say: it would fail again.
                Error::Database { source, .. } if remedy(source) == Remedy::GiveUp => {
                    Ran::as_whole(batch, TaskError::retry(&error))
                }
                Error::Database { source, .. } if source.code().is_some() => {
                    Ran::Again(error.to_string())
                }
                _ => Ran::Unknown(error),
            });
        }
        steps.iter().for_each(|step| step.tally.count());
        let (mut opened, mut fallen) = (written.opened.into_iter(), written.fallen);
        let committed = batch.iter().zip(steps).map(|(member, step)| {
            let opened = opened.by_ref().take(step.opened.len()).collect();
            // Whoever is told first takes them all.
            step.committed(member, holder, opened, std::mem::take(&mut fallen))
        });
        Ok(Ran::Committed(committed.collect()))
    }

    async fn write(
        &self,
        tx: &Transaction<'_>,
        batch: &[Member],
        steps: &[Step],
        holder: i64,
    ) -> Result<Written, Error> {
        let undecided = steps.iter().enumerate().filter(|(_, step)| step.ended.is_none());
        let undecided: Vec<usize> = undecided.map(|(place, _)| place).collect();
        if !undecided.is_empty() {
            return Ok(Written { refused: undecided, ..Written::default() });
        }
        let statement = AdvanceBatch {
            ended: steps.iter().filter_map(|step| step.ended.as_ref()).collect(),
            opened: steps.iter().flat_map(|step| &step.opened).collect(),
            claims: Vec::new(),
        };
        let planned = self.core.store.plan_as_ours(tx);
        // Sent one behind the other without waiting.
        let (_, advanced) =
            tokio::try_join!(planned, self.core.store.advance(tx, &statement, holder))?;
        let applied: HashSet<i64> = advanced.applied.into_iter().collect();
        let refused = batch.iter().enumerate();
        let refused = refused.filter(|(_, member)| !applied.contains(&member.task.token.id));
        Ok(Written {
            refused: refused.map(|(place, _)| place).collect(),
            opened: advanced.opened,
            fallen: advanced.fallen.iter().map(|token| token.id).collect(),
        })
    }

    /// The end of a step the slow way. False: its lease is lost.
    async fn step(
        &self,
        tx: &Transaction<'_>,
        task: &HandedOut,
        step: &mut Step,
    ) -> Result<bool, Error> {
        step.next = None;
        step.opened.clear();
        let one = OneStep {
            token_id: task.token.id,
            // Another incarnation may have taken the lease over meanwhile.
            holder: task.pump.holder(),
            worker: Some(self.worker_name.clone()),
            happened: Happened::Ended(step.end.clone()),
        };
        let acted: Acted = Box::pin(self.core.step(tx, &one)).await?;
        step.ready = acted.ready;
        step.ends_run = acted.ended.is_some();
        step.tally = acted.tally;
        step.timed = acted.timed;
        Ok(!acted.lost)
    }

    fn plan(&self, task: &HandedOut, holder: i64, output: Payload) -> Step {
        let token = &task.token;
        let mut run = task.run.clone();
        let end = TaskEnd {
            reference_name: token.reference_name.clone(),
            attempt: token.attempt,
            status: TaskStatus::Completed,
            input: Some(task.input.clone()),
            output: Some(output),
            reason: None,
            retry_after: None,
            timeout: None,
            jitter: draw_jitter(),
        };
        let who = (holder, Some(self.worker_name.clone()));
        let planned = plan_step(&mut run, token, who, &end, |task| task);
        let mut step = Step {
            tally: Tally::default(),
            ended: None,
            opened: Vec::new(),
            end,
            next: None,
            ready: Vec::new(),
            ends_run: false,
            timed: false,
        };
        let Some(planned) = planned else { return step };
        step.ends_run = planned.ended.run_end.is_some();
        let end = planned.ended.run_end.as_ref();
        step.tally.ended = end.map(|end| run.ended(end.status, end.reason.as_deref()));
        step.ended = Some(planned.ended);
        // A single successor is handed over; branches queue.
        let alone = planned.opened.len() == 1;
        for mut task in planned.opened {
            step.timed |= task.row.is_timed();
            let ready = task.row.status.is_none() && task.row.state == TokenState::Ready;
            let slots = &self.slots;
            let slot = (ready && alone && task.for_worker)
                .then(|| slots.reserve_at_once(&task.row.queue))
                .flatten();
            if let Some(slot) = slot {
                task.row.state = TokenState::Leased;
                let (row, input, run) = task.begin(run.clone());
                step.next = Some((step.opened.len(), run, input, slot));
                step.opened.push(row);
            } else {
                if ready {
                    step.ready.push(task.row.queue.to_string());
                }
                step.opened.push(task.row);
            }
        }
        step
    }
}

impl Step {
    /// What the pump is told of it.
    fn committed(
        mut self,
        member: &Member,
        holder: i64,
        mut opened: Vec<Option<Opened>>,
        fallen: Vec<i64>,
    ) -> Committed {
        let token = &member.task.token;
        let next = self.next.and_then(|(at, run, input, slot)| {
            let opened = opened.get_mut(at).and_then(Option::take)?;
            let token = opened.leased(self.opened.swap_remove(at), token);
            Some(Box::new(Next { token, run, input, slot }))
        });
        Committed {
            token_id: token.id,
            task_id: member.task.task_id(),
            log: member.cx.take_log(),
            holder,
            next,
            ready: self.ready,
            fallen,
            ended: self.ends_run.then_some(token.workflow_id),
            timed: self.timed,
        }
    }
}

/// Whether the transaction is to be run again; counts it.
pub(super) fn is_conflict(error: &TaskError) -> bool {
    let cause = error.database_cause();
    let Some(cause) = cause.filter(|cause| remedy(cause) == Remedy::RepeatTransaction) else {
        return false;
    };
    database_retry_for(cause.code().map_or("closed", |code| code.code()));
    true
}
