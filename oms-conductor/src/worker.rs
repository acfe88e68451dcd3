//! A worker: its queues, and how it stops.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::WorkerBuilder;
use crate::conductor::Conductor;
use crate::poll::serve;
use crate::registry::AnyTask;
use crate::transaction::Transactions;

/// After the grace: for tasks to end when they are canceled, and to say how they stand.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Runs tasks of a Conductor server. It goes on when this is dropped; stop it with [`stop`](Self::stop).
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// What all that a worker does has in common.
pub(crate) struct Shared {
    pub(crate) conductor: Conductor,
    pub(crate) name: String,
    pub(crate) poll_wait: Duration,
    pub(crate) transactions: Option<Transactions>,
    /// Nothing more is asked for.
    pub(crate) stopping: CancellationToken,
    /// Tasks that run are canceled.
    pub(crate) cancel: CancellationToken,
    /// What is not reported yet is left to the server.
    pub(crate) leave: CancellationToken,
    pub(crate) running: TaskTracker,
}

/// Tasks of one type in one domain.
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) domain: Option<String>,
    /// For metrics and messages.
    pub(crate) label: String,
    pub(crate) task: AnyTask,
    pub(crate) slots: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new(name: String, domain: Option<String>, task: AnyTask, slots: usize) -> Self {
        let label = match &domain {
            Some(domain) => format!("{domain}:{name}"),
            None => name.clone(),
        };
        let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
        Self { name, domain, label, task, slots }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker of this server's tasks.
    pub fn builder(conductor: Conductor) -> WorkerBuilder {
        WorkerBuilder::new(conductor)
    }

    pub(crate) fn begin(
        (conductor, name, poll_wait): (Conductor, String, Duration),
        queues: Vec<Queue>,
        transactions: Option<Transactions>,
        runtime: &Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            conductor,
            name,
            poll_wait,
            transactions,
            stopping: CancellationToken::new(),
            cancel: CancellationToken::new(),
            leave: CancellationToken::new(),
            running: TaskTracker::new(),
        });
        for queue in queues {
            let polling = serve(shared.clone(), Arc::new(queue));
            shared.running.spawn_on(polling, runtime);
        }
        shared.running.close();
        Self { shared }
    }

    /// Stops: nothing more is asked for; what runs has `grace` to end. Then it is canceled, and given back
    /// to the server, which hands it out again as the same attempt. What cannot be reported within five
    /// more seconds is named in the log as an error and left: the server hands it out when it has not
    /// heard of it for the task definition's `responseTimeoutSeconds`.
    ///
    /// # Cancel safety
    /// Dropped, it stops all the same.
    pub async fn stop(&self, grace: Duration) {
        let shared = self.shared.clone();
        shared.stopping.cancel();
        let stopped = tokio::spawn(async move {
            if tokio::time::timeout(grace, shared.running.wait()).await.is_ok() {
                return;
            }
            shared.cancel.cancel();
            if tokio::time::timeout(GIVE_BACK, shared.running.wait()).await.is_err() {
                shared.leave.cancel();
                shared.running.wait().await;
            }
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "a worker did not stop as it should");
        }
    }
}
