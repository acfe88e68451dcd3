//! Workers outside of this process: they ask for tasks, and report what became of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::start::check_key;
use super::{Engine, PolledTask};
use crate::definition::{Payload, wrong_domain};
use crate::error::Error;
use crate::ids::TaskId;
use crate::queue::{KnownTask, Lent, Outcome, Poll, PumpMessage, Report};
use crate::worker::{Given, failed};

use super::update::{Reported, TaskUpdate, Updated};

/// The longest wait of one poll.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The most tasks that one poll gets.
const COUNT_MAX: usize = 1_000;
/// A poll whose time is up waits so long at most for what is being claimed for it.
const CLAIM_MAX: Duration = Duration::from_secs(1);
const CLAIM_LOOK: Duration = Duration::from_millis(5);

/// What a remote worker asks for.
///
/// ```
/// use std::time::Duration;
/// use oms_engine::PollRequest;
///
/// let request = PollRequest::new("pay", "worker-1").count(5).wait(Duration::from_secs(1));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PollRequest {
    task_type: String,
    domain: Option<String>,
    worker: String,
    count: usize,
    wait: Duration,
}

impl PollRequest {
    /// One task of this type for this worker, without a wait. A type with an isolation group or a
    /// namespace is asked for as `type[@namespace][-group]`.
    pub fn new(task_type: impl Into<String>, worker: impl Into<String>) -> Self {
        let (task_type, worker) = (task_type.into(), worker.into());
        Self { task_type, worker, domain: None, count: 1, wait: Duration::ZERO }
    }

    /// Of this domain; without it of none.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Up to so many, 1 to 1,000.
    pub const fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Waits so long until there is one, at most a minute.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    fn check(&self) -> Result<(), Error> {
        check_key("task type", Some(&self.task_type))?;
        check_key("worker id", Some(&self.worker))?;
        if self.task_type.starts_with('$') {
            return Err(Error::invalid("task type", "begins with $"));
        }
        if let Some(reason) = self.domain.as_deref().and_then(wrong_domain) {
            return Err(Error::invalid("domain", reason));
        }
        if self.count == 0 || self.count > COUNT_MAX {
            let why = format!("{} is not within 1 to {COUNT_MAX}", self.count);
            return Err(Error::invalid("count", why));
        }
        if self.wait > WAIT_MAX {
            return Err(Error::invalid("wait", format!("is longer than {WAIT_MAX:?}")));
        }
        Ok(())
    }

    fn queue(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{domain}:{}", self.task_type),
            None => self.task_type.clone(),
        }
    }
}

/// Tasks on their way to a remote worker. Dropped before [`delivered`](Self::delivered) they go
/// back to their queue at once.
#[derive(Debug)]
#[must_use]
pub struct Polled {
    tasks: Vec<PolledTask>,
    lent: Vec<Lent>,
    worker: Arc<str>,
}

impl Polled {
    /// The tasks; none where there were none in time.
    #[must_use]
    pub fn tasks(&self) -> &[PolledTask] {
        &self.tasks
    }

    /// The worker has them: from now on they are its own until it reports them, or is not heard of
    /// for their `responseTimeoutSeconds`.
    pub fn delivered(self) -> Vec<PolledTask> {
        for lent in self.lent {
            lent.delivered(&self.worker);
        }
        self.tasks
    }
}

impl Engine {
    /// Gives tasks to a worker outside of this process, the most urgent first. Limits and domains
    /// count for it as for the tasks of this process; a task of this process is preferred where
    /// both serve a queue.
    ///
    /// # Errors
    /// [`Error::InvalidInput`]; [`Error::Shutdown`].
    ///
    /// # Cancel safety
    /// Dropped, what it had got goes back to its queue at once.
    pub async fn poll(&self, request: &PollRequest) -> Result<Polled, Error> {
        request.check()?;
        let shared = &self.inner.shared;
        if shared.stop.is_cancelled() {
            return Err(Error::Shutdown);
        }
        let queue = request.queue();
        if let Some(domain) = &request.domain {
            shared.core.plans.polls.asked(&request.task_type, domain);
        }
        shared.core.plans.polls.asked_queue(&queue);
        let wait = (!request.wait.is_zero()).then_some(request.wait);
        let poll = shared.polls.wait(&queue, &request.task_type, request.count);
        Ok(self.polled(poll, &queue, wait, Arc::from(request.worker.as_str())).await)
    }

    /// What a poll gets in this time, or a little later where something is on its way.
    async fn polled(
        &self,
        mut poll: Poll,
        queue: &str,
        wait: Option<Duration>,
        worker: Arc<str>,
    ) -> Polled {
        let shared = &self.inner.shared;
        let mut lent = match wait {
            Some(wait) => timeout(wait, poll.answered()).await.ok(),
            None => poll.has_been_answered(),
        };
        let last = Instant::now() + CLAIM_MAX;
        while lent.is_none() && shared.slots.is_claiming(queue, &shared.wakes) {
            if Instant::now() >= last {
                break;
            }
            lent = timeout(CLAIM_LOOK, poll.answered()).await.ok();
        }
        let lent = lent.unwrap_or_else(|| poll.give_up());
        let (tasks, lent) = self.give(lent).await;
        Polled { tasks, lent, worker }
    }

    /// What the tasks are handed out with. One that cannot be had ends its task's attempt.
    async fn give(&self, lent: Vec<Lent>) -> (Vec<PolledTask>, Vec<Lent>) {
        let sources = &self.inner.sources;
        let at_once = |lent: &Lent| lent.task().and_then(Given::at_once).map(Ok);
        let given: Vec<_> = if lent.iter().all(|lent| at_once(lent).is_some()) {
            lent.into_iter().map(|lent| (at_once(&lent), lent)).collect()
        } else {
            let looked_up = lent.into_iter().map(|lent| async move {
                let given = match lent.task() {
                    Some(task) => Some(sources.give(task).await),
                    None => None,
                };
                (given, lent)
            });
            Box::pin(join_all(looked_up)).await
        };
        let (mut tasks, mut given_out) =
            (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
        for (given, lent) in given {
            match (lent.task(), given) {
                (Some(task), Some(Ok(Given { input, metadata, .. }))) => {
                    tasks.push(PolledTask::of(&task.run, &task.token, &input, metadata));
                    given_out.push(lent);
                }
                (_, Some(Err(error))) => lent.end(failed(error)),
                _ => {}
            }
        }
        (tasks, given_out)
    }

    /// Polls that wait are answered with nothing, and further ones likewise: before a
    /// [`shutdown`](Self::shutdown), so that updates under way can be written.
    pub fn stop_polls(&self) {
        self.inner.shared.polls.close();
    }

    /// Reports on a task as [`update_task`](Self::update_task) does, and polls for the next of its
    /// queue, without a wait. Where one follows at once it is leased in the same statement.
    ///
    /// # Errors
    /// As [`update_task`](Self::update_task).
    ///
    /// # Cancel safety
    /// As both.
    pub async fn update_and_poll(
        &self,
        task: &TaskId,
        update: TaskUpdate,
        worker: &str,
    ) -> Result<Polled, Error> {
        check_key("worker id", Some(worker))?;
        let worker: Arc<str> = Arc::from(worker);
        let known = self.inner.shared.polls.find(task);
        let queue = match &known {
            Some(known) => Some(known.queue.clone()),
            None => self.queue_of(task).await?,
        };
        let Some(queue) = queue else {
            self.update_known(task, update, known).await?;
            return Ok(Polled { tasks: Vec::new(), lent: Vec::new(), worker });
        };
        let name = queue.split_once(':').map_or(&*queue, |(_, name)| name);
        let poll = self.inner.shared.polls.wait(&queue, name, 1);
        self.update_known(task, update, known).await?;
        Ok(self.polled(poll, &queue, None, worker).await)
    }

    /// Reports on a task by its id, also after its time is up, as long as that attempt is open. What
    /// is reported twice, or too late, has no effect.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`]. After [`Error::Deadline`] the report may have come: it may be
    /// repeated.
    pub async fn update_task(&self, task: &TaskId, update: TaskUpdate) -> Result<Updated, Error> {
        let known = self.inner.shared.polls.find(task);
        self.update_known(task, update, known).await
    }

    async fn update_known(
        &self,
        task: &TaskId,
        update: TaskUpdate,
        known: Option<KnownTask>,
    ) -> Result<Updated, Error> {
        let engine = self.clone();
        let task = task.clone();
        let work = async move {
            if let Some(KnownTask { token_id, pump, .. }) = known
                && let Reported { outcome: Some(outcome), log, worker } = update.reported()
            {
                let (answer, written) = oneshot::channel();
                let report = Report { token_id, outcome, log, worker, answer: Some(answer) };
                pump.tell(PumpMessage::Report(report)).await;
                if written.await.is_ok() {
                    return Ok(Updated::Written);
                }
                // Lost, or unknown: what is so is looked up, and it is said again where it is open.
            }
            let slowly = engine.clone();
            engine.on_own_threads(async move { slowly.update_slowly(&task, &update).await }).await
        };
        self.in_place("updating a task", work).await
    }
}

/// What a worker's update is to a pump; none for what pumps do not take.
pub(super) fn outcome_of(update: &TaskUpdate) -> Option<Outcome> {
    use crate::decide::TaskStatus as S;
    let output = update.output.clone().map(Payload::from);
    let reason = update.reason.clone();
    Some(match update.status {
        S::Completed => {
            Outcome::Completed { output: output.unwrap_or_else(|| Payload::from(Value::Null)) }
        }
        S::Failed | S::FailedWithTerminalError => Outcome::Failed {
            reason: reason.unwrap_or_default(),
            output,
            retry_after: None,
            terminal: update.status == S::FailedWithTerminalError,
        },
        S::InProgress => {
            Outcome::InProgress { callback_after: Some(update.callback_after), output, reason }
        }
        _ => return None,
    })
}
