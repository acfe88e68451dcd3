//! The processes that do the work, and what becomes of them.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oms_engine::Engine;
use oms_tasks::OrderTasks;
use oms_tasks::fulfilment::FulfilmentOptions;
use oms_tasks::sandbox::SandboxClient;

use super::{Failure, Plan, Random, pool};

const URL: &str = "OMS_STORM_URL";
const SANDBOX: &str = "OMS_STORM_SANDBOX";
/// How long a call waits for an answer that does not come.
const PORT_DEADLINE: Duration = Duration::from_secs(1);
/// Between two kills, in milliseconds.
const KILLS_MS: (u64, u64) = (300, 1_500);

/// Whether this process was started to work.
pub(crate) fn is_worker() -> bool {
    std::env::var_os(URL).is_some()
}

/// Works until it is killed, or whoever started it is gone.
pub(crate) async fn work() -> Result<(), Failure> {
    let given = |name| std::env::var_os(name).and_then(|text| text.into_string().ok());
    let (Some(url), Some(sandbox)) = (given(URL), given(SANDBOX)) else {
        return Err("a worker needs a database and a sandbox".into());
    };
    let port = Arc::new(SandboxClient::new(sandbox.parse()?).with_deadline(PORT_DEADLINE));
    let tasks = OrderTasks { pool: pool(&url)?, gateway: port.clone(), carrier: port };
    let mut options = FulfilmentOptions::default();
    options.back_order_poll = Duration::from_secs(5);
    let engine = tasks.register_v2(Engine::builder(&url), &options).build().await?;
    let gone = tokio::task::spawn_blocking(|| {
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    });
    gone.await?;
    drop(engine);
    Ok(())
}

/// All of them; they are killed when this is dropped.
pub(crate) struct Workers {
    url: String,
    sandbox: SocketAddr,
    children: Mutex<Vec<Child>>,
    kills: Arc<AtomicU64>,
}

impl Workers {
    pub(crate) fn start(
        plan: &Plan,
        worker: &impl Fn() -> Result<Command, Failure>,
        url: &str,
        sandbox: SocketAddr,
    ) -> Result<Self, Failure> {
        let (children, kills) = (Mutex::default(), Arc::default());
        let workers = Self { url: url.to_owned(), sandbox, children, kills };
        for _ in 0..plan.workers {
            workers.add(worker)?;
        }
        Ok(workers)
    }

    /// How many were killed so far.
    pub(crate) fn kills(&self) -> Arc<AtomicU64> {
        self.kills.clone()
    }

    fn add(&self, worker: &impl Fn() -> Result<Command, Failure>) -> Result<(), Failure> {
        let mut command = worker()?;
        command.env(URL, &self.url).env(SANDBOX, self.sandbox.to_string());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        Ok(())
    }

    /// Kills one after the other by SIGKILL, and puts another in its place. It returns only where that
    /// fails.
    pub(crate) async fn are_killed<T>(
        &self,
        worker: &impl Fn() -> Result<Command, Failure>,
        mut random: Random,
    ) -> Result<T, Failure> {
        loop {
            tokio::time::sleep(random.millis(KILLS_MS.0, KILLS_MS.1)).await;
            let victim = {
                let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
                let many = u64::try_from(children.len()).unwrap_or(1).max(1);
                let at = usize::try_from(random.below(many)).unwrap_or(0);
                (at < children.len()).then(|| children.swap_remove(at))
            };
            let Some(mut victim) = victim else { return Err("there is no worker".into()) };
            if let Some(status) = victim.try_wait()? {
                return Err(format!("a worker ended by itself: {status}").into());
            }
            victim.kill()?;
            victim.wait()?;
            self.kills.fetch_add(1, Ordering::Relaxed);
            self.add(worker)?;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let children =
            std::mem::take(self.children.get_mut().unwrap_or_else(PoisonError::into_inner));
        for mut child in children {
            // One that has ended by itself cannot be killed.
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}
