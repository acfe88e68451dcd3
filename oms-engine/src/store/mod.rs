//! The only SQL of the engine: one statement per file in `sql/`, one Rust file per operation.
//!
//! Every statement names its tables with the schema, so that nothing depends on `search_path`:
//! some of them run on connections of the user. Every call has a deadline; after a missed one the
//! connection must be thrown away, since its statement may still be running.

mod advance;
mod connect;
mod container;
mod definitions;
mod doctor;
mod events;
mod executor;
mod explain;
mod family;
mod keys;
mod lease;
mod limits;
mod lists;
mod look;
mod migrate;
mod operate;
mod outside;
mod payload;
mod pooler;
mod read;
mod retention;
mod roles;
mod rows;
#[cfg(feature = "cron")]
mod schedules;
mod schemas;
mod search;
mod session;
mod start;
mod statements;
mod steps;
mod throughput;
mod timers;
mod undo;

use std::future::Future;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, GenericClient as _, Transaction};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};

pub(crate) use advance::{
    AdvanceBatch, Advanced, ClaimFrom, ClaimRow, EndedRow, Opened, OpenedRow, RunEnd,
};
pub(crate) use connect::{Connector, Pool, Rented, Statements, plan_ours};
pub(crate) use container::{ChildRow, LoopRow, Wanted};
pub(crate) use definitions::DefinitionRow;
pub(crate) use events::{
    ActionRow, ActionStatus, DueAction, EventRow, ExecutionFilter, ExecutionRow, NewEvent,
};
pub(crate) use executor::Executor;
pub(crate) use explain::{
    AHEAD_MAX, ExplainedEnd, ExplainedRun, ExplainedTask, HISTORY_MAX, HoldingLimit,
};
pub use keys::{ApiKey, ApiRole};
pub(crate) use lease::{LentRow, REMOTE, ReturnedRow};
pub(crate) use limits::{LimitedClaim, LimitsInForce, Room};
pub(crate) use look::{OperationNote, OperationRow, QueueRow, SessionRow};
pub use migrate::{Migration, migration_sql};
pub(crate) use operate::{CanceledRow, Cut, ParkedRow, RestartRow};
pub(crate) use outside::OpenTask;
pub(crate) use read::{ListFilter, ListedRow, OpenTaskRow};
pub use roles::roles_sql;
pub(crate) use rows::{DueToken, HistoryRow, RunRow, Token, TokenState};
#[cfg(feature = "cron")]
pub(crate) use schedules::{DueSchedule, FireRow, MovedSchedule, PutSchedule, ScheduleRow};
pub(crate) use search::{FoundRun, Hits, TaskFilter, Window, WorkflowFilter};
pub(crate) use session::{Others, PollRow, SessionLook};
pub(crate) use start::{FoundRow, Parent, StartBatch, StartRow};
use statements::Sql;
pub(crate) use throughput::EndedCount;
pub use undo::NotCompensated;
pub(crate) use undo::UndoRow;

use crate::error::{Doing as _, Error};

/// A database error in words: message, detail and SQLSTATE, never the source twice.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|d| format!(" ({d})")).unwrap_or_default();
            format!("{}{detail}, SQLSTATE {}", db.message(), db.code().code())
        }
        None => {
            let text = error.to_string();
            match std::error::Error::source(error).map(ToString::to_string) {
                Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
                _ => text,
            }
        }
    }
}

/// The statements of one schema, and how long each may take.
#[derive(Debug)]
pub(crate) struct Store {
    sql: Sql,
    /// `start_workflows` for runs that can meet no other.
    start_new: String,
    schema: String,
    deadline: Duration,
}

impl Store {
    pub(crate) fn new(schema: &str, deadline: Duration) -> Result<Self, Error> {
        let quoted = migrate::quote_schema(schema)?;
        let sql = Sql::new(&quoted);
        let start_new = start::of_new(&sql.start_workflows);
        Ok(Self { sql, start_new, schema: schema.to_owned(), deadline })
    }

    /// The schema's name, not quoted.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The channel on which processes wake each other.
    pub(crate) fn channel(&self) -> String {
        format!("{}.ready", self.schema)
    }

    /// Every statement by name, for tests that prepare them and read their plans.
    #[cfg(feature = "testkit")]
    pub(crate) fn statements(&self) -> Vec<(&'static str, String)> {
        let mut all = self.sql.all();
        all.push(("start_new", self.start_new.clone()));
        all
    }

    /// Awaits an answer of the server, at most until the deadline.
    async fn within<T>(
        &self,
        doing: &'static str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(done) => done.doing(doing),
            Err(_) => Err(Error::Deadline { doing, after: self.deadline }),
        }
    }

    pub(crate) async fn begin<'a>(
        &self,
        client: &'a mut ClientWrapper,
    ) -> Result<Transaction<'a>, Error> {
        self.within("beginning a transaction", client.transaction()).await
    }

    /// A transaction that reads everything as of one moment.
    pub(crate) async fn begin_reading<'a>(
        &self,
        client: &'a mut ClientWrapper,
    ) -> Result<Transaction<'a>, Error> {
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true);
        self.within("beginning to read", tx.start()).await
    }

    /// A transaction that gives way: it waits for a lock for less time than it takes the server
    /// to see a deadlock.
    pub(crate) async fn begin_giving_way<'a>(
        &self,
        client: &'a mut ClientWrapper,
    ) -> Result<Transaction<'a>, Error> {
        let tx = self.begin(client).await?;
        self.within("beginning", tx.batch_execute("SET LOCAL lock_timeout = '500ms'")).await?;
        Ok(tx)
    }

    /// Watches a connection that a user's code works on: what is asked behind its statement is
    /// answered behind it. Returns when the connection answers no more.
    pub(crate) async fn until_silent(&self, tx: &Transaction<'_>) -> Error {
        let doing = "running a task's transaction";
        // A statement of the user's may take the deadline too.
        let after = self.deadline * 2;
        loop {
            tokio::time::sleep(self.deadline).await;
            match tokio::time::timeout(after, tx.batch_execute("")).await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Error::Database { doing, source },
                Err(_) => return Error::Deadline { doing, after },
            }
        }
    }

    /// Plans what follows in a user's transaction as our own statements.
    pub(crate) async fn plan_as_ours(&self, tx: &Transaction<'_>) -> Result<(), Error> {
        self.within("ending a task", tx.batch_execute(&plan_ours())).await
    }

    /// An error without an SQLSTATE leaves open whether it committed.
    pub(crate) async fn commit(&self, tx: Transaction<'_>) -> Result<(), Error> {
        self.within("committing", tx.commit()).await
    }

    pub(crate) async fn roll_back(&self, tx: Transaction<'_>) -> Result<(), Error> {
        self.within("rolling back", tx.rollback()).await
    }

    async fn rows(
        &self,
        db: &impl Executor,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        doing: &'static str,
    ) -> Result<Vec<Row>, Error> {
        self.within(doing, db.rows(sql, params)).await
    }

    async fn one(
        &self,
        db: &impl Executor,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        doing: &'static str,
    ) -> Result<Row, Error> {
        let mut rows = self.rows(db, sql, params, doing).await?;
        rows.pop().ok_or_else(|| Error::Invariant {
            workflow_id: None,
            what: format!("{doing}: a statement that gives a row gave none"),
        })
    }
}
