//! Transactional tasks: the user's writes and the steps' ends in one commit.
//!
//! The user's writes come first and lock no row of the engine; the fenced steps come last. A lost
//! lease makes its step find no token, and the user's writes are rolled back with it.
//!
//! A batch ends in full or not at all, and a task fails only alone. What a batch answers with an
//! error, what the fence refuses and what memory cannot decide is run by itself, and the rest once
//! more without it; a batch that fails as a whole is halved. So what a failed task wrote is never
//! kept, and nobody fails for what another did.

mod end;
mod members;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use end::is_conflict;
use members::{around, canceled, end_alone, halves, tell, without_canceled};

use super::execute::{failed, panicked, until_dropped};
use super::gather::Gatherer;
use super::registry::ErasedTransactionalTask;
use super::{TaskContext, TaskError};
use crate::advance::Core;
use crate::decide::misfit;
use crate::definition::{Payload, TASK_PAYLOAD_MAX_BYTES};
use crate::error::{Error, Remedy, remedy};
use crate::ids::draw_jitter;
use crate::queue::{Committed, HandedOut, Outcome, PumpMessage, Slots};
use crate::store::{Pool, Rented};
use crate::telemetry::{self, database_retry, went};

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

/// A task of a batch, with what it was handed.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) cx: TaskContext,
    pub(super) input: Payload,
    pub(super) task: HandedOut,
}

type Body = Arc<dyn ErasedTransactionalTask>;

/// How one run of a body went. All but the first have rolled back, or are to be read back.
enum Ran {
    /// Of each task, in their order.
    Committed(Vec<Committed>),
    /// Of a task alone; the pump is told.
    Outcome(Outcome),
    /// Those at these places are run by themselves, the rest once more without them.
    Apart(Vec<usize>),
    /// It failed as a whole: each half is run.
    Halves(String),
    /// The same attempts once more.
    Again(String),
    /// As [`Again`](Self::Again), on another connection.
    Elsewhere(String),
    /// The server is away, or does not answer.
    Away(Error),
    /// A task was canceled, and the body did not end.
    Dropped,
    /// The commit's answer was lost.
    Unknown(Error),
}

impl Ran {
    /// What it means that a body, or what follows it, failed for no task in particular.
    fn as_whole(batch: &[Member], error: TaskError) -> Self {
        if batch.len() > 1 { Self::Halves(error.reason) } else { Self::Outcome(failed(error)) }
    }

    /// With reasons that tell nothing that a task was handed in secret.
    fn hide(self, batch: &[Member]) -> Self {
        let hide = |reason| batch.iter().fold(reason, |text, m| m.cx.hidden().out_of(text));
        match self {
            Self::Outcome(Outcome::Failed { reason, output, retry_after, terminal }) => {
                let reason = hide(reason);
                Self::Outcome(Outcome::Failed { reason, output, retry_after, terminal })
            }
            Self::Halves(reason) => Self::Halves(hide(reason)),
            Self::Again(reason) => Self::Again(hide(reason)),
            Self::Elsewhere(reason) => Self::Elsewhere(hide(reason)),
            other => other,
        }
    }

    /// Whatever the body made of it: the server or the network has ended its connection.
    fn on_lost_connection(self) -> Self {
        match self {
            Self::Outcome(Outcome::Failed { reason, .. }) | Self::Halves(reason) => {
                Self::Again(reason)
            }
            Self::Apart(_) => Self::Again("the connection is lost".to_owned()),
            other => other,
        }
    }
}

impl Transactions {
    /// Runs tasks of one type, each to its end. Those of `more` join them when the transaction
    /// begins.
    pub(super) async fn run(
        self: &Arc<Self>,
        body: &Body,
        batch: Vec<Member>,
        mut more: Option<&Gatherer<Member>>,
    ) {
        let mut todo = vec![batch];
        while let Some(batch) = todo.pop() {
            // A part of one that failed stays what it is.
            todo.extend(self.settle(body, batch, more.take()).await);
        }
    }

    /// Repeats a batch until it is through. Out: the parts it must be taken into.
    async fn settle(
        self: &Arc<Self>,
        body: &Body,
        mut batch: Vec<Member>,
        more: Option<&Gatherer<Member>>,
    ) -> Vec<Vec<Member>> {
        let (mut tries, mut waits) = (0, 0);
        loop {
            batch = without_canceled(batch).await;
            if batch.is_empty() {
                return Vec::new();
            }
            tries += 1;
            let ran = Box::pin(self.once(body, &mut batch, more)).await;
            let first = batch.first().map(|member| member.task.task_id().to_string());
            let first = first.unwrap_or_default();
            let wait = match ran.hide(&batch) {
                Ran::Committed(committed) => {
                    for (member, committed) in batch.into_iter().zip(committed) {
                        went(&member.task.span, telemetry::Ran::Completed, None);
                        member.task.tell(PumpMessage::Committed(committed)).await;
                    }
                    return Vec::new();
                }
                Ran::Outcome(outcome) => return end_alone(batch, outcome).await,
                Ran::Apart(places) => return vec![self.set_apart(body, batch, &places)],
                Ran::Halves(reason) => {
                    tracing::debug!(reason, task_id = first, "a batch of tasks is halved");
                    return halves(batch);
                }
                Ran::Again(reason) | Ran::Elsewhere(reason) if tries >= REPEATS_MAX => {
                    if batch.len() > 1 {
                        return halves(batch);
                    }
                    return end_alone(batch, failed(TaskError::retry(reason))).await;
                }
                Ran::Again(reason) | Ran::Elsewhere(reason) => {
                    tracing::debug!(reason, task_id = first, "a task's transaction is repeated");
                    wait_of(tries)
                }
                Ran::Away(error) => {
                    database_retry(&error);
                    tracing::warn!(%error, task_id = first, "no connection for a task yet");
                    tries = tries.saturating_sub(1);
                    waits += 1;
                    wait_of(waits)
                }
                Ran::Dropped => Duration::ZERO,
                Ran::Unknown(error) => {
                    database_retry(&error);
                    tracing::warn!(%error, task_id = first, "a commit's answer was lost");
                    // The database knows: if a token is still there nothing was written. The
                    // leases are given back; whoever claims one next waits for the old transaction.
                    for member in batch {
                        tell(member, Outcome::Abandoned).await;
                    }
                    return Vec::new();
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = canceled(&batch) => {}
            }
        }
    }

    async fn once(
        &self,
        body: &Body,
        batch: &mut Vec<Member>,
        more: Option<&Gatherer<Member>>,
    ) -> Ran {
        // Dropped half way, the connection goes with it.
        let renting = Rented::from(&self.pool, "getting a connection for a task");
        let mut rented = match until_dropped(renting, canceled(batch)).await {
            Some(Ok(rented)) => rented,
            Some(Err(error)) => return Ran::Away(error),
            None => return Ran::Dropped,
        };
        let ran = match rented.client() {
            Ok(client) => self.on(client, body, batch, more).await,
            Err(error) => return Ran::Away(error),
        };
        let lost = rented.is_closed();
        if !matches!(ran, Ran::Unknown(_) | Ran::Away(_) | Ran::Elsewhere(_) | Ran::Dropped) {
            rented.put_back();
        }
        if lost { ran.on_lost_connection() } else { ran }
    }

    async fn on(
        &self,
        client: &mut ClientWrapper,
        body: &Body,
        batch: &mut Vec<Member>,
        more: Option<&Gatherer<Member>>,
    ) -> Ran {
        let tx = match self.core.store.begin(client).await {
            Ok(tx) => tx,
            Err(error) => return Ran::Away(error),
        };
        if let Some(more) = more {
            more.fill(batch);
        }
        batch.sort_unstable_by_key(|member| member.task.token.id);
        let batch = &*batch;
        until_dropped(self.within(tx, body, batch), canceled(batch)).await.unwrap_or(Ran::Dropped)
    }

    async fn within(&self, tx: Transaction<'_>, body: &Body, batch: &[Member]) -> Ran {
        let tasks: Vec<_> = batch.iter().map(|m| (m.cx.clone(), m.input.clone())).collect();
        let ran = tokio::select! {
            biased;
            ran = AssertUnwindSafe(body.run(&tx, tasks).instrument(around(batch))).catch_unwind() => ran,
            // The body may wait for an answer that will never come.
            silent = self.core.store.until_silent(&tx) => return Ran::Away(silent),
        };
        let answers = match ran {
            Ok(Ok(answers)) if answers.len() == batch.len() => answers,
            Ok(Ok(answers)) => {
                let why = format!("it answered {} of {} tasks", answers.len(), batch.len());
                return Ran::as_whole(batch, TaskError::terminal(why));
            }
            Ok(Err(error)) if is_conflict(&error) => return Ran::Again(error.reason().to_owned()),
            Ok(Err(error)) => return Ran::as_whole(batch, error),
            Err(panic) => return Ran::as_whole(batch, panicked(&*panic)),
        };
        let outputs = match outputs(batch, answers) {
            Ok(outputs) => outputs,
            Err(ran) => return ran,
        };
        match self.end(tx, batch, outputs).await {
            Ok(ran) => ran,
            Err(error @ Error::Deadline { .. }) => Ran::Away(error),
            Err(error) => {
                if error.is_retryable() {
                    database_retry(&error);
                }
                let repeat = matches!(&error, Error::Database { source, .. }
                    if remedy(source) == Remedy::RepeatTransaction);
                if repeat {
                    Ran::Again(error.to_string())
                } else if error.is_retryable() {
                    Ran::Elsewhere(error.to_string())
                } else {
                    let why = format!("its end could not be stored: {error}");
                    Ran::as_whole(batch, TaskError::terminal(why))
                }
            }
        }
    }

    /// Runs those at these places by themselves, beside each other. Out: the rest.
    fn set_apart(
        self: &Arc<Self>,
        body: &Body,
        batch: Vec<Member>,
        places: &[usize],
    ) -> Vec<Member> {
        let mut rest = Vec::with_capacity(batch.len());
        for (place, member) in batch.into_iter().enumerate() {
            if places.contains(&place) {
                tokio::spawn(alone(self.clone(), body.clone(), member));
            } else {
                rest.push(member);
            }
        }
        rest
    }
}

/// A future without its type, which would contain itself.
fn alone(
    transactions: Arc<Transactions>,
    body: Body,
    member: Member,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let span = member.task.span.clone();
    Box::pin(async move { transactions.run(&body, vec![member], None).await }.instrument(span))
}

/// What the tasks gave, if all of them gave what can be kept.
fn outputs(
    batch: &[Member],
    answers: Vec<Result<Payload, TaskError>>,
) -> Result<Vec<Payload>, Ran> {
    let mut outputs = Vec::with_capacity(batch.len());
    let (mut apart, mut outcome) = (Vec::new(), None);
    for (place, (member, answer)) in batch.iter().zip(answers).enumerate() {
        let fault = match answer {
            Ok(output) => {
                let output = output.into_object();
                let fault = refused(&member.task, &output);
                outputs.push(output);
                fault
            }
            Err(error) if is_conflict(&error) => return Err(Ran::Again(error.reason().to_owned())),
            Err(error) => Some(failed(error)),
        };
        if let Some(fault) = fault {
            apart.push(place);
            outcome = Some(fault);
        }
    }
    match outcome {
        None => Ok(outputs),
        Some(outcome) if batch.len() == 1 => Err(Ran::Outcome(outcome)),
        Some(_) => Err(Ran::Apart(apart)),
    }
}

/// What becomes of an output that cannot be kept, or does not fit its schema.
fn refused(task: &HandedOut, output: &Payload) -> Option<Outcome> {
    let (run, name) = (&task.run, &task.token.reference_name);
    let what = format_args!("output of task {name:?}");
    let (reason, output) = match output.check(what, TASK_PAYLOAD_MAX_BYTES) {
        Err(fault) => (fault.to_string(), None),
        Ok(()) => (misfit(&run.plan, &run.state, name, Some(output))?, Some(output.clone())),
    };
    Some(Outcome::Failed { reason, output, retry_after: None, terminal: true })
}

/// The pause before try `n`, from 1.
fn wait_of(n: u32) -> Duration {
    Duration::from_millis(2 << n.min(9)).min(WAIT_MAX).mul_f64(0.5 + draw_jitter() / 2.0)
}
