//! A worker process: this test binary, started again in that role.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool};
use oms_conductor::{Conductor, Worker};
use oms_tasks::OrderTasks;
use oms_tasks::sandbox::SandboxClient;
use tokio_postgres::NoTls;

const SERVER: &str = "OMS_TEST_CONDUCTOR";
const DATABASE: &str = "OMS_TEST_DATABASE";
const SANDBOX: &str = "OMS_TEST_SANDBOX";

pub(crate) struct Launch {
    pub(crate) server: String,
    pub(crate) database: String,
    pub(crate) sandbox: SocketAddr,
}

/// It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Launch {
    /// Starts it, and returns when it polls.
    pub(crate) fn start(&self) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker::works_when_it_is_told_to", "--nocapture"])
            .env(SERVER, &self.server)
            .env(DATABASE, &self.database)
            .env(SANDBOX, self.sandbox.to_string())
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
        Process { child, _said: said }
    }
}

impl Process {
    /// Ends it with SIGKILL. Out: what it was called.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        format!("w{}", self.child.id())
    }

    /// Has it stop by itself.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error is a worker that has ended already.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

fn worker(
    server: &str,
    database: &str,
    sandbox: SocketAddr,
) -> Result<Worker, oms_conductor::Error> {
    let manager = Manager::new(database.parse().unwrap(), NoTls);
    let pool = Pool::builder(manager).max_size(16).build().unwrap();
    let port = Arc::new(SandboxClient::new(sandbox).with_deadline(Duration::from_secs(1)));
    let tasks = OrderTasks { pool: pool.clone(), gateway: port.clone(), carrier: port };
    let builder = Worker::builder(Conductor::builder(server).build()?)
        .name(format!("w{}", std::process::id()))
        .poll_wait(Duration::from_millis(500))
        .concurrency(4)
        .database(pool);
    tasks.register(builder).start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_when_it_is_told_to() {
    let (Some(server), Some(database), Some(sandbox)) =
        (text(SERVER), text(DATABASE), text(SANDBOX))
    else {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        let refused = worker("not a url", "postgres://localhost/x", nowhere).unwrap_err();
        assert!(matches!(refused, oms_conductor::Error::Config(_)), "{refused}");
        return;
    };
    // RUST_LOG shows what goes on in it.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let worker = worker(&server, &database, sandbox.parse().unwrap()).unwrap();
    println!("@works");
    std::io::stdout().flush().unwrap();
    // Until it is killed, told to stop, or whoever started it is gone.
    let told = || std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    tokio::task::spawn_blocking(told).await.unwrap();
    worker.stop(Duration::from_secs(20)).await;
}
