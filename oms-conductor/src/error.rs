//! Every error of this crate.

use std::time::Duration;

/// What went wrong between this program and a Conductor server, or with the inbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What a builder was given cannot work.
    #[error("{0}")]
    Config(String),
    /// The server cannot be reached, or the connection ended before it answered.
    #[error("{what}: cannot reach {server}")]
    Unreachable {
        /// What was asked.
        what: String,
        /// The server's address.
        server: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server gave no answer in time.
    #[error("{what}: no answer within {after:?}")]
    Deadline {
        /// What was asked.
        what: String,
        /// The deadline.
        after: Duration,
    },
    /// The server refused.
    #[error("{what}: {status} {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: String,
        /// Whether it was a Conductor that said it, by the form of its body: a proxy before it that has nowhere
        /// to go answers as well.
        by_conductor: bool,
    },
    /// The answer is not what a Conductor server answers.
    #[error("{what}: the answer cannot be read")]
    Unreadable {
        /// What was asked.
        what: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The database refused or went away.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The inbox is of a newer version of this crate.
    #[error("the inbox is of version {found}, this program knows {known}: upgrade it")]
    SchemaVersion {
        /// The tables'.
        found: i32,
        /// This crate's.
        known: i32,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Deadline { .. } => true,
            // Of what another one says only that it is too large is final. 401 and 403 are about the
            // key, which an operator may set right.
            Self::Refused { status, by_conductor, .. } => match status {
                413 => false,
                401 | 403 | 408 | 425 | 429 => true,
                400..500 => !by_conductor,
                _ => true,
            },
            Self::Database { source, .. } => source.code().is_none(),
            Self::Config(_) | Self::Unreadable { .. } | Self::SchemaVersion { .. } => false,
        }
    }

    /// The server has no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, by_conductor: true, .. })
    }

    /// The error and its causes in one line.
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let part = cause.to_string();
            if !text.contains(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            next = cause.source();
        }
        text
    }
}
