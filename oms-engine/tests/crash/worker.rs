//! A worker process: this test binary, started again in that role; and the tasks it runs.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oms_engine::tokio_postgres::Transaction;
use oms_engine::{
    Engine, EngineBuilder, PollRequest, Task, TaskContext, TaskError, TransactionalBatchTask,
    TransactionalTask,
};
use serde_json::{Value, json};

use crate::witness;

const URL: &str = "OMS_TEST_WORKER_URL";
const WITNESS: &str = "OMS_TEST_WORKER_WITNESS";
const LIMIT_MS: &str = "OMS_TEST_WORKER_LIMIT_MS";
const POLLS: &str = "OMS_TEST_WORKER_POLLS";
const CONCURRENCY: &str = "OMS_TEST_WORKER_CONCURRENCY";
const WORK_ALONE: &str = "OMS_TEST_WORKER_WORK_ALONE";

/// Says that it runs, and ends: not before as many kills as its input asks for, so that however
/// quick the machine is, there is work for all of them.
pub(crate) struct Work(pub(crate) PathBuf);

impl Task for Work {
    const NAME: &'static str = "work";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, input: Value) -> Result<Value, TaskError> {
        witness::append(&self.0, &cx.task_id().to_string());
        let kills = input["after_kills"].as_u64().unwrap_or(0);
        while witness::kills(&self.0) < kills {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pause(&input).await;
        Ok(json!({"value": 1}))
    }
}

/// Holds its lease until it is killed, when it runs for the first time.
pub(crate) struct Hold(pub(crate) PathBuf);

impl Task for Hold {
    const NAME: &'static str = "hold";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        let task_id = cx.task_id().to_string();
        let first = !witness::read(&self.0).iter().any(|seen| seen.task_id == task_id);
        witness::append(&self.0, &task_id);
        if first {
            cx.cancelled().await;
        }
        Ok(json!({"value": 1}))
    }
}

/// Takes a second, whether it is wanted or not.
pub(crate) struct Stall(pub(crate) PathBuf);

impl Task for Stall {
    const NAME: &'static str = "stall";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        witness::append(&self.0, &cx.task_id().to_string());
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(json!({"value": 1}))
    }
}

/// Writes a row in the step's own transaction. Nothing but the engine keeps it from being twice.
pub(crate) struct Book(pub(crate) PathBuf);

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Value,
    ) -> Result<Value, TaskError> {
        let task_id = cx.task_id().to_string();
        witness::append(&self.0, &task_id);
        tx.execute("INSERT INTO public.effects (task_id) VALUES ($1)", &[&task_id]).await?;
        pause(&input).await;
        Ok(json!({"value": 1}))
    }
}

/// As [`Book`], for many at once.
pub(crate) struct BookAll(pub(crate) PathBuf);

impl TransactionalBatchTask for BookAll {
    const NAME: &'static str = "book_all";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Value)>,
    ) -> Result<Vec<Result<Value, TaskError>>, TaskError> {
        let ids: Vec<String> = tasks.iter().map(|(cx, _)| cx.task_id().to_string()).collect();
        for id in &ids {
            witness::append(&self.0, id);
        }
        tx.execute("INSERT INTO public.effects (task_id) SELECT unnest($1::text[])", &[&ids])
            .await?;
        let size = tasks.len();
        for (_, input) in &tasks[..1] {
            pause(input).await;
        }
        Ok(tasks.iter().map(|_| Ok(json!({"value": 1, "of": size}))).collect())
    }
}

/// What [`Book`] and [`BookAll`] write to.
pub(crate) const EFFECTS: &str = "CREATE TABLE public.effects (task_id text NOT NULL)";

/// As long as the workflow's input asks for, so that faults meet work in flight.
async fn pause(input: &Value) {
    tokio::time::sleep(Duration::from_millis(input["from_start"].as_u64().unwrap_or(0))).await;
}

/// An engine with all tasks of these tests.
pub(crate) fn with_tasks(builder: EngineBuilder, witness: &std::path::Path) -> EngineBuilder {
    builder
        .task(Work(witness.to_owned()))
        .task(Hold(witness.to_owned()))
        .task(Stall(witness.to_owned()))
        .transactional_task(Book(witness.to_owned()))
        .transactional_batch_task(BookAll(witness.to_owned()))
}

/// A running worker process. It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    _said: BufReader<std::process::ChildStdout>,
}

/// How a worker is started.
pub(crate) struct Launch {
    url: String,
    witness: PathBuf,
    limit: Duration,
    concurrency: usize,
    polls: &'static str,
    work_alone: bool,
}

impl Launch {
    pub(crate) fn new(url: &str, witness: &witness::Witness) -> Self {
        Self {
            url: url.to_owned(),
            witness: witness.path().to_owned(),
            limit: Duration::from_secs(10),
            concurrency: 256,
            polls: "",
            work_alone: false,
        }
    }

    /// It has no tasks of its own: it takes one for a worker outside, and that reaches it or not.
    pub(crate) fn polls(mut self, reaches: bool) -> Self {
        self.polls = if reaches { "delivered" } else { "on its way" };
        self
    }

    /// Of the tasks it has [`Work`] alone.
    pub(crate) fn work_alone(mut self) -> Self {
        self.work_alone = true;
        self
    }

    /// After what silence it is taken for dead.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Starts it, and returns when it works.
    pub(crate) fn start(&self) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker::works_when_it_is_told_to", "--nocapture"])
            .env(URL, &self.url)
            .env(WITNESS, &self.witness)
            .env(LIMIT_MS, self.limit.as_millis().to_string())
            .env(CONCURRENCY, self.concurrency.to_string())
            .env(POLLS, self.polls)
            .env(WORK_ALONE, u8::from(self.work_alone).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("@works") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the worker ended without a word");
        }
        Worker { child, _said: said }
    }
}

impl Worker {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill {name}");
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn shut_down(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error is a worker that was killed already.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

async fn play(url: OsString) -> Result<(), oms_engine::Error> {
    let witness = PathBuf::from(std::env::var_os(WITNESS).unwrap_or_default());
    let limit = Duration::from_millis(number(LIMIT_MS).unwrap_or(10_000));
    let concurrency = usize::try_from(number(CONCURRENCY).unwrap_or(256)).unwrap();
    let builder = Engine::builder(url.to_str().unwrap())
        .name(&format!("w{}", std::process::id()))
        .concurrency(concurrency)
        .heartbeat((limit / 3).min(Duration::from_secs(1)), limit);
    let polls = std::env::var_os(POLLS).and_then(|polls| polls.into_string().ok());
    let polls = polls.unwrap_or_default();
    let builder = match (polls.as_str(), number(WORK_ALONE)) {
        ("", Some(1)) => builder.task(Work(witness.clone())),
        ("", _) => with_tasks(builder, &witness),
        _ => builder,
    };
    let engine = builder.build().await?;
    println!("@works");
    std::io::stdout().flush().unwrap();
    if !polls.is_empty() {
        let request = PollRequest::new("work", "far").wait(Duration::from_secs(60));
        let polled = engine.poll(&request).await?;
        let task_id = polled.tasks()[0].task_id.clone();
        let mut on_its_way = Some(polled);
        if polls == "delivered" {
            on_its_way.take().unwrap().delivered();
        }
        witness::append(&witness, &task_id);
        std::future::pending::<()>().await;
        drop(on_its_way);
    }
    // Until it is killed, or whoever started it is.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap())
        .await
        .unwrap();
    engine.shutdown(Duration::from_secs(20)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_when_it_is_told_to() {
    let Some(url) = std::env::var_os(URL) else {
        let refused = play("not a url".into()).await.unwrap_err();
        assert!(matches!(refused, oms_engine::Error::Config(_)), "{refused}");
        return;
    };
    // RUST_LOG shows what goes on in it.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    play(url).await.unwrap();
}
