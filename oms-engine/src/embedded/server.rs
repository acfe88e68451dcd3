//! A PostgreSQL server of our own: joined when it runs, started when it does not.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::account::Account;
use super::env::Env;
use super::folder::{Address, Folder, random_hex};
use super::locate::Installation;
use super::supervise::{Afterwards, Membership, Terms, Turn, join};
use super::{EmbeddedError, Progress, obtain};

/// How long a server is waited for that answers "starting up" or "in recovery".
const READY_MAX: Duration = Duration::from_secs(120);
/// How long the processes of a killed server may hold its shared memory.
const REMAINS_MAX: Duration = Duration::from_secs(20);
/// Long enough for the next program of a script, or the next test binary, to find the server up.
const LINGER_S: u32 = 2;

pub(super) type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// A server that runs for this program and for every other that joined it.
///
/// It runs until the last program that holds one of these has dropped it or ended, however it
/// ended, and is stopped a few seconds later.
#[must_use = "the server is stopped soon after this is dropped"]
#[derive(Debug)]
pub struct Postgres {
    url: String,
    version: String,
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

/// Where a server keeps its data.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a folder per major version, below this one or below the user's data folder.
    Kept(Option<PathBuf>),
    /// In a new folder that goes with the server.
    Throwaway,
    /// In a folder of the temporary folder, where other programs join; the data goes with the
    /// server. The text begins the folder's name.
    #[cfg(feature = "testkit")]
    Shared(String),
}

/// Says how a server is to be had. Made by [`Postgres::builder`].
#[must_use]
#[derive(Clone)]
pub struct PostgresBuilder {
    place: Place,
    settings: Vec<(String, String)>,
    on_progress: OnProgress,
    pub(super) env: Env,
}

impl fmt::Debug for PostgresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder")
            .field("place", &self.place)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl PostgresBuilder {
    /// Keeps the data in `folder`, in a subfolder per major version of PostgreSQL.
    pub fn kept_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.place = Place::Kept(Some(folder.into()));
        self
    }

    /// Keeps the data in the user's data folder: `oms-engine/postgres-<major>` below
    /// `XDG_DATA_HOME`, else below `~/.local/share`, for root below `/var/lib`. This is the
    /// default.
    pub fn kept(mut self) -> Self {
        self.place = Place::Kept(None);
        self
    }

    /// Starts a server of its own, whose data is removed when it stops.
    pub fn throwaway(mut self) -> Self {
        self.place = Place::Throwaway;
        self
    }

    #[cfg(feature = "testkit")]
    pub(crate) fn shared(mut self, name: String) -> Self {
        self.place = Place::Shared(name);
        self
    }

    /// Adds a setting of PostgreSQL. It takes effect when this program is the one that starts the
    /// server, not when it joins a running one.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Calls `report` with what goes on, from a thread of its own. Nothing is printed otherwise.
    pub fn on_progress(mut self, report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Arc::new(report);
        self
    }

    /// Uses the server of `DATABASE_URL` when that is set, and starts nothing; else as
    /// [`start`](Self::start). Whether that server answers is left to the first connection.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    pub async fn database(self) -> Result<Database, EmbeddedError> {
        if let Some(url) = self.env.database_url.clone() {
            return Ok(Database { url, server: None });
        }
        let server = self.start().await?;
        Ok(Database { url: server.url.clone(), server: Some(server) })
    }

    /// Joins or starts the server and returns when it takes connections.
    ///
    /// The server programs come from, in this order: `OMS_POSTGRES_BIN`; this machine
    /// (`OMS_POSTGRES_LOCAL=never` hides it); an earlier download; a download
    /// (`OMS_POSTGRES_DOWNLOAD=never` forbids it, `OMS_POSTGRES_MIRROR` names another source).
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`] says what was looked for, where, and what to do.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, what was begun (a download, initdb, the start) is ended in the
    /// background, and the server stops again.
    pub async fn start(self) -> Result<Postgres, EmbeddedError> {
        let started = tokio::task::spawn_blocking(move || self.start_blocking()).await;
        let server = started.map_err(|error| EmbeddedError::Interrupted(error.to_string()))??;
        server.wait_ready().await?;
        Ok(server)
    }

    fn start_blocking(self) -> Result<Postgres, EmbeddedError> {
        let account = Account::choose()?;
        let installation = obtain(&self.env, account, &self.on_progress)?;
        let (path, terms) = self.folder_of(&installation, account)?;
        let folder = Folder::prepare(&path, account)?;
        let turn = Turn::take(&folder)?;
        let membership = join(&turn, &folder, &installation.bin, account, terms)?;
        let mut server = Postgres {
            url: String::new(),
            version: installation.version,
            folder,
            settings: small_machine_settings().chain(self.settings).collect(),
            membership,
        };
        server.url = server.run(&turn, &self.on_progress)?;
        Ok(server)
    }

    fn folder_of(
        &self,
        installation: &Installation,
        account: Account,
    ) -> Result<(PathBuf, Terms), EmbeddedError> {
        let keep = Terms { afterwards: Afterwards::Keep, linger_s: LINGER_S };
        let name = format!("postgres-{}", installation.major);
        match &self.place {
            Place::Kept(Some(folder)) => Ok((folder.join(name), keep)),
            Place::Kept(None) => match self.env.data_folder(account.is_switched()) {
                Some(folder) => Ok((folder.join(name), keep)),
                None => Err(EmbeddedError::Folder {
                    folder: PathBuf::from("~/.local/share/oms-engine"),
                    reason: "neither HOME nor XDG_DATA_HOME is set".to_owned(),
                }),
            },
            #[cfg(feature = "testkit")]
            Place::Shared(start) => {
                let terms = Terms { afterwards: Afterwards::Discard, linger_s: LINGER_S };
                let name = format!("{start}-{}", installation.major);
                Ok((std::env::temp_dir().join(name), terms))
            }
            Place::Throwaway => {
                let terms = Terms { afterwards: Afterwards::Remove, linger_s: 0 };
                Ok((new_throwaway_folder(account)?, terms))
            }
        }
    }
}

fn new_throwaway_folder(account: Account) -> Result<PathBuf, EmbeddedError> {
    let base = std::env::temp_dir();
    let made = random_hex().and_then(|name| {
        let folder = base.join(format!("oms-pg-{name}"));
        DirBuilder::new().mode(0o700).create(&folder)?;
        account.adopt(&folder)?;
        Ok(folder)
    });
    made.map_err(|error| EmbeddedError::Folder { folder: base, reason: error.to_string() })
}

/// A commit is on disk when it returns, also here: a server that loses orders helps nobody.
fn small_machine_settings() -> impl Iterator<Item = (String, String)> {
    let settings = [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("shared_buffers", "128MB"),
        ("max_connections", "200"),
        ("max_wal_size", "1GB"),
        ("autovacuum", "on"),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
}

impl Postgres {
    /// Says how a server is to be had; by default one whose data is kept.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder {
            place: Place::Kept(None),
            settings: Vec::new(),
            on_progress: Arc::new(|_| {}),
            env: Env::read(),
        }
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
        &self.version
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
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        let version = self.version.clone();
        let users = self.membership.duplicate().map_err(|error| self.folder.refused(&error))?;
        let work = move || {
            let turn = Turn::take(&folder)?;
            let again = Self { url: String::new(), version, folder, settings, membership: users };
            let report: OnProgress = Arc::new(|_| {});
            again.run(&turn, &report)
        };
        let ran = tokio::task::spawn_blocking(work).await;
        self.url = ran.map_err(|error| EmbeddedError::Interrupted(error.to_string()))??;
        self.wait_ready().await
    }

    /// Stops the server for all its users without a checkpoint, as a power cut would; the data
    /// stays. [`ensure_running`](Self::ensure_running) starts it again.
    #[cfg(feature = "testkit")]
    pub(crate) async fn stop_immediate(&self) -> Result<(), EmbeddedError> {
        let folder = self.folder.clone();
        let users = self.membership.duplicate().map_err(|error| folder.refused(&error))?;
        let work = move || {
            let _turn = Turn::take(&folder)?;
            let told = users.tell(&folder, "stop immediate");
            match told.map_err(|error| folder.refused(&error))? {
                Some(true) => Ok(()),
                _ => Err(EmbeddedError::Interrupted(folder.log_tail())),
            }
        };
        let ran = tokio::task::spawn_blocking(work).await;
        ran.map_err(|error| EmbeddedError::Interrupted(error.to_string()))?
    }

    #[cfg(feature = "testkit")]
    pub(crate) fn postmaster_pid(&self) -> Option<i32> {
        self.folder.postmaster().map(|(pid, _)| pid)
    }

    fn failed(&self, reason: String) -> EmbeddedError {
        EmbeddedError::Start {
            version: self.version.clone(),
            folder: self.folder.path().to_owned(),
            reason,
        }
    }

    /// Has the supervisor start the server unless it runs; returns its URL.
    fn run(&self, _turn: &Turn, on_progress: &OnProgress) -> Result<String, EmbeddedError> {
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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
