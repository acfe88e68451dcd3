//! A server of its own for a test that stops it.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::TestkitError;
use super::admin::{connect, doing};
use crate::embedded::Postgres;

/// How long a standby may take to catch up.
const FOLLOWS_MAX: Duration = Duration::from_secs(60);
const FOLLOWS_INTERVAL: Duration = Duration::from_millis(20);

/// A private server whose data is thrown away, for tests that stop or crash PostgreSQL.
///
/// `DATABASE_URL` has no say here: nobody's server but this one is ever touched.
#[must_use = "the server is stopped with this"]
#[derive(Debug)]
pub struct OwnPostgres {
    server: Postgres,
}

impl OwnPostgres {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// As [`PostgresBuilder::start`](crate::embedded::PostgresBuilder::start).
    ///
    /// # Cancel safety
    ///
    /// As [`PostgresBuilder::start`](crate::embedded::PostgresBuilder::start).
    pub async fn create() -> Result<Self, TestkitError> {
        let server = Postgres::builder().throwaway().start().await?;
        Ok(Self { server })
    }

    /// Starts another that follows this one by streaming replication, and returns when it does.
    /// From then on a commit here returns when it is on the disk of both: while the other is away,
    /// no commit returns.
    ///
    /// # Errors
    ///
    /// [`TestkitError::Embedded`] when its data cannot be copied (`pg_basebackup` is needed, beside
    /// the other programs of the server) or it does not start, [`TestkitError::Database`] when it
    /// does not follow.
    ///
    /// # Cancel safety
    ///
    /// As [`PostgresBuilder::start`](crate::embedded::PostgresBuilder::start).
    pub async fn standby(&self) -> Result<Self, TestkitError> {
        let server = Postgres::builder().throwaway().follows(self.url()).start().await?;
        let primary = connect(self.url()).await?;
        // Each in a transaction of its own: ALTER SYSTEM is allowed in none.
        for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            primary.batch_execute(sql).await.map_err(|source| doing(sql, source))?;
        }
        let follows = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
        let give_up_at = Instant::now() + FOLLOWS_MAX;
        while Instant::now() < give_up_at {
            let row = primary.query_one(follows, &[]).await;
            if row.map_err(|source| doing("looking for the standby", source))?.get(0) {
                return Ok(Self { server });
            }
            tokio::time::sleep(FOLLOWS_INTERVAL).await;
        }
        Err(TestkitError::Signal(format!("no standby follows after {FOLLOWS_MAX:?}")))
    }

    /// Makes a standby the primary, and returns when it takes writes.
    ///
    /// # Errors
    ///
    /// [`TestkitError::Database`] when it is none, or cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It is promoted all the same when the future is dropped.
    pub async fn promote(&self) -> Result<(), TestkitError> {
        let client = connect(self.url()).await?;
        let sql = "SELECT pg_promote()";
        client.batch_execute(sql).await.map_err(|source| doing(sql, source))
    }

    /// Where to connect; the same after every [`start`](Self::start).
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Starts it again if it does not run, and returns when it takes connections.
    ///
    /// # Errors
    ///
    /// As [`Postgres::ensure_running`].
    ///
    /// # Cancel safety
    ///
    /// As [`Postgres::ensure_running`].
    pub async fn start(&mut self) -> Result<(), TestkitError> {
        Ok(self.server.ensure_running().await?)
    }

    /// Stops it at once, without a checkpoint; every connection breaks.
    ///
    /// # Errors
    ///
    /// [`TestkitError::Embedded`] when it did not run.
    ///
    /// # Cancel safety
    ///
    /// The stop goes on in the background when the future is dropped.
    pub async fn stop_immediate(&self) -> Result<(), TestkitError> {
        Ok(self.server.stop_immediate().await?)
    }

    /// Kills the postmaster with SIGKILL; its other processes end soon after.
    ///
    /// # Errors
    ///
    /// [`TestkitError::Signal`] when there is none.
    pub fn kill_postmaster(&self) -> Result<(), TestkitError> {
        let pid = self.server.postmaster_pid();
        kill_process(pid.ok_or_else(|| TestkitError::Signal("it does not run".to_owned()))?)
    }

    /// Kills the process behind a connection with SIGKILL, as `pg_backend_pid()` names it.
    /// PostgreSQL then restarts all its processes and recovers.
    ///
    /// # Errors
    ///
    /// [`TestkitError::Signal`] when there is no such process.
    pub fn kill_backend(&self, pid: i32) -> Result<(), TestkitError> {
        kill_process(pid)
    }
}

fn kill_process(pid: i32) -> Result<(), TestkitError> {
    kill(Pid::from_raw(pid), Signal::SIGKILL)
        .map_err(|error| TestkitError::Signal(format!("killing process {pid}: {error}")))
}
