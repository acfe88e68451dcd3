//! What a running task knows about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::given::Hidden;
use super::lease::Lease;
use crate::config::LOG_LINES_MAX;
use crate::error::Error;
use crate::ids::{TaskId, WorkflowId, idempotency_key};
use crate::telemetry::{Lineage, TraceContext};

/// Handed to a task by whoever runs it: our queue, or another transport.
#[derive(Clone)]
pub struct TaskContext {
    inner: Arc<Inner>,
}

struct Inner {
    task_id: TaskId,
    idempotency_key: Key,
    deadline: Option<DateTime<Utc>>,
    cancellation: CancellationToken,
    log: Mutex<Vec<String>>,
    lease: Option<Lease>,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "HTTP tasks ask for it"))]
    async_complete: bool,
    runtime_metadata: BTreeMap<String, String>,
    hidden: Hidden,
    trace: Trace,
}

/// Most tasks do not ask for it.
enum Trace {
    Given(Option<TraceContext>),
    Of(Lineage),
}

/// Most tasks do not ask for it.
enum Key {
    Given(String),
    /// How often the step was set aside, and what that makes.
    Of(i16, OnceLock<String>),
}

/// What an engine's own worker knows of a task beside what every transport does.
pub(super) struct Own {
    pub(super) set_aside: i16,
    pub(super) lease: Lease,
    pub(super) async_complete: bool,
    pub(super) runtime_metadata: BTreeMap<String, String>,
    pub(super) hidden: Hidden,
    pub(super) lineage: Lineage,
}

impl TaskContext {
    /// Makes a context, for transports and for tests of tasks without an engine.
    #[must_use]
    pub fn new(
        task_id: TaskId,
        idempotency_key: String,
        deadline: Option<DateTime<Utc>>,
        cancellation: CancellationToken,
    ) -> Self {
        let log = Mutex::new(Vec::new());
        Self {
            inner: Arc::new(Inner {
                task_id,
                idempotency_key: Key::Given(idempotency_key),
                deadline,
                cancellation,
                log,
                lease: None,
                async_complete: false,
                runtime_metadata: BTreeMap::new(),
                hidden: Hidden::default(),
                trace: Trace::Given(None),
            }),
        }
    }

    /// Of a task that is leased to this process.
    pub(super) fn of(
        task_id: TaskId,
        deadline: Option<DateTime<Utc>>,
        cancellation: CancellationToken,
        own: Own,
    ) -> Self {
        let Own { set_aside, lease, async_complete, runtime_metadata, hidden, lineage } = own;
        Self {
            inner: Arc::new(Inner {
                task_id,
                idempotency_key: Key::Of(set_aside, OnceLock::new()),
                deadline,
                cancellation,
                log: Mutex::new(Vec::new()),
                lease: Some(lease),
                async_complete,
                runtime_metadata,
                hidden,
                trace: Trace::Of(lineage),
            }),
        }
    }

    /// With what the task definition's `runtimeMetadata` names; for transports and tests.
    #[must_use]
    pub fn with_runtime_metadata(self, runtime_metadata: BTreeMap<String, String>) -> Self {
        match Arc::try_unwrap(self.inner) {
            Ok(inner) => Self { inner: Arc::new(Inner { runtime_metadata, ..inner }) },
            Err(inner) => Self { inner },
        }
    }

    /// With the trace that it belongs to; for transports and tests.
    #[must_use]
    pub fn with_trace(self, context: TraceContext) -> Self {
        let trace = Trace::Given(Some(context));
        match Arc::try_unwrap(self.inner) {
            Ok(inner) => Self { inner: Arc::new(Inner { trace, ..inner }) },
            Err(inner) => Self { inner },
        }
    }

    /// What the engine must not say of the attempt.
    pub(super) fn hidden(&self) -> &Hidden {
        &self.inner.hidden
    }

    /// Whether the step is to stay open until it is ended from outside.
    #[cfg(feature = "http")]
    pub(crate) fn async_complete(&self) -> bool {
        self.inner.async_complete
    }

    /// The run that this task belongs to.
    #[must_use]
    pub fn workflow_id(&self) -> WorkflowId {
        self.inner.task_id.workflow_id
    }

    /// This attempt.
    #[must_use]
    pub fn task_id(&self) -> &TaskId {
        &self.inner.task_id
    }

    /// The step's reference name in the workflow definition.
    #[must_use]
    pub fn reference_name(&self) -> &str {
        &self.inner.task_id.reference_name
    }

    /// From 0; Conductor's `retryCount`.
    #[must_use]
    pub fn attempt(&self) -> i16 {
        self.inner.task_id.attempt
    }

    /// The key under which the step's effect on the outside world must happen once: equal over
    /// all attempts, crashes and retries of this step.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        match &self.inner.idempotency_key {
            Key::Given(key) => key,
            Key::Of(set_aside, key) => {
                let id = &self.inner.task_id;
                key.get_or_init(|| idempotency_key(id.workflow_id, &id.reference_name, *set_aside))
            }
        }
    }

    /// The values that the task definition's `runtimeMetadata` names, by name: of secrets, else of
    /// the engine's environment (JSON where one is no text).
    #[must_use]
    pub fn runtime_metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.runtime_metadata
    }

    /// Where what it does belongs to: the run's trace, and the span of the run there; with the feature
    /// `otel`, and a layer of OpenTelemetry that listens, the span that the caller stands in. For whatever it
    /// calls outside. None where a transport has not said.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        #[cfg(feature = "otel")]
        if let Some(current) = TraceContext::current() {
            return Some(current);
        }
        match &self.inner.trace {
            Trace::Given(context) => context.clone(),
            Trace::Of(lineage) => Some(lineage.context_of(self.workflow_id())),
        }
    }

    /// When the attempt times out, by the database's clock.
    #[must_use]
    pub fn deadline(&self) -> Option<DateTime<Utc>> {
        self.inner.deadline
    }

    /// Cancelled when the lease is lost, the time is up or the engine's grace has passed.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.inner.cancellation
    }

    /// Returns when the task is cancelled.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn cancelled(&self) {
        self.inner.cancellation.cancelled().await;
    }

    /// Asks the database whether this attempt still has its lease. The engine keeps it by itself
    /// as long as the process lives; ask before an effect that must not come from an attempt
    /// that was given up.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the attempt was given up: it timed out, its workflow ended, or
    /// this process was taken for dead. A retryable error when the database cannot be asked.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn heartbeat(&self) -> Result<(), Error> {
        let task_id = &self.inner.task_id;
        match &self.inner.lease {
            Some(lease) => lease.check(task_id).await,
            None if self.inner.cancellation.is_cancelled() => {
                Err(Error::LeaseLost { task_id: task_id.clone() })
            }
            None => Ok(()),
        }
    }

    /// Keeps a line with the attempt; it is stored when the attempt ends. At most
    /// [`LOG_LINES_MAX`] lines are kept.
    pub fn log(&self, line: impl Into<String>) {
        let mut lines = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LOG_LINES_MAX {
            lines.push(line.into());
        }
    }

    /// Takes the lines logged so far. Values of secrets that the task was handed are taken out.
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        let lines =
            std::mem::take(&mut *self.inner.log.lock().unwrap_or_else(PoisonError::into_inner));
        lines.into_iter().map(|line| self.inner.hidden.out_of(line)).collect()
    }

    /// Sleeps, or returns false at once when the task is cancelled.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.cancelled() => false,
        }
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext").field("task_id", &self.inner.task_id).finish_non_exhaustive()
    }
}
