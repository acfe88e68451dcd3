//! Why no PostgreSQL could be had, and what to do about it.

use std::path::PathBuf;

/// Why no PostgreSQL could be had.
///
/// The texts are written for the person at the terminal: a program prints `error: ` and the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No server is named by the environment, installed here, or could be downloaded.
    #[error("{}", no_postgres(places, last_attempt))]
    NoPostgres {
        /// The places that were looked at, in order, after `OMS_POSTGRES_BIN`, which is not set.
        places: Vec<String>,
        /// Why nothing was downloaded.
        last_attempt: String,
    },
    /// `OMS_POSTGRES_BIN` is set, and there is no server in it.
    #[error("OMS_POSTGRES_BIN is {}, which has no {missing}\n  Set it to the directory that holds initdb, pg_ctl and postgres, or unset it.", dir.display())]
    BinIncomplete {
        /// The directory.
        dir: PathBuf,
        /// The program that is not in it or does not run, and why.
        missing: String,
    },
    /// The program runs as root, and no other user could be used for the server.
    #[error(
        "PostgreSQL refuses to run as root, and no unprivileged user (\"postgres\", then \"nobody\") could be used: {reason}.\n  Run this as another user, or set DATABASE_URL."
    )]
    Root {
        /// Why not.
        reason: String,
    },
    /// The folder of a server cannot be used.
    #[error("cannot keep a PostgreSQL server in {}: {reason}\n  Choose another folder, or set DATABASE_URL.", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The server did not start.
    #[error("PostgreSQL {version} did not start in {}: {reason}", folder.display())]
    Start {
        /// The version of the programs.
        version: String,
        /// The server's folder; its `log` has all that the server said.
        folder: PathBuf,
        /// The last lines of its log, or what else was seen.
        reason: String,
    },
    /// The server runs and does not take connections.
    #[error("the PostgreSQL server in {} takes no connections: {source}", folder.display())]
    Connect {
        /// The server's folder; its `log` has all that the server said.
        folder: PathBuf,
        /// The last answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The thread that worked on this panicked or the runtime was shut down.
    #[error("the start of PostgreSQL was cut off: {0}")]
    Interrupted(String),
}

fn no_postgres(places: &[String], last_attempt: &str) -> String {
    let places = places.join(", ");
    format!(
        "no PostgreSQL to run on.
  DATABASE_URL is not set, and no PostgreSQL server programs (initdb, postgres) were found in:
    OMS_POSTGRES_BIN (not set), {places}
  Do one of these:
    export DATABASE_URL=postgres://user:password@host:5432/dbname
    install a server:  apt-get install postgresql  |  brew install postgresql@17  |  dnf install postgresql-server
    or let this program download one (about 15 MB, once): unset OMS_POSTGRES_DOWNLOAD; the last attempt said: {last_attempt}"
    )
}
