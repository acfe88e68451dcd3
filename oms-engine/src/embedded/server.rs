//! A PostgreSQL server of our own: joined when it runs, started when it does not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::builder::OnProgress;
use super::folder::{Address, Folder};
use super::locate::Installation;
use super::supervise::{Membership, Turn};
use super::{EmbeddedError, PostgresBuilder, Progress};

/// How long a server is waited for that answers "starting up" or "in recovery".
const READY_MAX: Duration = Duration::from_secs(120);
const READY_INTERVAL: Duration = Duration::from_millis(20);
/// How long the processes of a killed server may hold its shared memory.
const REMAINS_MAX: Duration = Duration::from_secs(20);

/// A server that runs for this program and for every other that joined it.
///
/// It runs until the last program that holds one of these has dropped it or ended, however it
/// ended, and is stopped a few seconds later.
#[must_use = "the server is stopped soon after this is dropped"]
#[derive(Debug)]
pub struct Postgres {
    url: String,
    installation: Installation,
    folder: Folder,
    settings: Vec<(String, String)>,
    membership: Membership,
}

/// A database to work on, and the server behind it where it is ours.
#[must_use = "a server of ours is stopped soon after this is dropped"]
#[derive(Debug)]
pub struct Database {
    url: String,
    server: Option<Postgres>,
}

impl Postgres {
    /// A server that we joined and that may not run yet.
    pub(super) fn joined(
        installation: Installation,
        folder: Folder,
        settings: Vec<(String, String)>,
        membership: Membership,
    ) -> Self {
        Self { url: String::new(), installation, folder, settings, membership }
    }

    /// Says how a server is to be had; by default one whose data is kept.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::new()
    }

    /// Where to connect: a URL that tokio-postgres and libpq read. The user is a superuser, the
    /// database is `postgres`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The version of the server programs, such as `17.2`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.installation.version
    }

    /// The directory of the server programs; most have `psql` in it as well.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.installation.bin
    }

    /// The server's folder: its data, and its log in the file `log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the server again if it does not run, after a crash for example. The URL stays,
    /// unless the server listens on a loopback port that somebody else took meanwhile.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Start`] with the last lines of its log, [`EmbeddedError::Connect`] when it
    /// runs and takes no connections.
    ///
    /// # Cancel safety
    ///
    /// The start goes on in the background when the future is dropped.
    pub async fn ensure_running(&mut self) -> Result<(), EmbeddedError> {
        let report: OnProgress = Arc::new(|_| {});
        self.bring_up(&report).await
    }

    pub(super) async fn bring_up(&mut self, report: &OnProgress) -> Result<(), EmbeddedError> {
        let give_up_at = Instant::now() + REMAINS_MAX;
        loop {
            let again = self.duplicate().map_err(|error| self.folder.refused(&error))?;
            let report = Arc::clone(report);
            self.url = blocking(move || again.run(&report)).await?;
            match self.wait_ready().await {
                // A postmaster that is being killed still had its socket when we looked.
                Err(EmbeddedError::Connect { source, .. })
                    if source.code().is_none() && Instant::now() < give_up_at =>
                {
                    tokio::time::sleep(READY_INTERVAL).await;
                }
                other => return other,
            }
        }
    }

    fn duplicate(&self) -> std::io::Result<Self> {
        Ok(Self {
            url: String::new(),
            installation: self.installation.clone(),
            folder: self.folder.clone(),
            settings: self.settings.clone(),
            membership: self.membership.duplicate()?,
        })
    }

    /// Stops the server for all its users without a checkpoint, as a power cut would; the data
    /// stays. [`ensure_running`](Self::ensure_running) starts it again.
    #[cfg(feature = "testkit")]
    pub(crate) async fn stop_immediate(&self) -> Result<(), EmbeddedError> {
        let server = self.duplicate().map_err(|error| self.folder.refused(&error))?;
        blocking(move || {
            let folder = &server.folder;
            let _turn = Turn::take(folder)?;
            let told = server.membership.tell(folder, "stop immediate");
            match told.map_err(|error| folder.refused(&error))? {
                Some(true) => Ok(()),
                _ => Err(EmbeddedError::Interrupted(folder.log_tail())),
            }
        })
        .await
    }

    #[cfg(feature = "testkit")]
    pub(crate) fn postmaster_pid(&self) -> Option<i32> {
        self.folder.postmaster().map(|(pid, _)| pid)
    }

    fn failed(&self, reason: String) -> EmbeddedError {
        EmbeddedError::Start {
            version: self.installation.version.clone(),
            folder: self.folder.path().to_owned(),
            reason,
        }
    }

    /// Has the supervisor start the server unless it runs; returns its URL.
    fn run(&self, on_progress: &OnProgress) -> Result<String, EmbeddedError> {
        let _turn = Turn::take(&self.folder)?;
        let address = match self.folder.running() {
            Some(address) => address,
            None => self.launch(on_progress)?,
        };
        self.folder.url(&address).map_err(|error| self.folder.refused(&error))
    }

    fn launch(&self, on_progress: &OnProgress) -> Result<Address, EmbeddedError> {
        let refused = |error| self.folder.refused(&error);
        let give_up_at = Instant::now() + REMAINS_MAX;
        let is_new = !self.folder.has_data();
        loop {
            on_progress(if is_new { Progress::Initializing } else { Progress::Starting });
            self.folder.clear_stale_pid().map_err(refused)?;
            self.folder.write_settings(&self.settings).map_err(refused)?;
            let answer = self.membership.tell(&self.folder, "start").map_err(refused)?;
            let tail = self.folder.log_tail();
            match (answer, self.folder.running()) {
                (Some(true), Some(address)) => {
                    if is_new {
                        self.folder.sync_new_data().map_err(refused)?;
                    }
                    return Ok(address);
                }
                (None, _) => return Err(self.failed("its supervisor was killed".to_owned())),
                _ if may_pass(&tail) && Instant::now() < give_up_at => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                _ => return Err(self.failed(tail)),
            }
        }
    }

    /// Waits until the server takes connections: it may be recovering from a crash.
    async fn wait_ready(&self) -> Result<(), EmbeddedError> {
        let give_up_at = Instant::now() + READY_MAX;
        loop {
            let Err(error) = tokio_postgres::connect(&self.url, NoTls).await else {
                return Ok(());
            };
            let passes = error.code() == Some(&SqlState::CANNOT_CONNECT_NOW);
            if !passes || Instant::now() > give_up_at {
                let folder = self.folder.path().to_owned();
                return Err(EmbeddedError::Connect { folder, source: error });
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(EmbeddedError::Interrupted(error.to_string())),
    }
}

/// Whether a start failed for something that ends by itself: remains of a killed server, or a
/// loopback port that was taken between choosing and binding it.
fn may_pass(log_tail: &str) -> bool {
    ["shared memory block", "\"postmaster.pid\" already exists", "could not create any TCP/IP"]
        .iter()
        .any(|text| log_tail.contains(text))
}

impl Database {
    pub(super) fn foreign(url: String) -> Self {
        Self { url, server: None }
    }

    pub(super) fn ours(server: Postgres) -> Self {
        Self { url: server.url.clone(), server: Some(server) }
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Our server; none when `DATABASE_URL` names another.
    #[must_use]
    pub fn server(&self) -> Option<&Postgres> {
        self.server.as_ref()
    }

    /// Our server, to start it again for example.
    pub fn server_mut(&mut self) -> Option<&mut Postgres> {
        self.server.as_mut()
    }
}
