//! How a worker is made.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use deadpool_postgres::Pool;
use oms_engine::{Task, TaskHost, TransactionalBatchTask, TransactionalTask};
use tokio::runtime::Handle;

use crate::conductor::Conductor;
use crate::error::Error;
use crate::registry::AnyTask;
use crate::transaction::Transactions;
use crate::worker::{Queue, Worker};

const CONCURRENCY: usize = 16;
/// Conductor refuses to wait longer.
const POLL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Makes a [`Worker`]. See [`Worker::builder`].
#[must_use]
pub struct WorkerBuilder {
    conductor: Conductor,
    tasks: BTreeMap<String, AnyTask>,
    concurrency: usize,
    limits: BTreeMap<String, usize>,
    name: String,
    domain: Option<String>,
    poll_wait: Duration,
    pool: Option<Pool>,
    database_deadline: Duration,
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks: Vec<&String> = self.tasks.keys().collect();
        f.debug_struct("WorkerBuilder")
            .field("conductor", &self.conductor)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}

impl TaskHost for WorkerBuilder {
    fn task<T: Task>(mut self, task: T) -> Self {
        self.tasks.insert(T::NAME.to_owned(), AnyTask::plain(task));
        self
    }

    fn transactional_task<T: TransactionalTask>(mut self, task: T) -> Self {
        self.tasks.insert(T::NAME.to_owned(), AnyTask::transactional(task));
        self
    }

    fn transactional_batch_task<T: TransactionalBatchTask>(mut self, task: T) -> Self {
        self.tasks.insert(T::NAME.to_owned(), AnyTask::batch(task));
        self
    }
}

impl WorkerBuilder {
    pub(crate) fn new(conductor: Conductor) -> Self {
        Self {
            conductor,
            tasks: BTreeMap::new(),
            concurrency: CONCURRENCY,
            limits: BTreeMap::new(),
            name: format!("oms-conductor-{}", std::process::id()),
            domain: None,
            poll_wait: Duration::from_secs(1),
            pool: None,
            database_deadline: Duration::from_secs(10),
        }
    }

    /// Runs this task here.
    pub fn task<T: Task>(self, task: T) -> Self {
        TaskHost::task(self, task)
    }

    /// Runs this transactional task here, in transactions of [`database`](Self::database).
    pub fn transactional_task<T: TransactionalTask>(self, task: T) -> Self {
        TaskHost::transactional_task(self, task)
    }

    /// Runs this task here, each by itself in a transaction of [`database`](Self::database).
    pub fn transactional_batch_task<T: TransactionalBatchTask>(self, task: T) -> Self {
        TaskHost::transactional_batch_task(self, task)
    }

    /// Where transactional tasks write; [`migrate`](crate::migrate) has made the inbox there. So many run at
    /// once as the pool has connections.
    pub fn database(mut self, pool: Pool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// For each statement of the inbox, and for a connection (default 10 s). What a task itself does in its
    /// transaction is bounded by the task definition's time-outs.
    pub fn database_deadline(mut self, deadline: Duration) -> Self {
        self.database_deadline = deadline;
        self
    }

    /// How many tasks of each name may run here at once (default 16). No more are asked for than can begin.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.concurrency = limit;
        self
    }

    /// The same for one task.
    pub fn task_concurrency(mut self, name: &str, limit: usize) -> Self {
        self.limits.insert(name.to_owned(), limit);
        self
    }

    /// Takes tasks of this domain (`taskToDomain` of a start) alone (default: those of no domain).
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// What this worker is called (default by process id).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long the server may wait for a task before it answers that there is none (default 1 s, at most
    /// 5 s). To stop takes up to so long.
    pub fn poll_wait(mut self, wait: Duration) -> Self {
        self.poll_wait = wait;
        self
    }

    /// Begins to poll. Call it within a tokio runtime, on which the tasks run.
    ///
    /// # Errors
    /// [`Error::Config`]: no task, a limit of 0 or of a task that is not here, a wait that is too long, or a
    /// transactional task without a database.
    pub fn start(self) -> Result<Worker, Error> {
        let refused = |why: String| Err(Error::Config(why));
        if self.tasks.is_empty() {
            return refused("a worker without a task has nothing to ask for".to_owned());
        }
        if let Some(name) = self.limits.keys().find(|name| !self.tasks.contains_key(*name)) {
            return refused(format!("task_concurrency: there is no task {name:?} here"));
        }
        if self.concurrency == 0 || self.limits.values().any(|limit| *limit == 0) {
            return refused("a concurrency of 0 runs nothing".to_owned());
        }
        if self.poll_wait > POLL_WAIT_MAX {
            return refused(format!("poll_wait: {POLL_WAIT_MAX:?} at most"));
        }
        let unwritten = |(name, task): (&String, &AnyTask)| match (task, &self.pool) {
            (AnyTask::Transactional(_), None) => Some(name.clone()),
            _ => None,
        };
        if let Some(name) = self.tasks.iter().find_map(unwritten) {
            return refused(format!(
                "task {name:?} is transactional: say where it writes with WorkerBuilder::database"
            ));
        }
        let Ok(runtime) = Handle::try_current() else {
            return refused("start a worker within a tokio runtime".to_owned());
        };
        let domain = self.domain.as_ref();
        let queues = self.tasks.into_iter().map(|(name, task)| {
            let slots = self.limits.get(&name).copied().unwrap_or(self.concurrency);
            Queue::new(name, domain.cloned(), task, slots)
        });
        let deadline = self.database_deadline;
        let transactions = self.pool.map(|pool| Transactions { pool, deadline });
        let queues = queues.collect();
        Ok(Worker::begin(
            (self.conductor, self.name, self.poll_wait),
            queues,
            transactions,
            &runtime,
        ))
    }
}
