//! Connections to the same database for programs' own statements.

use std::time::Duration;

use crate::error::Error;
use crate::store::{Connector, Statements};

/// How long a connection and each statement on it may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Connections to a database for a program's own statements, made as the engine makes its own: TLS with a
/// verified certificate where the URL asks for it, keepalives, a statement time-out of 10 s. None is
/// made before it is asked for.
///
/// # Errors
/// [`Error::Config`] for a URL that cannot be read, or `sslmode=require` where there are no root
/// certificates.
pub fn connection_pool(
    database_url: &str,
    connections: usize,
) -> Result<deadpool_postgres::Pool, Error> {
    Connector::new(database_url, DEADLINE)?.pool(connections, Statements::Users)
}
