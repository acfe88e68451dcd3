//! A database, an `oms server` in this process that runs no task, the wire to it, and tasks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, Pool};
use futures_util::future::BoxFuture;
use oms_conductor::{Conductor, Worker, WorkerBuilder};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Engine, Execution, StartRequest, Task, TaskContext, TaskDef, TaskError, TransactionalTask,
    WorkflowDef, WorkflowId, WorkflowTask,
};
use oms_server::{Server, Settings, serve};
use serde_json::{Value, json};
use tokio_postgres::{NoTls, Transaction};

use crate::wire::Wire;

/// Much longer than anything takes; a test that gets there fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) wire: Wire,
    pub(crate) conductor: Conductor,
    pub(crate) address: String,
    _server: Server,
    pub(crate) database: TestDatabase,
}

/// Retried at once.
pub(crate) fn work_def(response_timeout_s: i64) -> TaskDef {
    TaskDef {
        retry_count: 3,
        retry_delay_seconds: 0,
        timeout_seconds: 600,
        response_timeout_seconds: response_timeout_s,
        ..TaskDef::default_for("work")
    }
}

impl World {
    /// With a workflow `line` of so many tasks of `work`.
    pub(crate) async fn new(steps: usize) -> Self {
        Self::with(steps, work_def(600)).await
    }

    pub(crate) async fn with(steps: usize, work: TaskDef) -> Self {
        let database = TestDatabase::migrated().await.unwrap();
        let engine = Engine::builder(database.url()).build().await.unwrap();
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let server = serve(engine.clone(), anywhere, Settings::default()).await.unwrap();
        let (wire, address) = Wire::to(server.address().to_string()).await;
        let conductor = Conductor::builder(&address).build().unwrap();
        let task =
            |n| WorkflowTask::simple("work", format!("work_{n}")).input("n", "${workflow.input.n}");
        let line = (0..steps).fold(WorkflowDef::builder("line"), |line, n| line.task(task(n)));
        conductor.register(&[work], &[line.build().unwrap()]).await.unwrap();
        Self { engine, wire, conductor, address, _server: server, database }
    }

    /// Polls are short, so that a worker stops soon.
    pub(crate) fn worker(&self) -> WorkerBuilder {
        Worker::builder(self.conductor.clone()).poll_wait(Duration::from_millis(200))
    }

    pub(crate) async fn start(&self) -> WorkflowId {
        let request = StartRequest::new("line").input(json!({ "n": 7 }));
        self.engine.start(request).await.unwrap().id
    }

    pub(crate) async fn end_of(&self, id: WorkflowId) -> Execution {
        tokio::time::timeout(PATIENCE, Box::pin(self.engine.wait(id))).await.unwrap().unwrap()
    }

    /// With the inbox and a table that each effect adds a row to.
    pub(crate) async fn pool(&self) -> Pool {
        let pool = pool_of(self.database.url());
        let mut client = pool.get().await.unwrap();
        oms_conductor::migrate(&mut client).await.unwrap();
        let table = "CREATE TABLE IF NOT EXISTS acted (idempotency_key text NOT NULL)";
        client.batch_execute(table).await.unwrap();
        drop(client);
        pool
    }

    pub(crate) async fn pool_client(&self) -> deadpool_postgres::Object {
        pool_of(self.database.url()).get().await.unwrap()
    }
}

pub(crate) fn pool_of(url: &str) -> Pool {
    Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).max_size(8).build().unwrap()
}

/// Returns when it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

type Ran = Result<Value, TaskError>;

/// The task `work`, as a closure.
pub(crate) struct Work<F>(F);

pub(crate) const fn work<F>(does: F) -> Work<F>
where
    F: Fn(TaskContext) -> BoxFuture<'static, Ran> + Send + Sync + 'static,
{
    Work(does)
}

impl<F> Task for Work<F>
where
    F: Fn(TaskContext) -> BoxFuture<'static, Ran> + Send + Sync + 'static,
{
    const NAME: &'static str = "work";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, input: Value) -> Ran {
        assert_eq!(input, json!({ "n": 7 }));
        (self.0)(cx.clone()).await
    }
}

/// The transactional task `work`: it adds a row, and then does what the closure does.
pub(crate) struct Writes<F>(F);

pub(crate) const fn writes<F>(does: F) -> Writes<F>
where
    F: Fn(TaskContext) -> BoxFuture<'static, Ran> + Send + Sync + 'static,
{
    Writes(does)
}

impl<F> TransactionalTask for Writes<F>
where
    F: Fn(TaskContext) -> BoxFuture<'static, Ran> + Send + Sync + 'static,
{
    const NAME: &'static str = "work";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, tx: &Transaction<'_>, _: Value) -> Ran {
        let sql = "INSERT INTO acted (idempotency_key) VALUES ($1)";
        tx.execute(sql, &[&cx.idempotency_key()]).await?;
        (self.0)(cx.clone()).await
    }
}
