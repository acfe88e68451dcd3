//! The engine as users hold it.

mod assemble;
mod builder;
mod catalog;
mod definitions;
mod doctor;
mod events;
mod explain;
mod find;
mod halt;
mod host;
mod inline;
mod keys;
mod look;
mod operate;
mod operators;
mod pool;
mod query;
mod remote;
mod resolved;
#[cfg(feature = "cron")]
mod schedules;
mod schemas;
mod search;
mod signal;
mod start;
mod tables;
mod throughput;
mod update;
mod waiters;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use builder::EngineBuilder;
pub use definitions::Registered;
pub use doctor::{DoctorLimits, Finding, Severity};
pub use events::{
    EventExecution, EventExecutionRequest, EventExecutionStatus, EventRequest, PublishedEvent,
};
pub use halt::Halt;
pub use look::{EngineState, Pulse, QueueState};
pub use operate::{RerunRequest, RestartOptions, RetryOptions};
pub use operators::{Operator, OperatorAction};
pub use pool::connection_pool;
pub use query::{ListRequest, Page, TaskLogLine, WorkflowSummary};
pub use remote::{PollRequest, Polled};
#[cfg(feature = "cron")]
pub use schedules::{FireState, ScheduleFire};
pub use search::{
    Found, FoundWorkflow, SortOrder, TaskSearch, TaskSort, TextQuery, TimeRange, WorkflowSearch,
    WorkflowSort,
};
pub use signal::Signal;
pub use start::{StartRequest, Started};
pub use tables::Tables;
pub use throughput::Throughput;
pub use update::{TaskUpdate, Updated};

use crate::advance::{PolledTask, Resolved};
use crate::definition::TaskSchemas;
use crate::error::Error;
use crate::maintain::Shared;
use crate::queue::{PumpMessage, TIMER_NOTE};
use crate::store::{Pool, Rented};
use crate::worker::Sources;

/// A shutdown waits so long at most to wake other processes.
const TELL_MAX: Duration = Duration::from_secs(1);

/// A running engine. Cheap to clone; the last clone that is dropped stops it.
///
/// A dropped engine gives nothing back: other processes take its tasks over within two seconds.
/// [`shutdown`](Self::shutdown) gives them back at once.
///
/// # Cancel safety
/// What a method has begun runs to its end, on the engine's threads when its future is dropped;
/// nothing is left half done.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    /// Who does what is done through this handle, where that is recorded.
    operator: Option<Arc<Operator>>,
}

#[derive(Debug)]
struct Inner {
    /// Whether HTTP tasks run here: by the engine's own worker, or by one of the user's.
    calls_http: bool,
    shared: Shared,
    pool: Pool,
    /// Of searches alone: they may take long.
    search_pool: Pool,
    waiters: waiters::Waiters,
    /// What the tasks of this process publish of their types.
    schemas: Arc<BTreeMap<String, TaskSchemas>>,
    /// What tasks for remote workers are handed out with.
    sources: Sources,
    resolved: Mutex<HashMap<(String, Option<i32>), Resolved>>,
    // Last: the threads outlive what runs on them.
    runtime: assemble::OwnRuntime,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Engine {
    /// Begins to make an engine on the database of this URL (`postgres://…`, or `key=value`
    /// pairs). `sslmode=require` asks for TLS with a verified certificate.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), oms_engine::Error> {
    /// use oms_engine::Engine;
    ///
    /// let engine = Engine::builder("postgres://localhost/shop").migrate().build().await?;
    /// engine.shutdown(std::time::Duration::from_secs(10)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(database_url: &str) -> EngineBuilder {
        EngineBuilder::new(database_url)
    }

    /// Stops: takes no more tasks, waits up to `grace` for those that run, cancels the rest, and
    /// gives every lease back at once. Calls on this engine then fail with [`Error::Shutdown`].
    ///
    /// # Cancel safety
    /// Dropped, it goes on by itself.
    pub async fn shutdown(&self, grace: Duration) {
        let shared = self.inner.shared.clone();
        let pool = self.inner.pool.clone();
        let work = async move {
            shared.slots.close();
            shared.polls.close();
            let mut ends = Vec::new();
            for pump in &shared.pumps {
                let (done, end) = oneshot::channel();
                pump.tell(PumpMessage::Stop { grace, done }).await;
                ends.push(end);
            }
            for end in ends {
                // An error is a pump that had ended already.
                let after = grace + shared.config.deadline;
                if tokio::time::timeout(after, end).await.is_err() {
                    tracing::warn!("a pump did not stop in time; its tasks will be rescued");
                }
            }
            // The timer's connection may not get to it any more.
            match tokio::time::timeout(TELL_MAX, tell_others(&shared, &pool)).await {
                Ok(Ok(())) => {}
                _ => tracing::warn!("other processes find what was given back by themselves"),
            }
            shared.stop.cancel();
            Ok(())
        };
        if let Err(error) = self.on_own_threads(work).await {
            tracing::debug!(%error, "the engine was stopped already");
        }
    }

    /// Runs to the end on the engine's threads, whatever becomes of the caller. The work is boxed
    /// here, so that it takes no room in the callers' futures.
    fn on_own_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static {
        let handle = self.running();
        let work = Box::pin(work);
        async move { assemble::run_on(&handle?, work).await }
    }

    /// Does what the pumps answer where it is awaited, and to the end whatever becomes of the
    /// caller. `doing` is said where no answer comes within three deadlines.
    fn in_place<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static {
        let handle = self.running();
        let after = self.inner.shared.config.deadline * 3;
        let work = Box::pin(async move {
            match tokio::time::timeout(after, work).await {
                Ok(done) => done,
                Err(_) => Err(Error::Deadline { doing, after }),
            }
        });
        async move { assemble::InPlace::new(handle?, work).await }
    }

    fn running(&self) -> Result<Handle, Error> {
        if self.inner.shared.stop.is_cancelled() {
            return Err(Error::Shutdown);
        }
        self.inner.runtime.handle()
    }

    fn forget_resolved(&self) {
        self.inner.resolved.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Wakes other processes for every queue that was served here, and for what is timed.
async fn tell_others(shared: &Shared, pool: &Pool) -> Result<(), Error> {
    let mut rented = connection(pool).await?;
    let client = rented.client()?;
    let queues = shared.slots.queues();
    let notes: Vec<&str> = queues.iter().map(String::as_str).chain([TIMER_NOTE]).collect();
    let done = shared.core.store.notify(client, &notes).await;
    rented.settle(done)
}

/// A connection for one call.
async fn connection(pool: &Pool) -> Result<Rented, Error> {
    Rented::from(pool, "getting a connection").await
}
