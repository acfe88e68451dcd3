//! How many tasks end, counted from the history within bounds.
//!
//! New rows stand at the end of the table, until old runs are removed: then in the room that these
//! left. Where the table grows fast, its index by time lags behind (it is summarised by autovacuum),
//! but its last blocks hold what is asked for. Where it does not, the index finds it.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;

use super::Engine;
use super::find::was_stopped;
use crate::error::Error;
use crate::store::{EndedCount, Rented, Store};

/// Over what is counted, the shorter ones where more than [`ROWS_MAX`] ended in the longer ones.
const STRETCHES: [Duration; 3] = [STRETCH_MAX, Duration::from_secs(20), Duration::from_secs(1)];
const STRETCH_MAX: Duration = Duration::from_secs(300);
/// A shorter stretch says too little.
const STRETCH_MIN: Duration = Duration::from_millis(100);
/// Rows that are found by the index.
const ROWS_MAX: i64 = 20_000;
/// Blocks at the end of the table that are read, and those of them by which it is told how old they are.
const TAIL_BLOCKS: i64 = 500;
const BLOCKS_OF_AGE: i64 = 16;
/// After so long the database stops to count.
const COUNT_MAX: Duration = Duration::from_millis(300);

/// How many tasks ended lately.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Throughput {
    /// Over what was counted: five minutes, or less where so many ended that these are not counted.
    pub over: Duration,
    /// By queue: attempts that a worker had and that ended in that time, in whatever way.
    pub ended: BTreeMap<String, i64>,
}

impl Throughput {
    fn of(over: Duration, counts: Vec<EndedCount>) -> Self {
        let own = |one: &EndedCount| one.ended > 0 && !one.queue.starts_with('$');
        let counts = counts.into_iter().filter(own).map(|one| (one.queue, one.ended));
        Self { over, ended: counts.collect() }
    }
}

impl Engine {
    /// Counts the tasks that ended lately, by queue. However large the history and whatever its
    /// statistics say, it reads some ten thousand rows at most: ask for it each few seconds, not for
    /// each who wants to know.
    ///
    /// # Errors
    /// When the database cannot be reached, or does not answer in time.
    pub async fn throughput(&self) -> Result<Throughput, Error> {
        let core = self.inner.shared.core.clone();
        let pool = self.inner.search_pool.clone();
        self.on_own_threads(async move {
            let mut client = Rented::from(&pool, "getting a connection to count").await?;
            let done = count(&core.store, client.client()?).await;
            client.settle(done)
        })
        .await
    }
}

async fn count(store: &Store, client: &mut ClientWrapper) -> Result<Throughput, Error> {
    let tx = store.begin_count(client, COUNT_MAX).await?;
    let first = (store.history_blocks(&tx).await? - TAIL_BLOCKS).max(0);
    let whole = first == 0;
    let age = store.ended_in_blocks(&tx, (first, first + BLOCKS_OF_AGE)).await?;
    let grew_in = age.filter(|age| !whole && *age < STRETCH_MAX);
    if whole || grew_in.is_some() {
        let over = grew_in.unwrap_or(STRETCH_MAX).max(STRETCH_MIN);
        let counts = store.count_in_tail(&tx, first, over).await?;
        store.commit(tx).await?;
        return Ok(Throughput::of(over, counts));
    }
    store.commit(tx).await?;
    for over in STRETCHES {
        let tx = store.begin_count(client, COUNT_MAX).await?;
        let counts = match store.count_ended(&tx, over, ROWS_MAX).await {
            Ok(counts) => counts,
            // Much of the table is not summarised, hence was written lately: to its end.
            Err(error) if was_stopped(&error) => break,
            Err(error) => return Err(error),
        };
        store.commit(tx).await?;
        if counts.iter().map(|one| one.read).sum::<i64>() < ROWS_MAX {
            return Ok(Throughput::of(over, counts));
        }
    }
    let tx = store.begin_count(client, COUNT_MAX).await?;
    let counts = store.count_in_tail(&tx, first, STRETCH_MAX).await?;
    store.commit(tx).await?;
    Ok(Throughput::of(STRETCH_MAX, counts))
}
