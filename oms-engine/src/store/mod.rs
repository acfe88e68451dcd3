//! The only SQL of the engine: one statement per file in `sql/`, one Rust file per operation.

/// A database error in words: SQLSTATE, message and detail, never the source twice.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}
