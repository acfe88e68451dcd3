//! Says how a server is to be had: where its data is kept, and what else is asked of it.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::account::Account;
use super::env::Env;
use super::folder::{Folder, random_hex};
use super::locate::Installation;
use super::server::blocking;
use super::supervise::{Afterwards, Terms, Turn, join};
use super::{Database, EmbeddedError, Postgres, Progress, obtain};

/// Long enough for the next program of a script, or the next test binary, to find the server up.
const LINGER_S: u32 = 2;

pub(super) type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

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
    #[cfg(feature = "testkit")]
    follows: Option<String>,
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
    pub(super) fn new() -> Self {
        Self {
            place: Place::Kept(None),
            settings: Vec::new(),
            #[cfg(feature = "testkit")]
            follows: None,
            on_progress: Arc::new(|_| {}),
            env: Env::read(),
        }
    }

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

    /// Begins with a copy of the server of this URL, and follows it as a standby.
    #[cfg(feature = "testkit")]
    pub(crate) fn follows(mut self, primary: &str) -> Self {
        self.follows = Some(primary.to_owned());
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
            return Ok(Database::foreign(url));
        }
        Ok(Database::ours(self.start().await?))
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
        let report = Arc::clone(&self.on_progress);
        let mut server = blocking(move || self.join_blocking()).await?;
        server.bring_up(&report).await?;
        Ok(server)
    }

    fn join_blocking(self) -> Result<Postgres, EmbeddedError> {
        let account = Account::choose()?;
        let installation = obtain(&self.env, account, &self.on_progress)?;
        let (path, terms) = self.folder_of(&installation, account)?;
        let account = account.or_owner_of(&path);
        let folder = Folder::prepare(&path, account)?;
        let turn = Turn::take(&folder)?;
        let membership = join(&turn, &folder, &installation.bin, account, terms)?;
        #[cfg(feature = "testkit")]
        if let Some(primary) = &self.follows {
            super::follow::copy(&folder, &installation.bin, account, primary)?;
        }
        let settings = small_machine_settings().chain(self.settings).collect();
        Ok(Postgres::joined(installation, folder, settings, membership))
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
