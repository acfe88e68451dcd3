//! Runs that ended long ago, and their removal.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;
use crate::ids::WorkflowId;

/// Runs that are looked at by one statement.
const LOOKED_MAX: i64 = 1_000;

/// A stretch of the runs, in the order of their starts.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Heads of families that may have ended long ago.
    pub(crate) heads: Vec<WorkflowId>,
    /// The last one looked at; none where there was no other.
    pub(crate) last: Option<(DateTime<Utc>, WorkflowId)>,
    /// Whether no more follow.
    pub(crate) is_last: bool,
}

fn read_ids(ids: Vec<Uuid>) -> Vec<WorkflowId> {
    ids.into_iter().map(WorkflowId::from_uuid).collect()
}

fn uuids(ids: &[WorkflowId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.as_uuid()).collect()
}

impl Store {
    pub(crate) async fn ended_roots(
        &self,
        db: &impl Executor,
        age_ms: i64,
        after: (DateTime<Utc>, WorkflowId),
    ) -> Result<Stretch, Error> {
        let params: [&(dyn ToSql + Sync); 4] = [&age_ms, &after.0, &after.1.as_uuid(), &LOOKED_MAX];
        let row = self.one(db, &self.sql.ended_roots, &params, "looking for old workflows").await?;
        let last_at: Option<DateTime<Utc>> = get(&row, 2)?;
        let last_id = get::<Option<Uuid>>(&row, 3)?.map(WorkflowId::from_uuid);
        Ok(Stretch {
            heads: read_ids(get(&row, 0)?),
            last: last_at.zip(last_id),
            is_last: get::<i64>(&row, 1)? < LOOKED_MAX,
        })
    }

    /// Whether nobody else removes: until the transaction ends.
    pub(crate) async fn try_retention(&self, db: &impl Executor) -> Result<bool, Error> {
        let sql = &self.sql.try_retention;
        Ok(!self.rows(db, sql, &[], "asking who removes old workflows").await?.is_empty())
    }

    /// Locks whole families. Out: how many of the heads were looked at, and the runs.
    pub(crate) async fn lock_families(
        &self,
        db: &impl Executor,
        heads: &[WorkflowId],
        (age_ms, enough): (i64, i64),
    ) -> Result<(usize, Vec<WorkflowId>), Error> {
        let heads = uuids(heads);
        let params: [&(dyn ToSql + Sync); 3] = [&heads, &age_ms, &enough];
        let row = self.one(db, &self.sql.lock_families, &params, "locking old workflows").await?;
        let looked = usize::try_from(get::<i64>(&row, 0)?).unwrap_or(usize::MAX);
        Ok((looked, read_ids(get(&row, 1)?)))
    }

    /// Ended runs, whose rows must be locked, with all that is kept of them.
    pub(crate) async fn remove_workflows(
        &self,
        db: &impl Executor,
        ids: &[WorkflowId],
    ) -> Result<(), Error> {
        let sql = &self.sql.remove_workflows;
        self.rows(db, sql, &[&uuids(ids)], "removing old workflows").await?;
        Ok(())
    }
}
