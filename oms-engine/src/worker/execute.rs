//! Runs the tasks that pumps hand out, on the user's runtime.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

use super::context::Own;
use super::gather::{Gatherer, Gatherers, Leader};
use super::given::{Given, Sources};
use super::lease::{Lease, LeaseCheck};
use super::registry::{AnyTask, ErasedTask, ErasedTransactionalTask, Registry};
use super::task::TaskErrorKind;
use super::transactional::{Member, Transactions};
use super::{TaskContext, TaskError};
use crate::definition::Payload;
use crate::queue::{HandedOut, Outcome, PumpMessage, Report, Workers};
use crate::telemetry::{Attempt, attempt, went};

/// A canceled task may still end by itself for so long; then its future is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// The tasks of this process, and where they run.
#[derive(Debug)]
pub(crate) struct LocalWorkers {
    pub(crate) registry: Registry,
    pub(crate) runtime: Handle,
    pub(crate) transactions: Arc<Transactions>,
    /// For tasks that ask whether they still have their lease.
    pub(crate) lease_check: Arc<LeaseCheck>,
    pub(crate) sources: Sources,
    pub(crate) gatherers: Gatherers<Member>,
}

impl Workers for LocalWorkers {
    fn run(self: Arc<Self>, mut tasks: Vec<HandedOut>) {
        if tasks.len() > 1 {
            // On the user's runtime a task is begun without waking another of its threads.
            let runtime = self.runtime.clone();
            runtime.spawn(async move {
                for task in tasks {
                    self.run_among(task).await;
                }
            });
        } else if let Some(task) = tasks.pop() {
            self.run_one(task);
        }
    }
}

impl LocalWorkers {
    fn run_one(&self, mut task: HandedOut) {
        let body = self.registry.get(&task.token.queue).cloned();
        if body.is_some() {
            task.span = self.span_of(&task);
        }
        let span = task.span.clone();
        match body {
            Some(AnyTask::Plain(body)) => {
                self.begin(task, span, |cx, input, task| {
                    run_plain(work_of(body, cx.clone(), input), cx, task)
                });
            }
            Some(AnyTask::Transactional(body)) => {
                let transactions = self.transactions.clone();
                self.begin(task, span, |cx, input, task| async move {
                    let alone = vec![Member { cx, input, task }];
                    Box::pin(transactions.run(&body, alone, None)).await;
                });
            }
            Some(AnyTask::Batch(body, size)) => {
                let transactions = self.transactions.clone();
                let gatherer = self.gatherers.of(&task.token.queue, task.pump.number(), size);
                drop(span);
                // Whoever leads runs many.
                self.begin(task, Span::none(), |cx, input, task| async move {
                    if let Some(leader) = gatherer.join(Member { cx, input, task }) {
                        Box::pin(lead(&transactions, &body, &gatherer, leader)).await;
                    }
                });
            }
            // The pump claims only queues that are registered.
            None => {
                self.runtime.spawn(report(task, Vec::new(), Outcome::Abandoned));
            }
        }
    }

    /// Runs a task that others wait behind: here, if tasks of its type end at once.
    async fn run_among(&self, mut task: HandedOut) {
        let (body, pace) = match self.registry.get_paced(&task.token.queue) {
            Some((AnyTask::Plain(body), pace)) if pace.is_tried() => (body.clone(), pace),
            _ => return self.run_one(task),
        };
        let Some(given) = Given::at_once(&task) else { return self.run_one(task) };
        task.span = self.span_of(&task);
        let (cx, input) = context(given, self.lease(&task), &task);
        let begun = Instant::now();
        let mut work = Box::pin(work_of(body, cx.clone(), input).instrument(task.span.clone()));
        let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        pace.went(polled.is_ready(), begun.elapsed());
        match polled {
            Poll::Ready(done) => end_plain(Some(done), cx, task).await,
            Poll::Pending => drop(self.runtime.spawn(run_plain(work, cx, task))),
        }
    }

    fn lease(&self, task: &HandedOut) -> Lease {
        let by = self.lease_check.clone();
        Lease { by, token_id: task.token.id, pump: task.pump.clone() }
    }

    fn span_of(&self, task: &HandedOut) -> Span {
        let token = &task.token;
        attempt(&Attempt {
            workflow_id: token.workflow_id,
            task: &token.reference_name,
            attempt: token.attempt,
            workflow: &task.run.plan.name,
            queue: &token.queue,
            worker: &self.transactions.worker_name,
            trace: &task.run.trace(),
        })
    }

    /// Lets a task's future run, once the task has all that it is handed.
    fn begin<F>(
        &self,
        task: HandedOut,
        span: Span,
        work: impl FnOnce(TaskContext, Payload, HandedOut) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let lease = self.lease(&task);
        // A future stays as large as its largest moment: most tasks never wait for secrets.
        if let Some(given) = Given::at_once(&task) {
            let (cx, input) = context(given, lease, &task);
            self.runtime.spawn(work(cx, input, task).instrument(span));
            return;
        }
        let sources = self.sources.clone();
        let given = async move {
            if let Some((cx, input, task)) = Box::pin(give(&sources, lease, task)).await {
                work(cx, input, task).await;
            }
        };
        self.runtime.spawn(given.instrument(span));
    }
}

/// Runs those who wait, batch by batch.
async fn lead(
    transactions: &Arc<Transactions>,
    body: &Arc<dyn ErasedTransactionalTask>,
    gatherer: &Gatherer<Member>,
    mut leader: Leader<'_, Member>,
) {
    loop {
        leader.fuller().await;
        let Some(batch) = leader.take() else { return };
        transactions.run(body, batch, Some(gatherer)).await;
    }
}

/// Whether the step says `asyncComplete`.
fn asks_to_wait(task: &HandedOut) -> bool {
    task.run.node(&task.token.reference_name).is_some_and(|node| node.async_complete)
}

/// What a task is handed. None: it has ended without.
async fn give(
    sources: &Sources,
    lease: Lease,
    task: HandedOut,
) -> Option<(TaskContext, Payload, HandedOut)> {
    let outcome = match until_dropped(sources.give(&task), task.cancellation.cancelled()).await {
        Some(Ok(given)) => {
            let (cx, input) = context(given, lease, &task);
            return Some((cx, input, task));
        }
        Some(Err(error)) => failed(error),
        None => Outcome::Abandoned,
    };
    report(task, Vec::new(), outcome).await;
    None
}

fn context(given: Given, lease: Lease, task: &HandedOut) -> (TaskContext, Payload) {
    let Given { input, metadata, hidden } = given;
    let own = Own {
        set_aside: task.token.set_aside,
        lease,
        async_complete: asks_to_wait(task),
        runtime_metadata: metadata,
        hidden,
        lineage: task.run.lineage.clone(),
    };
    let (id, due_at) = (task.task_id(), task.token.due_at);
    (TaskContext::of(id, due_at, task.cancellation.clone(), own), input)
}

/// What came of a task's work; the outer error is that of a panic.
type Done = Result<Result<Payload, TaskError>, Box<dyn Any + Send>>;

fn work_of(
    body: Arc<dyn ErasedTask>,
    cx: TaskContext,
    input: Payload,
) -> impl Future<Output = Done> + Send {
    AssertUnwindSafe(body.run(cx, input)).catch_unwind()
}

async fn run_plain(work: impl Future<Output = Done> + Send, cx: TaskContext, task: HandedOut) {
    let done = until_dropped(work, task.cancellation.cancelled()).await;
    end_plain(done, cx, task).await;
}

async fn end_plain(done: Option<Done>, cx: TaskContext, task: HandedOut) {
    let outcome = match done {
        Some(Ok(Ok(output))) => Outcome::Completed { output },
        Some(Ok(Err(error))) => failed(error),
        Some(Err(panic)) => failed(panicked(&*panic)),
        None => Outcome::Abandoned,
    };
    report(task, cx.take_log(), hide(&cx, outcome)).await;
}

/// An outcome whose reason tells nothing that the task was handed in secret.
fn hide(cx: &TaskContext, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed { reason, output, retry_after, terminal } => {
            let reason = cx.hidden().out_of(reason);
            Outcome::Failed { reason, output, retry_after, terminal }
        }
        other => other,
    }
}

pub(super) async fn report(task: HandedOut, log: Vec<String>, outcome: Outcome) {
    went(&task.span, outcome.as_ran(), outcome.reason());
    let report = Report { token_id: task.token.id, outcome, log, worker: None, answer: None };
    task.tell(PumpMessage::Report(report)).await;
}

/// Lets a future run until a while after it was canceled. None: it was dropped.
pub(super) async fn until_dropped<T>(
    work: impl Future<Output = T>,
    canceled: impl Future<Output = ()>,
) -> Option<T> {
    let over = async {
        canceled.await;
        // Boxed, since hardly any task comes to it and all have the room for it.
        Box::pin(tokio::time::sleep(CANCEL_GRACE)).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = over => None,
    }
}

pub(crate) fn failed(error: TaskError) -> Outcome {
    let TaskError { kind, reason, output, .. } = error;
    let output = output.map(Payload::from);
    match kind {
        TaskErrorKind::Retry => {
            Outcome::Failed { reason, output, retry_after: None, terminal: false }
        }
        TaskErrorKind::RetryAfter(delay) => {
            Outcome::Failed { reason, output, retry_after: Some(delay), terminal: false }
        }
        TaskErrorKind::Terminal => {
            Outcome::Failed { reason, output, retry_after: None, terminal: true }
        }
        TaskErrorKind::InProgress(callback_after) => {
            Outcome::InProgress { callback_after, output, reason: None }
        }
    }
}

pub(super) fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of a kind that is no text".to_owned());
    TaskError::retry(format!("the task panicked: {text}"))
}
