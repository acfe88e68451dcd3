//! What passes between a pump and those who run tasks or start workflows.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::Slot;
use super::lent::Answer;
use super::polls::Delivery;
use crate::advance::Run;
use crate::definition::Payload;
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId};
use crate::store::{FoundRow, StartRow, Token};
use crate::telemetry::Ran;

/// A leased task, as its pump and whoever runs it share it.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) token: Token,
    pub(crate) run: Run,
    pub(crate) input: Payload,
    /// A task that goes on after its lease was lost keeps its slot.
    pub(crate) slot: Slot,
    pub(crate) cancellation: CancellationToken,
}

impl Leased {
    /// What its end is decided from. The slot is free with that, unless somebody has the task still.
    pub(super) fn into_parts(self: Arc<Self>) -> (Token, Run) {
        match Arc::try_unwrap(self) {
            Ok(Self { token, run, .. }) => (token, run),
            Err(shared) => (shared.token.clone(), shared.run.clone()),
        }
    }
}

/// A task that a pump holds and hands to a worker.
#[derive(Debug)]
pub(crate) struct HandedOut {
    pub(crate) leased: Arc<Leased>,
    pub(crate) pump: PumpHandle,
    /// Of a task for a remote worker.
    pub(crate) delivery: Option<Delivery>,
    /// Of the attempt, where this process runs it.
    pub(crate) span: Span,
}

impl Deref for HandedOut {
    type Target = Leased;

    fn deref(&self) -> &Leased {
        &self.leased
    }
}

impl HandedOut {
    /// Tells the pump what became of the task, whose future is gone, and gives its slot back.
    pub(crate) async fn tell(self, message: PumpMessage) {
        let Self { leased, pump, span, .. } = self;
        // The pump is to be the only one who has it when it hears.
        drop(leased);
        pump.tell(message).await;
        drop(span);
    }

    pub(crate) fn task_id(&self) -> TaskId {
        task_id(&self.token)
    }
}

pub(crate) fn task_id(token: &Token) -> TaskId {
    TaskId {
        workflow_id: token.workflow_id,
        epoch: token.epoch,
        attempt: token.attempt,
        reference_name: token.reference_name.to_string(),
    }
}

/// Those who run tasks.
pub(crate) trait Workers: Send + Sync + fmt::Debug + 'static {
    /// Begins tasks and returns at once; a [`Report`] or [`Committed`] of each follows.
    fn run(self: Arc<Self>, tasks: Vec<HandedOut>);
}

/// What a worker made of a task.
#[derive(Debug)]
pub(crate) enum Outcome {
    Completed {
        output: Payload,
    },
    Failed {
        reason: String,
        output: Option<Payload>,
        retry_after: Option<Duration>,
        terminal: bool,
    },
    InProgress {
        /// None: it is ended from outside.
        callback_after: Option<Duration>,
        output: Option<Payload>,
        reason: Option<String>,
    },
    /// It was canceled, or could not begin: it is to run again elsewhere.
    Abandoned,
}

impl Outcome {
    pub(crate) const fn as_ran(&self) -> Ran {
        match self {
            Self::Completed { .. } => Ran::Completed,
            Self::Failed { terminal: false, .. } => Ran::Failed,
            Self::Failed { terminal: true, .. } => Ran::Terminal,
            Self::InProgress { .. } => Ran::InProgress,
            Self::Abandoned => Ran::Returned,
        }
    }

    /// Why an attempt failed.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// A worker's report on the task of a token.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) token_id: i64,
    pub(crate) outcome: Outcome,
    pub(crate) log: Vec<String>,
    /// The remote worker that tells it.
    pub(crate) worker: Option<Arc<str>>,
    /// Whom to tell once it is written. Dropped: look what became of it.
    pub(crate) answer: Option<Answer>,
}

/// A task that is leased and has a slot: it can begin.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) token: Token,
    pub(crate) run: Run,
    pub(crate) input: Payload,
    pub(crate) slot: Slot,
}

/// A transactional task has committed its own end.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) token_id: i64,
    pub(crate) task_id: TaskId,
    pub(crate) log: Vec<String>,
    /// The next task, leased to this holder, with the slot kept for it.
    pub(crate) holder: i64,
    pub(crate) next: Option<Box<Next>>,
    /// Queues with ready tasks.
    pub(crate) ready: Vec<String>,
    /// Containers that wait for nothing more, leased to this holder.
    pub(crate) fallen: Vec<i64>,
    /// The run, where it has ended.
    pub(crate) ended: Option<WorkflowId>,
    /// Something was given a time: the timer must look again.
    pub(crate) timed: bool,
}

/// How a start went.
#[derive(Debug)]
pub(crate) enum StartReply {
    Started,
    /// Another run has the id or the key.
    Found(FoundRow),
    /// The definition is current no longer: look it up again.
    Stale,
    Failed(Error),
}

/// A run to start.
#[derive(Debug)]
pub(crate) struct StartRequestItem {
    pub(crate) row: StartRow,
    /// The run after its first decision and its first task's input, where that is a worker's.
    pub(crate) next: Option<(Run, Payload)>,
    pub(crate) reply: oneshot::Sender<StartReply>,
}

/// What a pump listens to besides wake-ups.
#[derive(Debug)]
pub(crate) enum PumpMessage {
    Report(Report),
    Committed(Committed),
    /// These tokens were taken from whoever held them.
    Taken(Vec<i64>),
    /// What the database says is leased to this process, from a heartbeat that was sent then.
    Leased {
        holder: i64,
        asked: Instant,
        tokens: Arc<Vec<(i64, i64)>>,
    },
    /// Stop: wait for the tasks that run until the time is up, then give everything back.
    Stop {
        grace: Duration,
        done: oneshot::Sender<()>,
    },
}

/// How to reach a pump.
#[derive(Clone, Debug)]
pub(crate) struct PumpHandle(Arc<Ends>);

/// The other ends of what a pump listens to.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) messages: mpsc::Sender<PumpMessage>,
    pub(crate) starts: mpsc::Sender<StartRequestItem>,
    /// The pump's present incarnation; 0 while it has none.
    holder: AtomicI64,
}

impl Deref for PumpHandle {
    type Target = Ends;

    fn deref(&self) -> &Ends {
        &self.0
    }
}

impl PumpHandle {
    pub(super) fn new(
        messages: mpsc::Sender<PumpMessage>,
        starts: mpsc::Sender<StartRequestItem>,
    ) -> Self {
        Self(Arc::new(Ends { messages, starts, holder: AtomicI64::new(0) }))
    }

    /// The pump is this holder from now on.
    pub(super) fn set_holder(&self, holder: i64) {
        self.holder.store(holder, Ordering::Release);
    }

    pub(crate) fn holder(&self) -> i64 {
        self.holder.load(Ordering::Acquire)
    }

    /// Tells this pump from the others of the process.
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Tells the pump something; a pump that is gone needs to hear nothing.
    pub(crate) async fn tell(&self, message: PumpMessage) {
        let gone = match self.messages.try_send(message) {
            Ok(()) => false,
            // Boxed: most messages find room, and every task has room for this future.
            Err(TrySendError::Full(message)) => {
                Box::pin(self.messages.send(message)).await.is_err()
            }
            Err(TrySendError::Closed(_)) => true,
        };
        if gone {
            tracing::debug!("a message came after its pump had ended");
        }
    }
}
