//! Counting what ended lately.

use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::Row;

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;

/// What ended in a queue.
#[derive(Debug)]
pub(crate) struct EndedCount {
    pub(crate) queue: String,
    /// Rows that were counted.
    pub(crate) read: i64,
    /// Attempts that a worker had.
    pub(crate) ended: i64,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn counts(rows: &[Row]) -> Result<Vec<EndedCount>, Error> {
    let read =
        |row: &Row| Ok(EndedCount { queue: get(row, 0)?, read: get(row, 1)?, ended: get(row, 2)? });
    rows.iter().map(read).collect()
}

impl Store {
    /// As [`begin_search`](Self::begin_search), for what must not read the history whole: with a limit
    /// that looks cheaper to the planner as soon as much of it is new.
    pub(crate) async fn begin_count<'a>(
        &self,
        client: &'a mut ClientWrapper,
        limit: Duration,
    ) -> Result<Transaction<'a>, Error> {
        let tx = self.begin_search(client, limit).await?;
        let sql = "SET LOCAL enable_seqscan = off";
        self.within("beginning to count", tx.batch_execute(sql)).await?;
        Ok(tx)
    }

    pub(crate) async fn history_blocks(&self, db: &impl Executor) -> Result<i64, Error> {
        let rows = self.rows(db, &self.sql.history_blocks, &[], "measuring the history").await?;
        rows.first().map_or(Ok(0), |row| get(row, 0))
    }

    /// How long ago half of the rows of these blocks had ended; none where they hold nothing.
    pub(crate) async fn ended_in_blocks(
        &self,
        db: &impl Executor,
        (first, behind): (i64, i64),
    ) -> Result<Option<Duration>, Error> {
        let sql = &self.sql.ended_in_blocks;
        let rows = self.rows(db, sql, &[&first, &behind], "looking for what ended lately").await?;
        let ago: Option<i64> = rows.first().map_or(Ok(None), |row| get(row, 0))?;
        Ok(ago.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }

    pub(crate) async fn count_in_tail(
        &self,
        db: &impl Executor,
        first: i64,
        within: Duration,
    ) -> Result<Vec<EndedCount>, Error> {
        let sql = &self.sql.count_in_tail;
        counts(&self.rows(db, sql, &[&first, &ms(within)], "counting what ended lately").await?)
    }

    pub(crate) async fn count_ended(
        &self,
        db: &impl Executor,
        within: Duration,
        most: i64,
    ) -> Result<Vec<EndedCount>, Error> {
        let sql = &self.sql.count_ended;
        counts(&self.rows(db, sql, &[&ms(within), &most], "counting what ended lately").await?)
    }
}
