//! JOINs that go by their lists, and what floats beside them.

use std::collections::BTreeSet;

use super::rows::get;
use super::{Executor, Store};
use crate::decide::Beside;
use crate::error::Error;
use crate::ids::WorkflowId;

impl Store {
    /// Holds, until the transaction ends, whatever else goes by lists in this run.
    pub(crate) async fn lock_lists(&self, db: &impl Executor, id: WorkflowId) -> Result<(), Error> {
        self.rows(db, &self.sql.lock_lists, &[&id.as_uuid()], "locking lists").await?;
        Ok(())
    }

    /// What else is open beside a token of a run, for names without turns. A lineage of the run
    /// is counted as one of it.
    pub(crate) async fn load_beside(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        token: i64,
        listed: &BTreeSet<String>,
    ) -> Result<Beside, Error> {
        let names: Vec<&str> = listed.iter().map(String::as_str).collect();
        let sql = &self.sql.load_beside;
        let rows = self.rows(db, sql, &[&id.as_uuid(), &token, &names], "looking beside").await?;
        let mut beside = Beside::default();
        for row in &rows {
            let others: i64 = get(row, 0)?;
            let open: Vec<String> = get(row, 2)?;
            beside.lineages = others + 1;
            beside.live = get(row, 1)?;
            beside.open = open.into_iter().collect();
        }
        Ok(beside)
    }

    /// An open loop around a token: its token, and how many lineages it waits for.
    pub(crate) async fn load_around(
        &self,
        db: &impl Executor,
        scope: Option<i64>,
        reference_name: &str,
    ) -> Result<Option<(i64, i32)>, Error> {
        let sql = &self.sql.load_around;
        let rows = self.rows(db, sql, &[&scope, &reference_name], "looking for a loop").await?;
        rows.first().map(|row| Ok((get(row, 0)?, get(row, 1)?))).transpose()
    }

    pub(crate) async fn grow_loop(
        &self,
        db: &impl Executor,
        token: i64,
        lineages: i32,
    ) -> Result<(), Error> {
        self.rows(db, &self.sql.grow_loop, &[&token, &lineages], "growing a loop").await?;
        Ok(())
    }

    /// JOINs that may have what they wait for are to be looked at. Out: queues.
    pub(crate) async fn wake_joins(
        &self,
        db: &impl Executor,
        id: WorkflowId,
        ended: &BTreeSet<String>,
    ) -> Result<Vec<String>, Error> {
        let names: Vec<&str> = ended.iter().map(String::as_str).collect();
        let sql = &self.sql.wake_joins;
        let rows = self.rows(db, sql, &[&id.as_uuid(), &names], "waking JOINs").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    pub(crate) async fn wait_again(&self, db: &impl Executor, token: i64) -> Result<(), Error> {
        self.rows(db, &self.sql.wait_again, &[&token], "waiting again").await?;
        Ok(())
    }
}
