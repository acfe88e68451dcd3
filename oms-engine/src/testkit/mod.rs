//! Databases for tests of engines and of users' workflows.

mod admin;
mod database;
mod dry;
mod own;
mod statements;
#[cfg(test)]
mod tests;

pub use database::TestDatabase;
pub use dry::DryRun;
pub use own::OwnPostgres;
pub use statements::{planner, statements};

use crate::embedded::EmbeddedError;

/// Why a test has no database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// No server could be had.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The server refused or went away.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: String,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The template could not be filled.
    #[error("filling the template database {template}: {source}")]
    Fill {
        /// Its name; it is removed when it is filled the next time.
        template: String,
        /// The cause, from the closure that was given.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A signal could not be sent.
    #[error("{0}")]
    Signal(String),
}
