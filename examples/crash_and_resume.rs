//! Kills its own worker process with SIGKILL in the middle of an order and shows that another
//! one finishes it, charged once.
//!
//! `cargo run --example crash_and_resume`. Three processes: this one places the order, the
//! sandbox has the gateway's ledger (the witness), a worker runs the tasks. The card's first
//! charge is done and never answered, so that the worker dies between the charge and its answer.

#![expect(clippy::print_stdout, reason = "shows what happens")]

#[path = "shop/mod.rs"]
mod shop;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oms_engine::{Engine, StartRequest, WorkflowId};
use oms_tasks::order_summary;
use oms_tasks::sandbox::{Ledger, serve};
use shop::{Failure, Shop};

/// How long a step of the show may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["worker", url, address] => work(url, address).await,
        ["sandbox", ledger] => sandbox(Path::new(ledger)).await,
        [] => show().await,
        _ => Err("usage: crash_and_resume (it starts its other processes by itself)".into()),
    }
}

/// Runs the order tasks until it is killed, or whoever started it ends.
async fn work(url: &str, address: &str) -> Result<(), Failure> {
    let engine = shop::engine(url, Shop::pool(url)?, address.parse()?).await?;
    println!("ready");
    until_stdin_closes().await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn sandbox(ledger: &Path) -> Result<(), Failure> {
    let sandbox = serve(ledger, 0).await?;
    println!("{}", sandbox.address());
    until_stdin_closes().await?;
    sandbox.stop().await;
    Ok(())
}

async fn until_stdin_closes() -> Result<(), Failure> {
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    Ok(())
}

/// A process of this program; killed when this is dropped.
struct Process {
    child: Child,
    /// Its first line.
    said: String,
}

impl Process {
    fn start(args: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let stdout = child.stdout.take().ok_or("a child without standard output")?;
        BufReader::new(stdout).read_line(&mut said)?;
        if said.is_empty() {
            return Err(format!("process {args:?} ended before it was ready").into());
        }
        Ok(Self { child, said: said.trim().to_owned() })
    }

    fn kill(mut self) -> Result<u32, Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            println!("process {} is left behind", self.child.id());
        }
    }
}

/// A folder that goes when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if std::fs::remove_dir_all(&self.0).is_err() {
            println!("{} is left behind", self.0.display());
        }
    }
}

async fn show() -> Result<(), Failure> {
    let shop = Shop::open(|text| println!("{text}")).await?;
    shop.stock("lamp", 1).await?;
    let url = shop.database.url();
    let folder =
        Folder(std::env::temp_dir().join(format!("crash-and-resume-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    let ledger = folder.0.join("ledger.jsonl");
    let ledger_text = ledger.to_str().ok_or("a temporary folder whose name is no text")?;
    let sandbox = Process::start(&["sandbox", ledger_text])?;
    println!("gateway: process {} at {}", sandbox.child.id(), sandbox.said);
    let first = Process::start(&["worker", url, &sandbox.said])?;
    println!("first worker: process {}", first.child.id());

    let engine = Engine::builder(url).build().await?;
    let order_id = format!("order-{}", WorkflowId::new());
    let input = shop::order(&order_id, "lamp", 1, "timeout_after_charge");
    let request =
        StartRequest::new("order_fulfilment").version(1).input(input).idempotency_key(&order_id);
    let id = engine.start(request).await?.id;
    println!("{order_id} placed as workflow {id}");

    until("the gateway has charged", || async {
        Ok(Ledger::read(&ledger).is_ok_and(|ledger| ledger.order(&order_id).charges > 0))
    })
    .await?;
    let pid = first.kill()?;
    let killed = Instant::now();
    println!("the gateway has charged and not answered; worker {pid} is killed with SIGKILL");

    let second = Process::start(&["worker", url, &sandbox.said])?;
    println!("second worker: process {}", second.child.id());
    let run = tokio::time::timeout(PATIENCE, engine.wait(id)).await??;
    println!("workflow {}, {} ms after the kill:", run.status, killed.elapsed().as_millis());
    for task in &run.tasks {
        println!(
            "  {:<22} {:<10} attempt {}  handed out {}x  by {}",
            task.reference_task_name,
            task.status,
            task.retry_count,
            task.poll_count,
            task.worker_id.as_deref().unwrap_or("-")
        );
    }
    let summary = order_summary(&*shop.pool.get().await?, &order_id).await?;
    println!("order {}", summary.map_or_else(|| "unknown".to_owned(), |order| order.status));
    let totals = Ledger::read(&ledger)?.order(&order_id);
    println!(
        "the gateway's ledger: asked to charge {} times, charged {} time, {} minor units",
        totals.charge_calls, totals.charges, totals.charged_minor
    );
    engine.shutdown(Duration::from_secs(5)).await;
    drop(second);
    if totals.charges == 1 { Ok(()) } else { Err("the order was not charged exactly once".into()) }
}

/// Waits until a condition holds.
async fn until<F>(what: &str, condition: impl Fn() -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<bool, Failure>>,
{
    let begun = Instant::now();
    while !condition().await? {
        if begun.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
