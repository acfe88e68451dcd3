//! The limit: the least that a durable engine must do on the engine's own tables, with no engine
//! around it. A ready task is claimed with SKIP LOCKED; each step's output is durable before the
//! next step starts; a batch of steps is one statement.

pub(crate) mod orders;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oms_engine::WorkflowId;
use oms_engine::tokio_postgres::Client;
use session::Session;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::measure::figures::{figure, value};
use crate::measure::linear::{LINEAR5, Line};
use crate::measure::place::{Database, Place};
use crate::measure::{Failure, Figures, check, float};

/// How the work is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) batch: usize,
}

const CONNECTIONS: [usize; 4] = [1, 2, 4, 8];
const BATCHES: [usize; 3] = [100, 200, 500];
/// For work with few runs under way: more connections make smaller batches.
pub(crate) const CONNECTIONS_OF_FEW: usize = 2;
/// Starts of one statement, as the engine's.
const CHUNK: usize = 1_000;
/// A connection that found nothing looks again so soon.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Makes the engine's tables.
pub(crate) async fn migrate(client: &Client) -> Result<(), Failure> {
    Ok(client.batch_execute(&oms_engine::migration_sql("oms_engine")?).await?)
}

/// Tries every shape; gives what each did, best first.
pub(crate) async fn sweep(
    place: &Place,
    runs: usize,
    mut done: impl FnMut(Shape),
) -> Result<Vec<(Shape, Figures)>, Failure> {
    let mut all = Vec::new();
    for connections in CONNECTIONS {
        for batch in BATCHES {
            let shape = Shape { connections, batch };
            let database = place.database().await?;
            migrate(database.client()).await?;
            all.push((shape, drain(&database, LINEAR5, runs, shape).await?));
            database.drop().await?;
            done(shape);
        }
    }
    let rate = |figures: &Figures| value(figures, "workflows per second");
    all.sort_by(|a, b| rate(&b.1).total_cmp(&rate(&a.1)));
    Ok(all)
}

/// All are started by one connection while the others work them off. The time runs from the first
/// start to the commit of the last end.
pub(crate) async fn drain(
    database: &Database<'_>,
    line: Line,
    runs: usize,
    shape: Shape,
) -> Result<Figures, Failure> {
    let starter = Session::open(database.url(), line, 0).await?;
    let mut sessions = Vec::new();
    for holder in 1..=shape.connections {
        sessions.push(Session::open(database.url(), line, i64::try_from(holder)?).await?);
    }
    let begun = database.begin().await?;
    let all_started = Arc::new(AtomicBool::new(false));
    let mut at_work = JoinSet::new();
    for mut session in sessions {
        let (all_started, batch) = (all_started.clone(), shape.batch);
        at_work.spawn(async move {
            loop {
                let last_look = all_started.load(Ordering::Acquire);
                match session.step(batch).await? {
                    0 if last_look => return Ok::<(), Failure>(()),
                    0 => tokio::time::sleep(LOOK_AGAIN).await,
                    _ => {}
                }
            }
        });
    }
    for chunk in (0..runs).collect::<Vec<_>>().chunks(CHUNK) {
        starter.start(chunk).await?;
    }
    all_started.store(true, Ordering::Release);
    while let Some(done) = at_work.join_next().await {
        done??;
    }
    finish(database, &begun, line, runs).await
}

/// So many are under way at any time, spread over the connections. A connection takes its runs
/// through all steps together, which makes the largest batches that so many can make.
pub(crate) async fn steady(
    database: &Database<'_>,
    runs: usize,
    at_once: usize,
    connections: usize,
) -> Result<Figures, Failure> {
    let line = LINEAR5;
    let mut sessions = Vec::new();
    for holder in 1..=connections {
        sessions.push(Session::open(database.url(), line, i64::try_from(holder)?).await?);
    }
    let begun = database.begin().await?;
    let mut at_work = JoinSet::new();
    for (number, mut session) in sessions.into_iter().enumerate() {
        let own: Vec<usize> = (0..runs).filter(|run| run % connections == number).collect();
        let at_once = at_once / connections;
        at_work.spawn(async move {
            for chunk in own.chunks(at_once) {
                session.start_and_hold(chunk).await?;
                while session.step(0).await? > 0 {}
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = at_work.join_next().await {
        done??;
    }
    finish(database, &begun, line, runs).await
}

/// One run at a time, each statement sent when the one before has been answered: a start and the
/// end of each step.
pub(crate) struct OneByOne(Session);

/// What a run took, in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) start: f64,
    pub(crate) whole: f64,
}

impl OneByOne {
    pub(crate) async fn open(database: &Database<'_>, line: Line) -> Result<Self, Failure> {
        Ok(Self(Session::open(database.url(), line, 1).await?))
    }

    pub(crate) async fn run(&mut self, n: usize) -> Result<Took, Failure> {
        let at = Instant::now();
        let millis = || at.elapsed().as_secs_f64() * 1e3;
        self.0.start_and_hold(&[n]).await?;
        let start = millis();
        while self.0.step(0).await? > 0 {}
        Ok(Took { start, whole: millis() })
    }
}

async fn finish(
    database: &Database<'_>,
    begun: &crate::measure::place::Begun,
    line: Line,
    runs: usize,
) -> Result<Figures, Failure> {
    let used = database.used(begun, float(runs * line.steps.len())).await?;
    let mut figures = vec![(figure("workflows per second", "/s"), float(runs) / used.seconds)];
    figures.extend(used.figures());
    figures.extend(check::durations(database.client(), line).await?);
    check::line(database.client(), line, runs).await?;
    Ok(figures)
}

fn ids(n: usize) -> Vec<Uuid> {
    (0..n).map(|_| WorkflowId::new().as_uuid()).collect()
}
