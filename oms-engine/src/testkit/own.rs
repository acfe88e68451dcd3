//! A server of its own for a test that stops it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::TestkitError;
use crate::embedded::Postgres;

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
