//! The process that does the work is killed at each of its commits.

use std::io::Read as _;
use std::process::Stdio;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::proxy::Proxy;
use super::script::Script;
use super::trial::{Definitions, Tally, Trial, of_engine, of_subject};
use super::{Failure, KitOptions, Report, Subject};
use crate::engine::EngineBuilder;
use crate::testkit::TestkitError;

const URL: &str = "OMS_TESTKIT_WORKER_URL";
/// A run that has not come to its end by then never will.
const COMMITS_MAX: usize = 1_000;

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// The commit has not reached the server, and never does.
    Before,
    /// The server has committed, and the process has not heard.
    Inside,
    /// The process has just heard.
    After,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::Inside, Self::After];
}

/// Has the workflow done by a process of its own ([`Subject::worker`]), and ends that by SIGKILL before,
/// inside and after its first commit, its second, and so on, each in a run of its own, until one comes to
/// its end without. An engine in this process then takes over, and the checker looks.
///
/// The process reaches its database through a proxy that reads along, so it needs nothing for it. A commit
/// is one of a transaction that wrote, or of a statement that can write; those by which an engine only
/// says that it lives do not count.
///
/// # Errors
/// As [`fail_each_step`](super::fail_each_step); [`TestkitError::Worker`] when the process ended by itself.
///
/// # Cancel safety
/// Dropping the future ends all processes and runs.
///
/// # Examples
/// A test that is its own worker:
///
/// ```no_run
/// # use oms_engine::testkit::{Failure, KitOptions, Subject, TestDatabase};
/// # use oms_engine::testkit::{crash_each_commit, work_until_killed, worker_url};
/// # use oms_engine::{Engine, EngineBuilder, Execution, StartRequest, TaskDef, WorkflowDef};
/// # struct Purchase;
/// use std::process::Command;
///
/// impl Subject for Purchase {
///     fn worker(&self, _world: &TestDatabase) -> Result<Command, Failure> {
///         let mut command = Command::new(std::env::current_exe()?);
///         command.args(["--exact", "survives_every_crash"]);
///         Ok(command)
///     }
///     // The rest as for `fail_each_step`.
/// #   type World = TestDatabase;
/// #   fn definitions(&self) -> Result<(Vec<TaskDef>, Vec<WorkflowDef>), Failure> { Ok((vec![], vec![])) }
/// #   async fn open(&self) -> Result<TestDatabase, Failure> { Ok(TestDatabase::migrated().await?) }
/// #   fn url<'a>(&self, world: &'a TestDatabase) -> &'a str { world.url() }
/// #   fn furnish(&self, _world: &TestDatabase, engine: EngineBuilder) -> EngineBuilder { engine }
/// #   fn request(&self, _world: &TestDatabase) -> StartRequest { StartRequest::new("purchase") }
/// #   async fn check(&self, _: &TestDatabase, _: &Execution) -> Result<(), Failure> { Ok(()) }
/// }
///
/// // With #[tokio::test].
/// async fn survives_every_crash() -> Result<(), Box<dyn std::error::Error>> {
///     if let Some(url) = worker_url() {
///         let engine = Engine::builder(&url); // .task(…), as in `furnish`
///         return Ok(work_until_killed(engine).await?);
///     }
///     let report = crash_each_commit(&Purchase, &KitOptions::default()).await?;
///     assert!(report.hits > 3);
///     Ok(())
/// }
/// ```
pub async fn crash_each_commit<S: Subject>(
    subject: &S,
    options: &KitOptions,
) -> Result<Report, TestkitError> {
    let definitions = Definitions::of(subject)?;
    let (mut tally, mut going) = (Tally::default(), Moment::ALL.to_vec());
    let wave = options.parallel.div_ceil(Moment::ALL.len());
    let begin = options.first_commit.max(1);
    let mut first = begin;
    while !going.is_empty() && first - begin < COMMITS_MAX {
        let all: Vec<(usize, Moment)> = (first..first + wave)
            .flat_map(|at| going.iter().map(move |moment| (at, *moment)))
            .collect();
        let runs = all.into_iter().map(|(at, moment)| {
            let run = run(subject, options, &definitions, (at, moment));
            Box::pin(async move { (at, moment, run.await) })
        });
        let mut runs = stream::iter(runs).buffer_unordered(options.parallel.max(1));
        while let Some((at, moment, run)) = runs.next().await {
            let (killed, complaint) = run?;
            tally.report.runs += 1;
            tally.report.hits += usize::from(killed);
            if !killed {
                going.retain(|still| *still != moment);
            }
            if let Some(complaint) = complaint {
                let name = format!("killed {moment:?} commit {at}");
                tally.complain(if killed { &name } else { "" }, &complaint);
            }
        }
        first += wave;
    }
    if !going.is_empty() {
        tally.complain("", &format!("there was no end of commits after {COMMITS_MAX} of them"));
    }
    tally.ended()
}

/// One run. Out: whether its process was killed by a commit, and what is wrong.
async fn run<S: Subject>(
    subject: &S,
    options: &KitOptions,
    definitions: &Definitions,
    (at, moment): (usize, Moment),
) -> Result<(bool, Option<String>), TestkitError> {
    let trial = Trial::start(subject, options, definitions).await?;
    let (proxy, url) = Proxy::before(trial.url(), at, moment).await?;
    let mut command = subject.worker(&trial.world).map_err(of_subject("the worker process"))?;
    let command = command.env(URL, url).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = command
        .spawn()
        .map_err(|error| TestkitError::Worker(format!("starting the worker process: {error}")))?;
    proxy.kills(child);
    let ended = tokio::select! {
        () = proxy.has_killed() => Ok(()),
        settled = trial.settled() => settled,
    };
    if proxy.ended_by_itself() {
        let reason = "the worker process ended by itself; see what it said above";
        return Err(TestkitError::Worker(reason.to_owned()));
    }
    let killed = proxy.end();
    let looked = if killed { taken_over(&trial).await? } else { looked_at(&trial, ended).await };
    trial.close().await;
    Ok((killed, looked.err().map(|failure| failure.to_string())))
}

async fn taken_over<S: Subject>(trial: &Trial<'_, S>) -> Result<Result<(), Failure>, TestkitError> {
    let worker = trial.worker(&Script::new([])).await?;
    let settled = trial.settled().await;
    let looked = looked_at(trial, settled).await;
    worker.shutdown(std::time::Duration::ZERO).await;
    Ok(looked)
}

async fn looked_at<S: Subject>(
    trial: &Trial<'_, S>,
    settled: Result<(), Failure>,
) -> Result<(), Failure> {
    settled?;
    trial.looked_at().await
}

/// Where the database is for a process that [`crash_each_commit`] started; none in any other.
#[must_use]
pub fn worker_url() -> Option<String> {
    std::env::var_os(URL)?.into_string().ok()
}

/// Runs an engine until this process is killed, or whoever started it is gone.
///
/// # Errors
/// [`TestkitError::Subject`] when the engine cannot be made.
///
/// # Cancel safety
/// The engine stops when the future is dropped.
pub async fn work_until_killed(engine: EngineBuilder) -> Result<(), TestkitError> {
    let engine = engine.build().await.map_err(of_engine("making the worker's engine"))?;
    let gone = tokio::task::spawn_blocking(|| {
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    });
    drop(gone.await);
    drop(engine);
    Ok(())
}
