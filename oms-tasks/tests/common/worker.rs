//! A worker process: this test binary, started again in that role. It runs the order tasks, and
//! a sender when it is given a file for the messages.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oms_engine::Engine;
use oms_tasks::notifiers::FileNotifier;
use oms_tasks::sender::{Sender, SenderOptions};
use tokio_util::sync::CancellationToken;

use super::tasks;

const URL: &str = "OMS_TEST_WORKER_URL";
const SANDBOX: &str = "OMS_TEST_WORKER_SANDBOX";
const MESSAGES: &str = "OMS_TEST_WORKER_MESSAGES";
const LIMIT_MS: &str = "OMS_TEST_WORKER_LIMIT_MS";

/// Tasks of a worker at once: so many that some go together, so few that they take their time.
const CONCURRENCY: usize = 24;

/// How a worker is started.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) url: String,
    pub(crate) sandbox: SocketAddr,
    /// Where its sender writes; none: it has no sender.
    pub(crate) messages: Option<PathBuf>,
    /// After what silence it is taken for dead.
    pub(crate) limit: Duration,
}

/// A running worker process. It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Launch {
    /// Starts it, and returns when it works.
    pub(crate) fn start(&self) -> Worker {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "common::worker::works_when_it_is_told_to", "--nocapture"])
            .env(URL, &self.url)
            .env(SANDBOX, self.sandbox.to_string())
            .env(LIMIT_MS, self.limit.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(messages) = &self.messages {
            command.env(MESSAGES, messages);
        }
        let mut child = command.spawn().unwrap();
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
    /// Its name in `oms_engine.sessions`.
    pub(crate) fn name(&self) -> String {
        format!("w{}", self.child.id())
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success(), "kill {name}");
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

fn text(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

async fn play(url: OsString) -> Result<(), oms_engine::Error> {
    let url = url.into_string().unwrap();
    let limit = text(LIMIT_MS).and_then(|ms| ms.parse().ok()).unwrap_or(10_000);
    let limit = Duration::from_millis(limit);
    let builder = Engine::builder(&url)
        .name(&format!("w{}", std::process::id()))
        .concurrency(CONCURRENCY)
        .heartbeat((limit / 3).min(Duration::from_secs(1)), limit);
    let sandbox = text(SANDBOX).and_then(|address| address.parse().ok());
    let builder = match sandbox {
        Some(sandbox) => tasks(&url, sandbox).register(builder),
        None => builder,
    };
    let _engine = builder.build().await?;
    if let (Some(messages), Some(sandbox)) = (text(MESSAGES), sandbox) {
        let notifier = Arc::new(FileNotifier::open(messages.as_ref()).unwrap());
        let sender = Sender::new(tasks(&url, sandbox).pool, notifier, SenderOptions::default());
        tokio::spawn(async move { sender.run(CancellationToken::new()).await });
    }
    println!("@works");
    std::io::stdout().flush().unwrap();
    // Until it is killed, or whoever started it is.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap())
        .await
        .unwrap();
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
