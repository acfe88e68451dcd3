//! Leases: holders, tasks that go back, and what an unknown outcome left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::advance::{ClaimFrom, column};
use super::rows::{DueToken, get};
use super::{Executor, Store};
use crate::config::LOG_LINES_MAX;
use crate::definition::Payload;
use crate::error::Error;
use crate::ids::TaskId;

/// An attempt that is not done yet and goes back to its queue.
#[derive(Clone, Debug)]
pub(crate) struct ReturnedRow {
    pub(crate) token_id: i64,
    pub(crate) holder: i64,
    /// None: until it is ended from outside.
    pub(crate) delay_ms: Option<i64>,
    pub(crate) output: Option<Payload>,
    pub(crate) worker: Arc<str>,
    pub(crate) reason: Option<String>,
}

/// Who holds the tasks that remote workers have, whichever process gave them out.
pub(crate) const REMOTE: i64 = -1;

/// A leased task that a remote worker has.
#[derive(Clone, Debug)]
pub(crate) struct LentRow {
    pub(crate) token_id: i64,
    /// Who holds it now.
    pub(crate) holder: i64,
    /// None: as it is.
    pub(crate) worker: Option<Arc<str>>,
    /// When it must be heard of again, from now; none for never.
    pub(crate) response_ms: Option<i64>,
    /// Whether a time-out that is past was told of and is all there is to it.
    pub(crate) only_alerts: bool,
}

impl Store {
    /// A new incarnation of a pump, or none when its session is dead.
    pub(crate) async fn draw_holder(
        &self,
        db: &impl Executor,
        session: i64,
    ) -> Result<Option<i64>, Error> {
        let rows = self.rows(db, &self.sql.draw_holder, &[&session], "drawing a holder").await?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    /// Out: token ids that were theirs, with the queue that has them again where it is ready.
    pub(crate) async fn return_tasks(
        &self,
        db: &impl Executor,
        returned: &[ReturnedRow],
    ) -> Result<Vec<(i64, Option<String>)>, Error> {
        let ids: Vec<i64> = returned.iter().map(|r| r.token_id).collect();
        let holders: Vec<i64> = returned.iter().map(|r| r.holder).collect();
        let delays: Vec<Option<i64>> = returned.iter().map(|r| r.delay_ms).collect();
        let outputs: Vec<_> = returned.iter().map(|r| r.output.as_ref()).collect();
        let workers: Vec<&str> = returned.iter().map(|r| &*r.worker).collect();
        let reasons: Vec<Option<&str>> = returned.iter().map(|r| r.reason.as_deref()).collect();
        let rows = self
            .rows(
                db,
                &self.sql.return_tasks,
                &[&ids, &holders, &delays, &outputs, &workers, &reasons],
                "returning tasks in progress",
            )
            .await?;
        rows.iter()
            .map(|row| {
                let ready = get::<i16>(row, 2)? == 0;
                Ok((get(row, 0)?, if ready { Some(get(row, 1)?) } else { None }))
            })
            .collect()
    }

    /// Gives leases to [`REMOTE`], or makes them last longer. Out: the tokens that were theirs.
    pub(crate) async fn lend_tasks(
        &self,
        db: &impl Executor,
        lent: &[LentRow],
    ) -> Result<Vec<i64>, Error> {
        let ids: Vec<i64> = lent.iter().map(|l| l.token_id).collect();
        let holders: Vec<i64> = lent.iter().map(|l| l.holder).collect();
        let workers: Vec<Option<&str>> = lent.iter().map(|l| l.worker.as_deref()).collect();
        let times: Vec<Option<i64>> = lent.iter().map(|l| l.response_ms).collect();
        let alerts: Vec<bool> = lent.iter().map(|l| l.only_alerts).collect();
        let sql = &self.sql.lend_tasks;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&ids, &holders, &workers, &times, &alerts, &REMOTE];
        let rows = self.rows(db, sql, &params, "lending tasks").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Gives leased tasks back at once. Out: their queues.
    pub(crate) async fn release_tasks(
        &self,
        db: &impl Executor,
        ids: &[i64],
        holder: i64,
    ) -> Result<Vec<String>, Error> {
        let sql = &self.sql.release_tasks;
        let rows = self.rows(db, sql, &[&ids, &holder], "giving tasks back").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Hands leased tasks out again after a while.
    pub(crate) async fn postpone_tasks(
        &self,
        db: &impl Executor,
        ids: &[i64],
        holder: i64,
        delay_ms: i64,
    ) -> Result<(), Error> {
        let sql = &self.sql.postpone_tasks;
        self.rows(db, sql, &[&ids, &holder, &delay_ms], "postponing tasks").await?;
        Ok(())
    }

    /// Out: the tokens taken over, with their rev.
    pub(crate) async fn adopt_tasks(
        &self,
        db: &impl Executor,
        holder: i64,
        old: &[i64],
        ids: &[i64],
    ) -> Result<Vec<(i64, i32)>, Error> {
        let sql = &self.sql.adopt_tasks;
        let rows = self.rows(db, sql, &[&holder, &old, &ids], "adopting tasks").await?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    /// Gives back everything that these holders hold. Out: queues.
    pub(crate) async fn release_holders(
        &self,
        db: &impl Executor,
        holders: &[i64],
    ) -> Result<Vec<String>, Error> {
        let sql = &self.sql.release_holders;
        let rows = self.rows(db, sql, &[&holders], "rescuing tasks").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Which of these attempts have ended.
    pub(crate) async fn find_history(
        &self,
        db: &impl Executor,
        tasks: &[TaskId],
    ) -> Result<Vec<TaskId>, Error> {
        let workflows: Vec<Uuid> = tasks.iter().map(|t| t.workflow_id.as_uuid()).collect();
        let references: Vec<&str> = tasks.iter().map(|t| t.reference_name.as_str()).collect();
        let epochs: Vec<i16> = tasks.iter().map(|t| t.epoch).collect();
        let attempts: Vec<i16> = tasks.iter().map(|t| t.attempt).collect();
        let rows = self
            .rows(
                db,
                &self.sql.find_history,
                &[&workflows, &references, &epochs, &attempts],
                "reading back what was written",
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TaskId {
                    workflow_id: crate::ids::WorkflowId::from_uuid(get(row, 0)?),
                    reference_name: get(row, 1)?,
                    epoch: get(row, 2)?,
                    attempt: get(row, 3)?,
                })
            })
            .collect()
    }

    /// Whether a token is still leased to this holder.
    pub(crate) async fn check_lease(
        &self,
        db: &impl Executor,
        token_id: i64,
        holder: i64,
    ) -> Result<bool, Error> {
        let sql = &self.sql.check_lease;
        get(&self.one(db, sql, &[&token_id, &holder], "checking a lease").await?, 0)
    }

    /// Locks a token whatever its rev. None: it is gone, or somebody else's.
    pub(crate) async fn lock_token(
        &self,
        db: &impl Executor,
        id: i64,
        holder: i64,
    ) -> Result<Option<DueToken>, Error> {
        let sql = &self.sql.lock_token;
        let rows = self.rows(db, sql, &[&id, &holder], "locking a task").await?;
        rows.first().map(DueToken::read).transpose()
    }

    /// The priority of the most urgent ready task of each queue that has one.
    pub(crate) async fn peek_queues(
        &self,
        db: &impl Executor,
        queues: &[(String, ClaimFrom)],
    ) -> Result<Vec<i16>, Error> {
        let names = column(queues, |(queue, _)| queue.as_str());
        let priorities = column(queues, |(_, from)| from.priority);
        let ids = column(queues, |(_, from)| from.id);
        let sql = &self.sql.peek_queues;
        let rows = self.rows(db, sql, &[&names, &priorities, &ids], "looking at queues").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// How many tasks wait in each queue.
    pub(crate) async fn queue_sizes(
        &self,
        db: &impl Executor,
    ) -> Result<BTreeMap<String, i64>, Error> {
        let rows = self.rows(db, &self.sql.queue_sizes, &[], "counting queues").await?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    /// Tells other processes that queues have ready tasks.
    pub(crate) async fn notify(&self, db: &impl Executor, payloads: &[&str]) -> Result<(), Error> {
        let channel = self.channel();
        self.rows(db, &self.sql.notify, &[&channel, &payloads], "waking other processes").await?;
        Ok(())
    }

    /// Stores lines that a worker logged.
    pub(crate) async fn append_logs(
        &self,
        db: &impl Executor,
        lines: &[(TaskId, String)],
    ) -> Result<(), Error> {
        let workflows: Vec<Uuid> = lines.iter().map(|l| l.0.workflow_id.as_uuid()).collect();
        let references: Vec<&str> = lines.iter().map(|l| l.0.reference_name.as_str()).collect();
        let epochs: Vec<i16> = lines.iter().map(|l| l.0.epoch).collect();
        let attempts: Vec<i16> = lines.iter().map(|l| l.0.attempt).collect();
        let most = i64::try_from(LOG_LINES_MAX).unwrap_or(i64::MAX);
        let texts: Vec<&str> = lines.iter().map(|l| l.1.as_str()).collect();
        self.rows(
            db,
            &self.sql.append_logs,
            &[&workflows, &references, &epochs, &attempts, &texts, &most],
            "storing task logs",
        )
        .await?;
        Ok(())
    }
}
