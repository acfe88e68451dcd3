//! An engine in a process of its own: this test binary, started again in that role. It exports its spans.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use oms_engine::tokio_postgres::Transaction;
use oms_engine::{Engine, Task, TaskContext, TaskError, TransactionalTask};
use oms_server::Traces;
use serde_json::{Value, json};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

const URL: &str = "OMS_TEST_TRACES_URL";
const COLLECTOR: &str = "OMS_TEST_TRACES_COLLECTOR";
const ROLE: &str = "OMS_TEST_TRACES_ROLE";
const FOLDER: &str = "OMS_TEST_TRACES_FOLDER";

/// Of the first role; so is its undoing.
struct Book;

impl TransactionalTask for Book {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        _: &TaskContext,
        _: &Transaction<'_>,
        _: Value,
    ) -> Result<Value, TaskError> {
        tracing::info_span!(target: "oms_test", "inside").in_scope(|| ());
        Ok(json!({}))
    }
}

struct Unbook;

impl Task for Unbook {
    const NAME: &'static str = "unbook";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, _: Value) -> Result<Value, TaskError> {
        Ok(json!({}))
    }
}

/// Of the second role: when it runs for the first time, it holds its lease until its process is killed.
struct Hold(PathBuf);

impl Task for Hold {
    const NAME: &'static str = "hold";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, _: Value) -> Result<Value, TaskError> {
        if !self.0.exists() {
            std::fs::write(&self.0, "").unwrap();
            cx.cancelled().await;
        }
        Ok(json!({}))
    }
}

struct Refuse;

impl Task for Refuse {
    const NAME: &'static str = "refuse";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _: &TaskContext, _: Value) -> Result<Value, TaskError> {
        Err(TaskError::terminal("no"))
    }
}

/// Gone with all that is in it when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oms-traces-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A process with an engine. It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    _said: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Worker {
    /// Returns when it works. Role 1 has the tasks that write, role 2 the others.
    pub(crate) fn start(url: &str, collector: &str, role: u32, folder: &Path) -> Self {
        let log = folder.join(format!("log-{role}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker::works_when_it_is_told_to", "--nocapture"])
            .env(URL, url)
            .env(COLLECTOR, collector)
            .env(ROLE, role.to_string())
            .env(FOLDER, folder)
            // Soon, so that spans of a process that is killed later are there.
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("@works") {
            line.clear();
            let told = || std::fs::read_to_string(&log).unwrap();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended without a word: {}", told());
        }
        Self { child, _said: said, log }
    }

    /// What it says for the collector.
    pub(crate) fn instance(&self) -> String {
        format!("w{}", self.child.id())
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it stop by itself. Out: its log.
    pub(crate) fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error is a worker that has ended already.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

fn told(name: &str) -> String {
    std::env::var_os(name).unwrap_or_default().into_string().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_when_it_is_told_to() {
    let name = format!("w{}", std::process::id());
    if told(URL).is_empty() {
        let refused = Traces::to("nowhere", &name).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "\"nowhere\" is no address of a collector: write http://HOST:4318"
        );
        return;
    }
    let traces = Traces::to(&told(COLLECTOR), &name).unwrap();
    let warnings = tracing_subscriber::filter::LevelFilter::WARN;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(warnings);
    tracing_subscriber::registry().with(log).with(traces.layer()).init();
    let builder = Engine::builder(&told(URL))
        .name(&name)
        .heartbeat(Duration::from_millis(200), Duration::from_secs(3));
    let builder = match &*told(ROLE) {
        "1" => builder.transactional_task(Book).task(Unbook),
        _ => builder.task(Hold(PathBuf::from(told(FOLDER)).join("held"))).task(Refuse),
    };
    let engine = builder.build().await.unwrap();
    println!("@works");
    std::io::stdout().flush().unwrap();
    // Until it is told to stop, or whoever started it has ended.
    let ended = || std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    tokio::task::spawn_blocking(ended).await.unwrap();
    engine.shutdown(Duration::from_secs(5)).await;
    tokio::task::spawn_blocking(|| traces.stop()).await.unwrap();
}
