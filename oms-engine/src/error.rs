//! What can go wrong, to which workflow and task, and what to do about it.

use std::time::Duration;

use crate::definition::Faults;
use crate::ids::{InvalidId, TaskId, WorkflowId};

/// Every error of this crate.
///
/// [`is_retryable`](Self::is_retryable) tells whether the same call may succeed later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A definition was refused; nothing was registered. Every fault is listed.
    #[error("{faults}")]
    InvalidDefinition {
        /// All faults, each with its JSON path and what to do.
        faults: Faults,
    },
    /// No such definition is registered.
    #[error("workflow definition {name:?} {} is not registered", version_text(*version))]
    DefinitionNotFound {
        /// The name asked for.
        name: String,
        /// The version asked for; none for the latest.
        version: Option<i32>,
    },
    /// The definition was replaced again and again while a workflow was being started; nothing
    /// was started.
    #[error("workflow definition {name:?} {} changes too often to start it", version_text(*version))]
    DefinitionChanged {
        /// The name asked for.
        name: String,
        /// The version asked for; none for the latest.
        version: Option<i32>,
    },
    /// A definition of this name and version is registered, and was not to be written over.
    #[error("workflow definition {name:?} version {version} is registered already")]
    DefinitionExists {
        /// Its name.
        name: String,
        /// Its version.
        version: i32,
    },
    /// No such task definition.
    #[error("task definition {name:?} is not registered")]
    TaskDefinitionNotFound {
        /// The name asked for.
        name: String,
    },
    /// No such workflow.
    #[error("workflow {0} does not exist")]
    WorkflowNotFound(WorkflowId),
    /// No such schema is registered.
    #[error("schema {name:?} {} is not registered", version_text(*version))]
    SchemaNotFound {
        /// The name asked for.
        name: String,
        /// The version asked for; none for the latest.
        version: Option<i32>,
    },
    /// No such task: the run has none of this name, or not this attempt.
    #[error("task {0} does not exist")]
    TaskNotFound(TaskId),
    /// No such schedule.
    #[error("schedule {name:?} does not exist")]
    ScheduleNotFound {
        /// The name asked for.
        name: String,
    },
    /// The workflow is not in a state that allows this.
    #[error("cannot {action} workflow {workflow_id}: {reason}")]
    Conflict {
        /// The workflow.
        workflow_id: WorkflowId,
        /// What was asked for.
        action: &'static str,
        /// Why it cannot be done.
        reason: String,
    },
    /// The workflow's open tasks changed faster than an action could take them.
    #[error("workflow {workflow_id} moved on too often while its open tasks were taken")]
    Moved {
        /// The workflow.
        workflow_id: WorkflowId,
    },
    /// The idempotency key was used before with another input.
    #[error(
        "idempotency key {key:?} of workflow {name:?} was used by workflow {first} with another input"
    )]
    IdempotencyConflict {
        /// The definition's name.
        name: String,
        /// The key.
        key: String,
        /// The workflow that was started under the key.
        first: WorkflowId,
    },
    /// The idempotency key was used before, and its strategy refuses that.
    #[error("idempotency key {key:?} of workflow {name:?} was used by workflow {first}")]
    IdempotencyKeyUsed {
        /// The definition's name.
        name: String,
        /// The key.
        key: String,
        /// The workflow that was started under the key; with `FAIL_ON_RUNNING` it is running.
        first: WorkflowId,
    },
    /// An input, output, key or option was refused; nothing was done.
    #[error("{what} refused: {reason}")]
    InvalidInput {
        /// What was refused, with its JSON path where it has one.
        what: String,
        /// Why, and what is allowed.
        reason: String,
    },
    /// A text is no id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The task is no longer this worker's: it timed out, its workflow ended, or its holder was
    /// taken for dead. What was reported has no effect.
    #[error("lease of task {task_id} is lost; its report has no effect")]
    LeaseLost {
        /// The attempt.
        task_id: TaskId,
    },
    /// The tables are not those of this library.
    #[error("schema {schema:?} has version {found}, this library needs {needed}: {hint}")]
    SchemaVersion {
        /// The schema's name.
        schema: String,
        /// The version found; 0 when there are no tables.
        found: i32,
        /// The version that this library was built for.
        needed: i32,
        /// What to do.
        hint: &'static str,
    },
    /// A setting was refused.
    #[error("configuration refused: {0}")]
    Config(String),
    /// PostgreSQL refused or the connection was lost.
    #[error("{doing}: {}", crate::store::describe(source))]
    Database {
        /// What the engine was doing.
        doing: &'static str,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// PostgreSQL cannot be reached, or lets nobody in.
    #[error("cannot connect to PostgreSQL at {target}: {source}: {hint}")]
    Unreachable {
        /// Host, port and database, without the password.
        target: String,
        /// The cause.
        #[source]
        source: Box<Self>,
        /// What to do.
        hint: &'static str,
    },
    /// A pooler stands between, and gives a connection another session for each transaction.
    #[error(
        "connections to PostgreSQL at {target} share sessions, which leases and wake-ups hang on: connect straight to PostgreSQL, or set pool_mode = session in the pooler"
    )]
    SharedSessions {
        /// Host, port and database, without the password.
        target: String,
    },
    /// No connection could be had.
    #[error("{doing}: no database connection")]
    Connection {
        /// What the engine was doing.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A call passed its deadline. Whether it took effect is unknown: ask before repeating it.
    #[error("{doing}: no answer within {after:?}")]
    Deadline {
        /// What the engine was doing.
        doing: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A search has more to look at than its time allows; the database was told to stop it.
    #[error(
        "the search did not end within {after:?}: narrow it, by ids, a correlation id, a status or the time of start"
    )]
    TooWide {
        /// The time that a search has.
        after: Duration,
    },
    /// The engine is shutting down or has been shut down.
    #[error("the engine is shut down")]
    Shutdown,
    /// The workflow ended unsuccessfully.
    #[error("workflow {workflow_id} ended {status}: {reason}")]
    WorkflowFailed {
        /// The workflow.
        workflow_id: WorkflowId,
        /// Its status, as Conductor spells it.
        status: &'static str,
        /// Its reason for incompletion.
        reason: String,
    },
    /// Runs that were to be removed could not be written to the file that they are exported to.
    #[error("exporting workflows to {path}")]
    Export {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// What the tables hold contradicts itself. Report it: it is a bug of this library, or
    /// somebody changed the tables by hand.
    #[error("broken invariant{}: {what}", workflow_id.map_or(String::new(), |id| format!(" in workflow {id}")))]
    Invariant {
        /// The workflow, where it is known.
        workflow_id: Option<WorkflowId>,
        /// What was found.
        what: String,
    },
    /// No PostgreSQL could be found or started.
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Embedded(#[from] crate::embedded::EmbeddedError),
}

fn version_text(version: Option<i32>) -> String {
    version.map_or_else(|| "(any version)".to_owned(), |v| format!("version {v}"))
}

/// What to do about a database error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Repeat the transaction on the same connection (40001, 40P01, 55P03).
    RepeatTransaction,
    /// Repeat on a new connection; whether the last one committed must be read back.
    NewConnection,
    /// The server is short of something: wait longer, then as `NewConnection`.
    BackOff,
    /// Repeating cannot help.
    GiveUp,
}

/// Sorts a database error by its SQLSTATE class.
pub(crate) fn remedy(error: &tokio_postgres::Error) -> Remedy {
    let Some(code) = error.code().map(tokio_postgres::error::SqlState::code) else {
        return Remedy::NewConnection;
    };
    match code {
        "40001" | "40P01" | "55P03" => Remedy::RepeatTransaction,
        "57P01" | "57P02" | "57P03" | "57014" | "25006" | "26000" | "42P05" => {
            Remedy::NewConnection
        }
        // A prepared statement has outlived its tables: a migration changed what it gives.
        "0A000" => Remedy::NewConnection,
        _ if code.starts_with("08") || code.starts_with("XX") => Remedy::NewConnection,
        _ if code.starts_with("53") => Remedy::BackOff,
        _ => Remedy::GiveUp,
    }
}

impl Error {
    /// Whether the same call may succeed later without a change of its arguments.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Database { source, .. } => remedy(source) != Remedy::GiveUp,
            Self::Unreachable { source, .. } => source.is_retryable(),
            Self::Connection { .. }
            | Self::Deadline { .. }
            | Self::Moved { .. }
            | Self::DefinitionChanged { .. } => true,
            _ => false,
        }
    }

    /// Says where to and what to do, of a connection that could not be made.
    pub(crate) fn unreachable(self, target: String) -> Self {
        let code = match &self {
            Self::Database { source, .. } => source.code().map(|code| code.code().to_owned()),
            _ => None,
        };
        let hint = match code.as_deref() {
            Some("3D000") => "create the database, or name another one in the database URL",
            Some("28P01" | "28000") => "check user and password in the database URL",
            Some("53300") => "it has no connection left: raise max_connections or close some",
            Some(_) => "see the server's log",
            None if self.to_string().contains("TLS") => {
                "check that it speaks TLS, and that its certificate is of a root that is known here \
                 (SSL_CERT_FILE names others)"
            }
            None => "check that it runs and that host and port of the database URL are right",
        };
        Self::Unreachable { target, source: Box::new(self), hint }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidInput { what: what.into(), reason: reason.into() }
    }

    pub(crate) fn invariant(workflow_id: WorkflowId, what: impl Into<String>) -> Self {
        Self::Invariant { workflow_id: Some(workflow_id), what: what.into() }
    }
}

/// Names what was being done when a database error came back.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Database { doing, source })
    }
}

impl<T> Doing<T> for Result<T, deadpool_postgres::PoolError> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(source) => Error::Database { doing, source },
            other => Error::Connection { doing, source: Box::new(other) },
        })
    }
}
