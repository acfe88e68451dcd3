//! The inbox: its table is made here, and old rows of it are removed.

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::Error;

/// Forward only: a migration that landed is never edited.
const MIGRATIONS: &[(i32, &str, &str)] =
    &[(1, "inbox", include_str!("../migrations/0001_inbox.sql"))];
const KNOWN: i32 = 1;

const VERSIONS: &str = "CREATE SCHEMA IF NOT EXISTS oms_conductor;
CREATE TABLE IF NOT EXISTS oms_conductor.migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT statement_timestamp()
)";

/// Makes the table `oms_conductor.inbox` in the database that transactional tasks write to: one
/// transaction under an advisory lock, so that two programs at once do it once. A second run changes
/// nothing. Workers need `SELECT`, `INSERT` and `UPDATE` on it, and `USAGE` on its schema.
///
/// # Errors
/// [`Error::SchemaVersion`] when the table is of a newer version of this crate; database errors.
///
/// # Cancel safety
/// Dropped, the table is as it was or up to date, nothing between.
pub async fn migrate(client: &mut Client) -> Result<(), Error> {
    let doing = |source| Error::Database { doing: "migrating the inbox", source };
    let tx = client.transaction().await.map_err(doing)?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('oms-conductor migration', 0))";
    tx.batch_execute(lock).await.map_err(doing)?;
    tx.batch_execute(VERSIONS).await.map_err(doing)?;
    let highest = "SELECT coalesce(max(version), 0) FROM oms_conductor.migrations";
    let row = tx.query_one(highest, &[]).await.map_err(doing)?;
    let found: i32 = row.try_get(0).map_err(doing)?;
    if found > KNOWN {
        return Err(Error::SchemaVersion { found, known: KNOWN });
    }
    for (version, name, text) in MIGRATIONS.iter().filter(|(version, ..)| *version > found) {
        tx.batch_execute(text).await.map_err(doing)?;
        let record = "INSERT INTO oms_conductor.migrations (version, name) VALUES ($1, $2)";
        tx.execute(record, &[version, name]).await.map_err(doing)?;
    }
    tx.commit().await.map_err(doing)
}

/// The SQL that [`migrate`] runs on an empty database, for the user's own migration tool.
#[must_use]
pub fn migration_sql() -> String {
    let mut sql = format!("{VERSIONS};\n");
    for (version, name, text) in MIGRATIONS {
        sql.push_str(text);
        sql.push_str(&format!(
            "INSERT INTO oms_conductor.migrations (version, name) VALUES ({version}, '{name}');\n"
        ));
    }
    sql
}

/// Removes what was done longer ago than `age`; out: how many rows. Choose an age beyond the longest time
/// for which a run may go on, be retried or be restarted: a delivery whose row is gone acts again.
///
/// # Errors
/// Database errors.
///
/// # Cancel safety
/// Dropped, all of them are removed or none.
pub async fn prune(client: &Client, age: Duration) -> Result<u64, Error> {
    let doing = |source| Error::Database { doing: "pruning the inbox", source };
    let seconds = age.as_secs_f64();
    client.execute(include_str!("sql/prune.sql"), &[&seconds]).await.map_err(doing)
}
