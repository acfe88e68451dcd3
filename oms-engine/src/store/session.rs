//! Sessions: who is alive.

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;

use super::rows::get;
use super::{Executor, Store};
use crate::error::{Doing as _, Error};

/// The other sessions, as a heartbeat saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    None,
    /// Dead ones, which hold nothing.
    Known,
    /// One that lives, or holds tasks.
    Matter,
}

/// What a heartbeat answers.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// False: this session was taken for dead, and its leases are lost.
    pub(crate) alive: bool,
    pub(crate) min_engine: i32,
    pub(crate) now: DateTime<Utc>,
    /// Tokens that the database has leased to this process, each with its holder; none where open
    /// tasks were not looked at.
    pub(crate) leased: Option<Vec<(i64, i64)>>,
    pub(crate) others: Others,
    /// When the next delay, time-out or schedule's time is up, where that was looked at.
    pub(crate) next_due: Option<DateTime<Utc>>,
    /// Another number than before: the limits of task definitions are others.
    pub(crate) limits_version: i64,
    pub(crate) events_wait: bool,
    pub(crate) polls: Vec<PollRow>,
}

/// Another session, as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct SessionLook {
    pub(crate) id: i64,
    pub(crate) locked: bool,
    pub(crate) age_ms: i64,
    pub(crate) heartbeat_at: DateTime<Utc>,
    pub(crate) dead: bool,
    pub(crate) holds: bool,
    pub(crate) locks_since: DateTime<Utc>,
}

/// When a worker of a domain last asked for work.
#[derive(Clone, Debug)]
pub(crate) struct PollRow {
    pub(crate) task_type: String,
    pub(crate) domain: String,
    pub(crate) age_ms: i64,
}

impl Store {
    /// Workers of these task types ask for work in these domains.
    pub(crate) async fn record_polls(
        &self,
        db: &impl Executor,
        served: &[(String, String)],
    ) -> Result<(), Error> {
        if served.is_empty() {
            return Ok(());
        }
        let types: Vec<&str> = served.iter().map(|(task_type, _)| task_type.as_str()).collect();
        let domains: Vec<&str> = served.iter().map(|(_, domain)| domain.as_str()).collect();
        let sql = &self.sql.record_polls;
        self.rows(db, sql, &[&types, &domains], "telling which domains are served").await?;
        Ok(())
    }

    /// Who has asked for work lately.
    pub(crate) async fn list_polls(&self, db: &impl Executor) -> Result<Vec<PollRow>, Error> {
        let rows = self.rows(db, &self.sql.list_polls, &[], "reading who is there").await?;
        rows.iter()
            .map(|row| {
                Ok(PollRow { task_type: get(row, 0)?, domain: get(row, 1)?, age_ms: get(row, 2)? })
            })
            .collect()
    }

    pub(crate) async fn open_session(
        &self,
        db: &impl Executor,
        name: &str,
        engine_version: i32,
    ) -> Result<i64, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&name, &engine_version];
        get(&self.one(db, &self.sql.open_session, &params, "opening a session").await?, 0)
    }

    /// Whether the lock could be had: false while an old connection still has it.
    /// Hears on this connection when another process wakes this one.
    pub(crate) async fn listen(&self, client: &ClientWrapper) -> Result<(), Error> {
        let statement = format!("LISTEN \"{}\"", self.channel());
        client.batch_execute(&statement).await.doing("listening for wake-ups")
    }

    pub(crate) async fn lock_session(&self, db: &impl Executor, id: i64) -> Result<bool, Error> {
        get(&self.one(db, &self.sql.lock_session, &[&id], "locking the session").await?, 0)
    }

    pub(crate) async fn heartbeat(
        &self,
        db: &impl Executor,
        (id, limits_seen): (i64, i64),
        served: &[(String, String)],
        look_at_tasks: bool,
    ) -> Result<Heartbeat, Error> {
        let types: Vec<&str> = served.iter().map(|(task_type, _)| task_type.as_str()).collect();
        let domains: Vec<&str> = served.iter().map(|(_, domain)| domain.as_str()).collect();
        let params: [&(dyn ToSql + Sync); 5] =
            [&id, &limits_seen, &types, &domains, &look_at_tasks];
        let row = self.one(db, &self.sql.heartbeat, &params, "sending a heartbeat").await?;
        let leased: (Vec<i64>, Vec<i64>) = (get(&row, 3)?, get(&row, 4)?);
        Ok(Heartbeat {
            alive: get(&row, 0)?,
            min_engine: get(&row, 1)?,
            now: get(&row, 2)?,
            leased: look_at_tasks.then(|| leased.0.into_iter().zip(leased.1).collect()),
            others: match (get(&row, 5)?, get(&row, 6)?) {
                (_, true) => Others::Matter,
                (true, false) => Others::Known,
                (false, false) => Others::None,
            },
            next_due: get(&row, 7)?,
            limits_version: get(&row, 8)?,
            events_wait: get(&row, 9)?,
            polls: get::<Vec<String>>(&row, 10)?
                .into_iter()
                .zip(get::<Vec<String>>(&row, 11)?)
                .zip(get::<Vec<i64>>(&row, 12)?)
                .map(|((task_type, domain), age_ms)| PollRow { task_type, domain, age_ms })
                .collect(),
        })
    }

    pub(crate) async fn look_at_sessions(
        &self,
        db: &impl Executor,
        own: i64,
    ) -> Result<Vec<SessionLook>, Error> {
        let sql = &self.sql.look_at_sessions;
        let rows = self.rows(db, sql, &[&own], "looking at other sessions").await?;
        rows.iter()
            .map(|row| {
                Ok(SessionLook {
                    id: get(row, 0)?,
                    locked: get(row, 1)?,
                    age_ms: get(row, 2)?,
                    heartbeat_at: get(row, 3)?,
                    dead: get(row, 4)?,
                    holds: get(row, 5)?,
                    locks_since: get(row, 6)?,
                })
            })
            .collect()
    }

    /// Marks a session dead, unless it has sent a heartbeat since it was looked at. Out: its
    /// holders, or none when it lives.
    pub(crate) async fn bury_session(
        &self,
        db: &impl Executor,
        look: &SessionLook,
    ) -> Result<Option<Vec<i64>>, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&look.id, &look.heartbeat_at];
        let row = self.one(db, &self.sql.bury_session, &params, "burying a session").await?;
        Ok(if get(&row, 1)? { Some(get(&row, 0)?) } else { None })
    }

    pub(crate) async fn close_session(&self, db: &impl Executor, id: i64) -> Result<(), Error> {
        self.rows(db, &self.sql.close_session, &[&id], "closing the session").await?;
        Ok(())
    }

    pub(crate) async fn forget_sessions(&self, db: &impl Executor) -> Result<(), Error> {
        self.rows(db, &self.sql.forget_sessions, &[], "forgetting dead sessions").await?;
        self.rows(db, &self.sql.forget_polls, &[], "forgetting domains").await?;
        Ok(())
    }
}
