//! Transactional tasks: the user's writes and the step's end in one commit.
//!
//! The user's writes come first and lock no row of the engine; the fenced step comes last. A lost
//! lease makes the step find no token, and the user's writes are rolled back with it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use futures_util::FutureExt as _;
use serde_json::Value;

use super::execute::{failed, hide, panicked, report, until_dropped};
use super::registry::ErasedTransactionalTask;
use super::{TaskContext, TaskError};
use crate::advance::{Acted, Core, Happened, OneStep, Run, as_object, plan_step};
use crate::decide::{TaskEnd, TaskStatus, misfit};
use crate::definition::{TASK_PAYLOAD_MAX_BYTES, check_payload};
use crate::error::{Error, Remedy, remedy};
use crate::ids::draw_jitter;
use crate::queue::{Committed, HandedOut, Next, Outcome, PumpMessage, Slot, Slots};
use crate::store::{AdvanceBatch, EndedRow, OpenedRow, Pool, Rented, TokenState};

/// How often a body is repeated that met a serialization failure or a deadlock, or whose
/// connection was lost: the last may be the body's own doing.
const REPEATS_MAX: u32 = 10;
/// The longest pause before it is repeated.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What transactional tasks need; their pool is theirs alone.
#[derive(Debug)]
pub(crate) struct Transactions {
    pub(crate) core: Arc<Core>,
    pub(crate) pool: Pool,
    pub(crate) slots: Arc<Slots>,
    pub(crate) worker_name: Arc<str>,
}

/// How one run of a body went.
enum Ran {
    Committed(Box<Committed>),
    /// Rolled back; the pump is told.
    Outcome(Outcome),
    /// Rolled back; the same attempt once more.
    Again(String),
    /// As [`Again`](Self::Again), on another connection.
    Elsewhere(String),
    /// Rolled back: the server is away, or does not answer.
    Away(Error),
    /// The commit's answer was lost.
    Unknown(Error),
}

impl Ran {
    /// With reasons that tell nothing that the task was handed in secret.
    fn hide(self, cx: &TaskContext) -> Self {
        match self {
            Self::Outcome(outcome) => Self::Outcome(hide(cx, outcome)),
            Self::Again(reason) => Self::Again(cx.hidden().out_of(reason)),
            Self::Elsewhere(reason) => Self::Elsewhere(cx.hidden().out_of(reason)),
            other => other,
        }
    }
}

/// What to write for the end of the step.
struct Step {
    ended: Option<EndedRow>,
    opened: Vec<OpenedRow>,
    end: TaskEnd,
    /// What is handed over, by its place among what is opened.
    next: Option<(usize, Run, Arc<Value>, Slot)>,
    ready: Vec<String>,
    fallen: Vec<i64>,
    ends_run: bool,
    timed: bool,
}

impl Transactions {
    pub(crate) async fn run(
        &self,
        body: Arc<dyn ErasedTransactionalTask>,
        cx: TaskContext,
        input: &Value,
        task: HandedOut,
    ) {
        let (mut tries, mut waits) = (0, 0);
        let outcome = loop {
            tries += 1;
            let work = self.once(&*body, &cx, input, &task);
            let Some(ran) = Box::pin(until_dropped(work, &task.cancellation)).await else {
                break Outcome::Abandoned;
            };
            match ran.hide(&cx) {
                Ran::Committed(committed) => {
                    task.tell(PumpMessage::Committed(*committed)).await;
                    return;
                }
                Ran::Outcome(outcome) => break outcome,
                Ran::Again(reason) | Ran::Elsewhere(reason) if tries >= REPEATS_MAX => {
                    break Outcome::Failed {
                        reason,
                        output: None,
                        retry_after: None,
                        terminal: false,
                    };
                }
                Ran::Again(reason) | Ran::Elsewhere(reason) => {
                    tracing::debug!(reason, task_id = %task.task_id(), "a task's transaction is repeated");
                    if !cx.sleep(wait_of(tries)).await {
                        break Outcome::Abandoned;
                    }
                }
                Ran::Away(error) => {
                    tracing::warn!(%error, task_id = %task.task_id(), "no connection for a task yet");
                    tries = tries.saturating_sub(1);
                    waits += 1;
                    if !cx.sleep(wait_of(waits)).await {
                        break Outcome::Abandoned;
                    }
                }
                Ran::Unknown(error) => {
                    tracing::warn!(%error, task_id = %task.task_id(), "a commit's answer was lost");
                    // The database knows: if the token is still there nothing was written. The
                    // lease is given back; whoever claims it next waits for the old transaction.
                    break Outcome::Abandoned;
                }
            }
        };
        report(task, cx.take_log(), outcome).await;
    }

    async fn once(
        &self,
        body: &dyn ErasedTransactionalTask,
        cx: &TaskContext,
        input: &Value,
        task: &HandedOut,
    ) -> Ran {
        // Dropped half way, the connection goes with it.
        let mut rented = match Rented::from(&self.pool, "getting a connection for a task").await {
            Ok(rented) => rented,
            Err(error) => return Ran::Away(error),
        };
        let ran = match rented.client() {
            Ok(client) => self.on(client, (body, input), cx, task).await,
            Err(error) => return Ran::Away(error),
        };
        let lost = rented.is_closed();
        if !matches!(ran, Ran::Unknown(_) | Ran::Away(_) | Ran::Elsewhere(_)) {
            rented.put_back();
        }
        match ran {
            // Whatever the body made of it: the server or the network has ended its connection.
            Ran::Outcome(Outcome::Failed { reason, .. }) if lost => Ran::Again(reason),
            ran => ran,
        }
    }

    async fn on(
        &self,
        client: &mut ClientWrapper,
        (body, input): (&dyn ErasedTransactionalTask, &Value),
        cx: &TaskContext,
        task: &HandedOut,
    ) -> Ran {
        let tx = match self.core.store.begin(client).await {
            Ok(tx) => tx,
            Err(error) => return Ran::Away(error),
        };
        let ran = tokio::select! {
            biased;
            ran = AssertUnwindSafe(body.run(cx, &tx, input)).catch_unwind() => ran,
            // The body may wait for an answer that will never come.
            silent = self.core.store.until_silent(&tx) => return Ran::Away(silent),
        };
        let output = match ran {
            Ok(Ok(output)) => as_object(output),
            Ok(Err(error)) => {
                let conflict = error
                    .database_cause()
                    .is_some_and(|cause| remedy(cause) == Remedy::RepeatTransaction);
                return if conflict {
                    Ran::Again(error.reason().to_owned())
                } else {
                    Ran::Outcome(failed(error))
                };
            }
            Err(panic) => return Ran::Outcome(panicked(&*panic)),
        };
        if let Some(refused) = refused(task, &output) {
            return Ran::Outcome(refused);
        }
        match self.end(tx, cx, task, Arc::new(output)).await {
            Ok(ran) => ran,
            Err(error @ Error::Deadline { .. }) => Ran::Away(error),
            Err(error) => {
                let repeat = matches!(&error, Error::Database { source, .. }
                    if remedy(source) == Remedy::RepeatTransaction);
                if repeat {
                    Ran::Again(error.to_string())
                } else if error.is_retryable() {
                    Ran::Elsewhere(error.to_string())
                } else {
                    Ran::Outcome(Outcome::Failed {
                        reason: format!("its end could not be stored: {error}"),
                        output: None,
                        retry_after: None,
                        terminal: true,
                    })
                }
            }
        }
    }

    /// Writes the step's end and commits. An error means that nothing was committed.
    async fn end(
        &self,
        tx: Transaction<'_>,
        cx: &TaskContext,
        task: &HandedOut,
        output: Arc<Value>,
    ) -> Result<Ran, Error> {
        let holder = task.pump.holder();
        let _by_limits = self.slots.by_limits();
        let mut step = self.plan(task, holder, output);
        let mut opened = Vec::new();
        let mut applied = false;
        // Else memory cannot decide it, or a failure workflow follows.
        if let Some(ended) = &step.ended {
            let batch = AdvanceBatch::of(ended, &step.opened);
            let planned = self.core.store.plan_as_ours(&tx);
            // Sent one behind the other without waiting.
            let (_, advanced) =
                tokio::try_join!(planned, self.core.store.advance(&tx, &batch, holder))?;
            applied = !advanced.applied.is_empty();
            opened = advanced.opened;
            step.fallen = advanced.fallen.iter().map(|token| token.id).collect();
        }
        if !applied {
            step.next = None;
            let one = OneStep {
                token_id: task.token.id,
                // Another incarnation may have taken the lease over meanwhile.
                holder: task.pump.holder(),
                worker: Some(self.worker_name.clone()),
                happened: Happened::Ended(step.end),
            };
            let acted: Acted = Box::pin(self.core.step(&tx, &one)).await?;
            if acted.lost {
                self.core.store.roll_back(tx).await?;
                tracing::warn!(task_id = %task.task_id(), "lease lost; the task's writes are rolled back");
                return Ok(Ran::Outcome(Outcome::Abandoned));
            }
            step.ready = acted.ready;
            step.ends_run = acted.ended.is_some();
            step.timed = acted.timed;
        }
        if let Err(error) = self.core.store.commit(tx).await {
            return Ok(match &error {
                // A deferred constraint, say: it would fail again.
                Error::Database { source, .. } if remedy(source) == Remedy::GiveUp => {
                    Ran::Outcome(failed(TaskError::retry(&error)))
                }
                Error::Database { source, .. } if source.code().is_some() => {
                    Ran::Again(error.to_string())
                }
                _ => Ran::Unknown(error),
            });
        }
        let next = step.next.and_then(|(at, run, input, slot)| {
            let opened = opened.get_mut(at).and_then(Option::take)?;
            let token = opened.leased(step.opened.swap_remove(at), &task.token);
            Some(Box::new(Next { token, run, input, slot }))
        });
        Ok(Ran::Committed(Box::new(Committed {
            token_id: task.token.id,
            task_id: task.task_id(),
            log: cx.take_log(),
            holder,
            next,
            ready: step.ready,
            fallen: step.fallen,
            ended: step.ends_run.then_some(task.token.workflow_id),
            timed: step.timed,
        })))
    }

    fn plan(&self, task: &HandedOut, holder: i64, output: Arc<Value>) -> Step {
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
        let mut step = Step {
            ended: None,
            opened: Vec::new(),
            end: end.clone(),
            next: None,
            ready: Vec::new(),
            fallen: Vec::new(),
            ends_run: false,
            timed: false,
        };
        let who = (holder, Some(self.worker_name.clone()));
        let Some(planned) = plan_step(&mut run, token, who, &end, &task.input) else {
            return step;
        };
        step.ends_run = planned.ended.run_end.is_some();
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
                    step.ready.push(task.row.queue.clone());
                }
                step.opened.push(task.row);
            }
        }
        step
    }
}

/// What becomes of an output that cannot be kept, or does not fit its schema.
fn refused(task: &HandedOut, output: &Value) -> Option<Outcome> {
    let (run, name) = (&task.run, &task.token.reference_name);
    let what = format_args!("output of task {name:?}");
    let (reason, output) = match check_payload(what, output, TASK_PAYLOAD_MAX_BYTES) {
        Err(fault) => (fault.to_string(), None),
        Ok(()) => (misfit(&run.plan, &run.state, name, output)?, Some(output.clone())),
    };
    Some(Outcome::Failed { reason, output, retry_after: None, terminal: true })
}

/// The pause before try `n`, from 1.
fn wait_of(n: u32) -> Duration {
    Duration::from_millis(2 << n.min(9)).min(WAIT_MAX).mul_f64(0.5 + draw_jitter() / 2.0)
}
