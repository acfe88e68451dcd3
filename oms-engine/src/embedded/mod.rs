//! PostgreSQL on hand: found on this machine or downloaded, then started, shared and stopped.
//!
//! A server that we start hangs on the programs that use it. Unless it is told otherwise it keeps
//! fsync on; it listens on a Unix socket that only its user can reach (on a loopback port with a
//! password where sockets cannot be used), and, where its data is kept, has all of it again after
//! any crash.
//!
//! ```no_run
//! # async fn example() -> Result<(), oms_engine::embedded::EmbeddedError> {
//! use oms_engine::embedded::Postgres;
//!
//! let database = Postgres::builder().database().await?;
//! println!("{}", database.url());
//! # Ok(())
//! # }
//! ```

mod account;
mod builder;
mod cache;
mod download;
pub(crate) mod env;
mod error;
pub(crate) mod folder;
#[cfg(feature = "testkit")]
mod follow;
mod locate;
mod server;
mod supervise;
mod wheel;

pub use builder::PostgresBuilder;
pub use error::EmbeddedError;
pub use server::{Database, Postgres};

#[cfg(not(unix))]
compile_error!("the feature `embedded` needs a Unix system; set DATABASE_URL to a server instead");

use account::Account;
use builder::OnProgress;
use cache::Cache;
use env::Env;
use locate::Installation;

/// What goes on while a server is being had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The server programs are being downloaded.
    Downloading {
        /// Bytes received so far.
        received: u64,
        /// Bytes in all, where the sender says so.
        total: Option<u64>,
    },
    /// The download is being unpacked.
    Unpacking,
    /// A new data folder is being made; it takes some seconds.
    Initializing,
    /// The server is being started.
    Starting,
}

/// Finds server programs, or downloads them.
fn obtain(env: &Env, account: Account, report: &OnProgress) -> Result<Installation, EmbeddedError> {
    if let Some(installation) = locate::named(env, account)? {
        return Ok(installation);
    }
    if let Some(installation) = locate::local(env, account) {
        return Ok(installation);
    }
    let mut places = locate::local_places(env);
    let last_attempt = match env.cache_folder(account.is_switched()) {
        Some(folder) => {
            let cache = Cache::new(folder, account);
            if let Some(installation) = cache.find() {
                return Ok(installation);
            }
            places.push(cache.folder().display().to_string());
            match cache.fill(env, report) {
                Ok(installation) => return Ok(installation),
                Err(reason) => reason,
            }
        }
        None if env.download_never => "OMS_POSTGRES_DOWNLOAD=never".to_owned(),
        None => "neither HOME nor XDG_CACHE_HOME is set".to_owned(),
    };
    Err(EmbeddedError::NoPostgres { places, last_attempt })
}
