//! Databases for tests of engines and of users' workflows, and all the harm that can come to one
//! ([`faults`]).

mod admin;
mod database;
mod dry;
pub mod faults;
mod own;
mod rights;
mod statements;
#[cfg(test)]
mod tests;

pub use database::TestDatabase;
pub use dry::DryRun;
pub use faults::{
    Failure, KitOptions, Moment, Report, Step, Subject, Way, crash_each_commit, fail_each_step,
    repeat_each_step, work_until_killed, worker_url,
};
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
    /// The subject of a test did not give what it was asked for.
    #[error("{doing}: {source}")]
    Subject {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Failure,
    },
    /// A worker process, or the way to it, failed by itself.
    #[error("{0}")]
    Worker(String),
    /// What the checker of a test found.
    #[error("{} of {runs} runs are broken:\n{}", complaints.len(), complaints.join("\n"))]
    Broken {
        /// Runs in all.
        runs: usize,
        /// What was done to a run, and what is wrong with it.
        complaints: Vec<String>,
    },
}
