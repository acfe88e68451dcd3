//! One run in a world of its own, and what is seen of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio_postgres::{Client, Statement};

use super::script::{Deed, Kind, Script};
use super::{Failure, KitOptions, Report, Step, Subject};
use crate::advance::Execution;
use crate::definition::{TaskDef, WorkflowDef};
use crate::engine::{Engine, EngineBuilder};
use crate::ids::WorkflowId;
use crate::testkit::TestkitError;
use crate::testkit::admin::{connect, doing};

/// Time-outs are cut to this; an attempt must answer within it on a busy machine.
const TIME_OUT_SECONDS: i64 = 2;
const PAUSE: Duration = Duration::from_millis(15);
const GRACE: Duration = Duration::from_secs(2);

/// Nothing is under way: not a task that is ready or leased, nor one whose time comes soon.
const SETTLED: &str = "SELECT NOT EXISTS (
    SELECT FROM oms_engine.open_tasks
    WHERE state IN (0, 1)
        OR (state = 2 AND due_at < statement_timestamp() + interval '1 minute'))
    AND NOT EXISTS (SELECT FROM oms_engine.events)";
const OPEN: &str =
    "SELECT w.name || ' ' || t.queue || ' ' || t.reference_name || ' state ' || t.state
        || coalesce(' due ' || (t.due_at - statement_timestamp())::text, '')
    FROM oms_engine.open_tasks t LEFT JOIN oms_engine.workflows w ON w.id = t.workflow_id LIMIT 20";
const STUCK: &str = "SELECT w.name || ': ' || s.reason FROM oms_engine.stuck_workflows s
    LEFT JOIN oms_engine.workflows w ON w.id = s.workflow_id";

/// What is registered.
pub(super) struct Definitions {
    tasks: Vec<TaskDef>,
    workflows: Vec<WorkflowDef>,
}

impl Definitions {
    pub(super) fn of(subject: &impl Subject) -> Result<Self, TestkitError> {
        let (tasks, workflows) = subject.definitions().map_err(of_subject("definitions"))?;
        Ok(Self { tasks: tasks.into_iter().map(hurried).collect(), workflows })
    }

    /// Whether attempts of this task have a time that can be up.
    pub(super) fn times_out(&self, task: &str) -> bool {
        let def = self.tasks.iter().find(|def| def.name == task);
        // The time for an answer is for workers outside: one in this process is known to live.
        def.is_some_and(|def| def.timeout_seconds > 0)
    }
}

fn hurried(mut def: TaskDef) -> TaskDef {
    def.retry_delay_seconds = 0;
    def.backoff_jitter_ms = 0;
    // Where both are there, the one for an answer must be the shorter one.
    if def.response_timeout_seconds > 0 {
        def.response_timeout_seconds = def.response_timeout_seconds.min(TIME_OUT_SECONDS);
    }
    if def.timeout_seconds > 0 {
        def.timeout_seconds = def.timeout_seconds.min(TIME_OUT_SECONDS + 1);
    }
    def
}

pub(super) fn of_subject(doing: &'static str) -> impl Fn(Failure) -> TestkitError {
    move |source| TestkitError::Subject { doing, source }
}

pub(super) fn of_engine(doing: &'static str) -> impl Fn(crate::error::Error) -> TestkitError {
    move |error| TestkitError::Subject { doing, source: error.into() }
}

/// A world in which a run was started.
pub(super) struct Trial<'a, S: Subject> {
    subject: &'a S,
    options: &'a KitOptions,
    pub(super) world: S::World,
    /// It runs no task.
    engine: Engine,
    client: Client,
    /// Asked often, so it is planned once.
    is_settled: Statement,
    id: WorkflowId,
}

impl<'a, S: Subject> Trial<'a, S> {
    pub(super) async fn start(
        subject: &'a S,
        options: &'a KitOptions,
        definitions: &Definitions,
    ) -> Result<Self, TestkitError> {
        let world = subject.open().await.map_err(of_subject("opening a world"))?;
        let client = connect(subject.url(&world)).await?;
        let engine = builder(subject.url(&world)).build().await;
        let engine = engine.map_err(of_engine("making an engine"))?;
        let registered = engine.register(&definitions.tasks, &definitions.workflows).await;
        registered.map_err(of_engine("registering the definitions"))?;
        let started = engine.start(subject.request(&world)).await;
        let id = started.map_err(of_engine("starting the run"))?.id;
        let is_settled = client.prepare(SETTLED).await;
        let is_settled = is_settled.map_err(|error| doing("preparing to look at a run", error))?;
        Ok(Self { subject, options, world, engine, client, is_settled, id })
    }

    pub(super) fn url(&self) -> &str {
        self.subject.url(&self.world)
    }

    /// An engine in this process that does the work.
    pub(super) async fn worker(&self, script: &Arc<Script>) -> Result<Engine, TestkitError> {
        let engine = self.subject.furnish(&self.world, builder(self.url()));
        script.furnish(engine).build().await.map_err(of_engine("making an engine with tasks"))
    }

    /// Returns when the run has ended and nothing is under way, or fails with what is.
    pub(super) async fn settled(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        while !self.client.query_one(&self.is_settled, &[]).await?.get::<_, bool>(0) {
            if begun.elapsed() > self.options.patience {
                return Err(format!("under way for long: {:?}", self.said(OPEN).await?).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn said(&self, sql: &str) -> Result<Vec<Option<String>>, Failure> {
        Ok(self.client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    /// Whether nothing stands still, and what the checker says.
    pub(super) async fn looked_at(&self) -> Result<(), Failure> {
        let stuck = self.said(STUCK).await?;
        if !stuck.is_empty() {
            return Err(format!("stuck: {stuck:?}").into());
        }
        let run: Execution = self.engine.get(self.id).await?;
        self.subject.check(&self.world, &run).await
    }

    pub(super) async fn close(self) {
        self.engine.shutdown(GRACE).await;
    }
}

/// An engine that is small, so that many have room side by side, and quick to see that another died.
pub(super) fn builder(url: &str) -> EngineBuilder {
    Engine::builder(url)
        .concurrency(16)
        .pumps(1)
        .pool_size(2)
        .transactional_pool_size(4)
        .poll_interval(Duration::from_secs(2))
        .heartbeat(Duration::from_millis(300), Duration::from_secs(10))
}

/// A run with these deeds done to it, in this process.
pub(super) struct Done {
    /// The deeds, in words.
    pub(super) name: String,
    pub(super) deeds: Vec<(Step, Deed)>,
    pub(super) seen: BTreeMap<Step, Kind>,
    pub(super) hits: usize,
    missed: Vec<Step>,
    complaint: Option<String>,
}

/// Runs all of these, some side by side, and gives what was seen in their order.
pub(super) async fn run_all<S: Subject>(
    subject: &S,
    options: &KitOptions,
    definitions: &Definitions,
    all: Vec<Vec<(Step, Deed)>>,
) -> Result<Vec<Done>, TestkitError> {
    let runs = all.into_iter().map(|deeds| Box::pin(run(subject, options, definitions, deeds)));
    let mut runs = stream::iter(runs).buffered(options.parallel.max(1));
    let mut done = Vec::new();
    while let Some(run) = runs.next().await {
        done.push(run?);
    }
    Ok(done)
}

async fn run<S: Subject>(
    subject: &S,
    options: &KitOptions,
    definitions: &Definitions,
    deeds: Vec<(Step, Deed)>,
) -> Result<Done, TestkitError> {
    let trial = Trial::start(subject, options, definitions).await?;
    let script = Script::new(deeds.clone());
    let worker = trial.worker(&script).await?;
    let looked = async {
        trial.settled().await?;
        script.afterwards().await;
        trial.settled().await?;
        trial.looked_at().await
    };
    let complaint = looked.await.err().map(|failure| failure.to_string());
    worker.shutdown(GRACE).await;
    trial.close().await;
    let (hits, missed) = script.met();
    let name = deeds.iter().map(|(step, deed)| format!("{step} {deed:?}")).collect::<Vec<_>>();
    Ok(Done { name: name.join(", "), deeds, seen: script.seen(), hits, missed, complaint })
}

/// Adds up what was done, and what the checker had against it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) report: Report,
    complaints: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, done: &Done) {
        self.report.runs += 1;
        self.report.hits += done.hits;
        let missed = done.missed.iter().map(|step| format!("{step} in: {}", done.name));
        self.report.missed.extend(missed);
        if let Some(complaint) = &done.complaint {
            self.complain(&done.name, complaint);
        }
    }

    pub(super) fn complain(&mut self, name: &str, complaint: &str) {
        let name = if name.is_empty() { "no fault" } else { name };
        self.complaints.push(format!("{name}: {complaint}"));
    }

    pub(super) fn ended(mut self) -> Result<Report, TestkitError> {
        self.report.steps.sort();
        if self.complaints.is_empty() {
            return Ok(self.report);
        }
        Err(TestkitError::Broken { runs: self.report.runs, complaints: self.complaints })
    }
}
