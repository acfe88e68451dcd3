//! This program once more, as a process beside this one that runs an engine.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use oms_engine::{Engine, StartRequest};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, Stdin, stdin};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::measure::Failure;
use crate::scenarios::tasks::{Holds, Stamp, Waits, steps};

/// How long an engine gets to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What the process does; given to it as JSON.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) url: String,
    pub(crate) role: Role,
    pub(crate) concurrency: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Role {
    /// Works until it is told to stop.
    Works,
    /// Starts as many runs as it is told and holds their tasks until it is killed.
    Holds,
}

/// Such a process, as this one sees it. It is killed when this is dropped.
pub(crate) struct Child {
    process: tokio::process::Child,
    told: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts it and waits until its engine is up.
    pub(crate) async fn spawn(job: &Job) -> Result<Self, Failure> {
        let job = serde_json::to_string(job)?;
        Self::of(std::env::current_exe()?, &["--child", &job], &[]).await
    }

    /// Starts a program and waits until it is ready.
    pub(crate) async fn of(
        program: PathBuf,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let mut process = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let told = process.stdin.take().ok_or("a process without standard input")?;
        let says = process.stdout.take().ok_or("a process without standard output")?;
        let mut child = Self { process, told, says: BufReader::new(says).lines() };
        child.until("ready").await?;
        Ok(child)
    }

    pub(crate) fn id(&self) -> Result<u32, Failure> {
        Ok(self.process.id().ok_or("a process that has ended")?)
    }

    pub(crate) async fn tell(&mut self, line: &str) -> Result<(), Failure> {
        self.told.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.told.flush().await?)
    }

    /// Waits until it says this. Nothing is lost when the future is dropped.
    pub(crate) async fn until(&mut self, line: &str) -> Result<(), Failure> {
        while let Some(said) = self.says.next_line().await? {
            if said == line {
                return Ok(());
            }
        }
        Err(format!("a process ended before it said {line:?}").into())
    }

    /// Sends SIGKILL and returns; the process may still be there for a moment.
    pub(crate) fn start_kill(&mut self) -> Result<(), Failure> {
        Ok(self.process.start_kill()?)
    }

    /// Lets its engine stop, and waits for the end.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        drop(self.told);
        self.process.wait().await?;
        Ok(())
    }

    pub(crate) async fn ended(&mut self) -> Result<(), Failure> {
        self.process.wait().await?;
        Ok(())
    }
}

/// What the process does itself.
pub(crate) async fn run(job: &str) -> Result<(), Failure> {
    let job: Job = serde_json::from_str(job)?;
    let builder = Engine::builder(&job.url).concurrency(job.concurrency);
    let engine = match job.role {
        Role::Works => steps(builder).task(Stamp).task(Waits).build().await?,
        Role::Holds => builder.task(Holds).build().await?,
    };
    say("ready");
    let mut lines = BufReader::new(stdin()).lines();
    if job.role == Role::Holds {
        start_as_told(&engine, &mut lines).await?;
    }
    while lines.next_line().await?.is_some() {}
    engine.shutdown(GRACE).await;
    Ok(())
}

async fn start_as_told(
    engine: &Engine,
    lines: &mut Lines<BufReader<Stdin>>,
) -> Result<(), Failure> {
    while let Some(line) = lines.next_line().await? {
        for _ in 0..line.parse::<usize>()? {
            engine.start(StartRequest::new("held")).await?;
        }
    }
    Ok(())
}

/// Tells the process that started this one.
#[expect(clippy::print_stdout, reason = "read by the process that started this one")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
