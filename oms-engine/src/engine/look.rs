//! What people look at beside runs: what has changed, queues, engines.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Engine, connection};
use crate::error::Error;
use crate::ids::WorkflowId;
use crate::telemetry::{Depth, depths, unanswered};

/// The most runs that one look for changes takes.
const WATCHED_MAX: usize = 10_000;

/// Numbers that are others when something has changed; what they are says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulse {
    /// Of all starts.
    pub starts: i64,
    /// Of each run that there is.
    pub runs: HashMap<WorkflowId, i64>,
}

/// A queue that holds something.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueueState {
    /// `[domain:]type`.
    pub name: String,
    /// Tasks that wait for a worker.
    pub ready: i64,
    /// Since when the oldest of these is scheduled.
    pub oldest: Option<Duration>,
    /// Tasks that workers have.
    pub leased: i64,
    /// Tasks that are ready after a delay.
    pub delayed: i64,
}

/// An engine that the database knows: a process that takes tasks, or took them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EngineState {
    /// The number of its session.
    pub session: i64,
    /// Its name.
    pub name: String,
    /// The version of what it understands of the tables.
    pub version: i32,
    /// Since when it runs.
    pub started: DateTime<Utc>,
    /// How old its last sign of life is.
    pub silent_for: Duration,
    /// When it was taken for dead.
    pub dead_since: Option<DateTime<Utc>>,
    /// Tasks that are leased to it, by queue.
    pub held: BTreeMap<String, i64>,
}

impl Engine {
    /// Looks for changes: of these runs, and whether runs were started. Of two looks that are equal
    /// nothing has changed in between that [`get`](Self::get) would show, but for lines of logs.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for more than 10,000 runs.
    pub async fn pulse(&self, runs: &[WorkflowId]) -> Result<Pulse, Error> {
        if runs.len() > WATCHED_MAX {
            let why = format!("has {} values, at most {WATCHED_MAX}", runs.len());
            return Err(Error::invalid("runs", why));
        }
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let runs = runs.to_vec();
        let found = self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = core.store.load_pulses(client.client()?, &runs).await;
            client.settle(done)
        });
        let mut pulse = Pulse::default();
        for (id, number) in found.await? {
            match id {
                Some(id) => drop(pulse.runs.insert(id, number)),
                None => pulse.starts = number,
            }
        }
        Ok(pulse)
    }

    /// The queues that hold something, by name. It reads all open tasks, which takes about a
    /// millisecond for a thousand of them.
    ///
    /// # Errors
    /// When the database cannot be reached, or takes longer than half the engine's deadline.
    pub async fn queues(&self) -> Result<Vec<QueueState>, Error> {
        let core = self.inner.shared.core.clone();
        let limit = self.inner.shared.config.deadline / 2;
        let pool = self.inner.pool.clone();
        let rows = self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = async {
                // Planned as a search, which may read a table whole: this reads all of it.
                let tx = core.store.begin_search(client.client()?, limit).await?;
                let rows = core.store.list_queues(&tx).await?;
                core.store.commit(tx).await?;
                Ok(rows)
            };
            let done = done.await;
            client.settle(done)
        });
        let state = |row: crate::store::QueueRow| QueueState {
            name: row.queue,
            ready: row.ready,
            oldest: row.oldest,
            leased: row.leased,
            delayed: row.delayed,
        };
        Ok(rows.await?.into_iter().map(state).collect())
    }

    /// Looks at the queues once, and tells the recorder of metrics how full they are: the gauges of
    /// [`telemetry::METRICS`](crate::telemetry::METRICS). Call it before a scrape, not more often
    /// than each few seconds: it reads all open tasks.
    ///
    /// # Errors
    /// When the database cannot be reached, of which the recorder is told too.
    pub async fn measure_queues(&self) -> Result<(), Error> {
        let found = self.queues().await.inspect_err(|_| unanswered())?;
        depths(found.iter().map(|queue| Depth {
            queue: &queue.name,
            ready: queue.ready,
            leased: queue.leased,
            delayed: queue.delayed,
            oldest: queue.oldest.unwrap_or_default(),
        }));
        Ok(())
    }

    /// The engines that the database knows, in the order in which they began.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn engines(&self) -> Result<Vec<EngineState>, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.pool.clone();
        let rows = self.on_own_threads(async move {
            let mut client = connection(&pool).await?;
            let done = core.store.list_sessions(client.client()?).await;
            client.settle(done)
        });
        let state = |row: crate::store::SessionRow| EngineState {
            session: row.id,
            name: row.name,
            version: row.version,
            started: row.started_at,
            silent_for: row.silent_for,
            dead_since: row.dead_at,
            held: row.held.into_iter().collect(),
        };
        Ok(rows.await?.into_iter().map(state).collect())
    }
}
