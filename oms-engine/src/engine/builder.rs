//! How an engine is made.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::runtime::{Builder as RuntimeBuilder, Handle};

use super::assemble::{OwnRuntime, Parts, assemble, prepare, run_on};
use super::{Engine, Inner};
use crate::advance::{Core, Plans};
use crate::config::{Config, Retention, StartMode};
use crate::definition::{VARIABLES_MAX_BYTES, check_payload};
use crate::error::Error;
use crate::store::{Connector, Statements, Store};
use crate::worker::{
    BATCH_MAX, ErasedProvider, Provider, Registry, SecretsProvider, Serving, Sources, Task,
    TransactionalBatchTask, TransactionalTask,
};

/// Searches at once.
const SEARCHES_MAX: usize = 2;
/// A task is not to wait longer than others take.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(1);

/// Makes an [`Engine`]. See [`Engine::builder`].
#[must_use]
pub struct EngineBuilder {
    database_url: String,
    config: Config,
    registry: Registry,
    limits: BTreeMap<String, usize>,
    batch_sizes: BTreeMap<String, usize>,
    batch_waits: BTreeMap<String, Duration>,
    env: Map<String, Value>,
    provider: Option<Arc<dyn ErasedProvider>>,
    #[cfg(feature = "http")]
    http: Vec<(crate::worker::HttpSettings, Serving)>,
}

impl EngineBuilder {
    pub(super) fn new(database_url: &str) -> Self {
        Self {
            database_url: database_url.to_owned(),
            config: Config::default(),
            registry: Registry::default(),
            limits: BTreeMap::new(),
            batch_sizes: BTreeMap::new(),
            batch_waits: BTreeMap::new(),
            env: Map::new(),
            provider: None,
            #[cfg(feature = "http")]
            http: Vec::new(),
        }
    }

    /// Has every task that is here so far go by way of another one.
    #[cfg(feature = "testkit")]
    pub(crate) fn wrap_tasks(
        mut self,
        wrap: impl Fn(&str, crate::worker::AnyTask) -> crate::worker::AnyTask,
    ) -> Self {
        self.registry.wrap(wrap);
        self
    }

    /// Runs this task here.
    pub fn task<T: Task>(mut self, task: T) -> Self {
        self.registry.add(task, Serving::new());
        self
    }

    /// Runs this transactional task here.
    pub fn transactional_task<T: TransactionalTask>(mut self, task: T) -> Self {
        self.registry.add_transactional(task, Serving::new());
        self
    }

    /// Runs HTTP tasks of definitions here, to these hosts. Without it definitions with HTTP tasks
    /// are refused.
    #[cfg(feature = "http")]
    pub fn http(self, settings: crate::worker::HttpSettings) -> Self {
        self.http_in(settings, Serving::new())
    }

    /// As [`http`](Self::http) for HTTP tasks whose definition has an `isolationGroupId` or an
    /// `executionNameSpace`. They are in no domain.
    #[cfg(feature = "http")]
    pub fn http_in(mut self, settings: crate::worker::HttpSettings, serving: Serving) -> Self {
        self.http.push((settings, serving));
        self
    }

    /// Runs this task here for a domain, an isolation group or a namespace alone. Further calls
    /// add further places.
    pub fn task_in<T: Task>(mut self, task: T, serving: Serving) -> Self {
        self.registry.add(task, serving);
        self
    }

    /// As [`task_in`](Self::task_in) for a transactional task.
    pub fn transactional_task_in<T: TransactionalTask>(
        mut self,
        task: T,
        serving: Serving,
    ) -> Self {
        self.registry.add_transactional(task, serving);
        self
    }

    /// Runs this task here, many at once in one transaction.
    pub fn transactional_batch_task<T: TransactionalBatchTask>(mut self, task: T) -> Self {
        self.registry.add_batch(task, Serving::new());
        self
    }

    /// As [`task_in`](Self::task_in) for a task that does many at once.
    pub fn transactional_batch_task_in<T: TransactionalBatchTask>(
        mut self,
        task: T,
        serving: Serving,
    ) -> Self {
        self.registry.add_batch(task, serving);
        self
    }

    /// How many tasks of this name go in one transaction at most, where they do many at once (default
    /// 100). How many run at once bounds it too: see [`concurrency`](Self::concurrency).
    pub fn task_batch_size(mut self, name: &str, largest: usize) -> Self {
        self.batch_sizes.insert(name.to_owned(), largest);
        self
    }

    /// How long tasks of this name wait until a batch of them is full (default: not at all). Each is up to
    /// so much later, and all together cost less where they come one by one.
    pub fn task_batch_wait(mut self, name: &str, wait: Duration) -> Self {
        self.batch_waits.insert(name.to_owned(), wait);
        self
    }

    /// How many tasks of this name may run here at once, in each place that it is served in
    /// (default: as many as in all).
    pub fn task_concurrency(mut self, name: &str, limit: usize) -> Self {
        self.limits.insert(name.to_owned(), limit);
        self
    }

    /// What `${workflow.env.NAME}` in definitions reads; a name that was not given reads as null.
    ///
    /// It is read when a task is scheduled and kept with the task, so give all engines on a
    /// database the same. Nothing of this process's own environment is read unless it is given
    /// here. These values are no secrets: they are stored and shown.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// As [`env`](Self::env) for many, such as `std::env::vars()`.
    pub fn envs<N: Into<String>, V: Into<Value>>(
        mut self,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.env.extend(values.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Where `${workflow.secrets.NAME}` and `runtimeMetadata` of tasks that run here get their
    /// values from (default: nowhere). Definitions that name secrets can be registered by any
    /// engine; a task that needs one fails for good where there is no provider, or no such secret.
    pub fn secrets(mut self, provider: impl SecretsProvider) -> Self {
        self.provider = Some(Arc::new(Provider(provider)));
        self
    }

    /// How many tasks may run here at once (default 256).
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.config.concurrency = limit;
        self
    }

    /// The schema of the engine's tables (default `oms_engine`): `[a-z_][a-z0-9_]*`, at most 40.
    pub fn schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.config.schema);
        self
    }

    /// What this process is called in its session and as `workerId` (default: by process id).
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.config.name);
        self
    }

    /// Removes ended runs after a while, by whole families of parents and children, in short
    /// transactions beside the work. One engine of a database does it at a time; each goes by
    /// what itself was told. Without it all are kept.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.config.retention = Some(retention);
        self
    }

    /// Makes or upgrades the tables when the engine is built. Without it they are checked only.
    pub fn migrate(mut self) -> Self {
        self.config.start = StartMode::Migrate;
        self
    }

    /// Connections that write steps (default 2): few with large batches beat many.
    pub fn pumps(mut self, count: usize) -> Self {
        self.config.pumps = count;
        self
    }

    /// Connections for reads, starts in bulk and operators' actions (default 4).
    pub fn pool_size(mut self, size: usize) -> Self {
        self.config.pool_size = size;
        self
    }

    /// Connections for transactional tasks (default 8): so many run at once.
    pub fn transactional_pool_size(mut self, size: usize) -> Self {
        self.config.transactional_pool_size = size;
        self
    }

    /// For every statement, connection and answer of the secrets provider (default 10 s).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// How often it is looked in the queues for tasks that no wake-up told of (default 5 s;
    /// half as often when it is alone).
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.config.poll_interval = interval;
        self
    }

    /// How often this process says that it lives (default 1 s; half as often when it is alone),
    /// and after how long a silence it is taken for dead where its lock cannot tell
    /// (default 10 s).
    pub fn heartbeat(mut self, interval: Duration, limit: Duration) -> Self {
        self.config.heartbeat_interval = interval;
        self.config.heartbeat_limit = limit;
        self
    }

    /// Connects, checks or makes the tables, and begins to work. Call it within a tokio runtime:
    /// tasks run there. The engine's own duties run on threads of its own.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting, [`Error::SchemaVersion`] for tables of another version,
    /// [`Error::Unreachable`] when PostgreSQL cannot be reached, [`Error::Database`] when it refuses.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing running.
    pub async fn build(mut self) -> Result<Engine, Error> {
        self.config.check()?;
        let sources = sources(self.provider, self.env, self.config.deadline)?;
        #[cfg(feature = "http")]
        if self.registry.has("HTTP") && !self.http.is_empty() {
            let why = "http and a task of the name HTTP: one of the two";
            return Err(Error::Config(why.to_owned()));
        }
        #[cfg(feature = "http")]
        for (settings, serving) in std::mem::take(&mut self.http) {
            let task = crate::worker::HttpTask::new(&settings)
                .map_err(|why| Error::Config(format!("http: {why}")))?;
            self.registry.add(task, serving);
        }
        self.registry.check()?;
        set_limits(&mut self.registry, &self.limits)?;
        set_batches(&mut self.registry, &self.batch_sizes, &self.batch_waits)?;
        let user = Handle::try_current().map_err(|_| {
            Error::Config("build() must be called within a tokio runtime".to_owned())
        })?;
        let runtime = RuntimeBuilder::new_multi_thread()
            .worker_threads(2)
            .thread_name("oms-engine")
            .enable_all()
            .build()
            .map_err(|error| Error::Config(format!("the engine's threads: {error}")))?;
        let runtime = OwnRuntime(Some(runtime));
        let handle = runtime.handle()?;
        let config = Arc::new(self.config);
        let connector = Connector::new(&self.database_url, config.deadline)?;
        let core = Arc::new(Core {
            store: Store::new(&config.schema, config.deadline)?,
            plans: Plans::new(sources.env.clone()),
        });
        let calls_http = self.registry.has("HTTP");
        let (task_core, task_connector, mode) = (core.clone(), connector.clone(), config.start);
        let domains: Arc<[(String, String)]> = self.registry.domains().into();
        let served = domains.clone();
        let preparing = async move { prepare(&task_core, &task_connector, mode, &served).await };
        let limits = run_on(&handle, preparing).await?;
        let schemas = Arc::new(self.registry.schemas());
        let (shared, waiters) = assemble(Parts {
            config: config.clone(),
            core,
            connector: connector.clone(),
            registry: self.registry,
            sources: sources.clone(),
            user,
            runtime: &handle,
            limits,
            domains,
        })?;
        let inner = Inner {
            calls_http,
            shared,
            pool: connector.pool(config.pool_size, Statements::Ours)?,
            search_pool: connector.pool(SEARCHES_MAX, Statements::Ours)?,
            waiters,
            schemas,
            sources,
            runtime,
            resolved: std::sync::Mutex::default(),
        };
        Ok(Engine { inner: Arc::new(inner), operator: None })
    }
}

fn set_limits(registry: &mut Registry, limits: &BTreeMap<String, usize>) -> Result<(), Error> {
    for (name, limit) in limits {
        if *limit == 0 || !registry.limit(name, *limit) {
            return Err(Error::Config(format!(
                "task_concurrency({name:?}, {limit}): there is no such task here, or 0"
            )));
        }
    }
    Ok(())
}

fn set_batches(
    registry: &mut Registry,
    sizes: &BTreeMap<String, usize>,
    waits: &BTreeMap<String, Duration>,
) -> Result<(), Error> {
    for (name, largest) in sizes {
        let set = registry.batch_size(name, |size| size.largest = *largest);
        if !(1..=BATCH_MAX).contains(largest) || !set {
            return Err(Error::Config(format!(
                "task_batch_size({name:?}, {largest}): use 1 to {BATCH_MAX}, and the name of a \
                 transactional_batch_task"
            )));
        }
    }
    for (name, wait) in waits {
        let set = registry.batch_size(name, |size| size.wait = *wait);
        if *wait > BATCH_WAIT_MAX || !set {
            return Err(Error::Config(format!(
                "task_batch_wait({name:?}, {wait:?}): use at most {BATCH_WAIT_MAX:?}, and the name of a \
                 transactional_batch_task"
            )));
        }
    }
    Ok(())
}

/// What expressions read of the engine is bounded, since it may come into every input.
fn sources(
    provider: Option<Arc<dyn ErasedProvider>>,
    env: Map<String, Value>,
    deadline: Duration,
) -> Result<Sources, Error> {
    let value = Value::Object(env);
    check_payload("env", &value, VARIABLES_MAX_BYTES)
        .map_err(|fault| Error::Config(fault.to_string()))?;
    let env = Arc::new(value.as_object().cloned().unwrap_or_default());
    Ok(Sources { provider, env, deadline })
}

impl fmt::Debug for EngineBuilder {
    /// The database's URL has a password in it, the provider secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("config", &self.config)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
