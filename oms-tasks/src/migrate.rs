//! The tables: made and checked.

use tokio_postgres::{Client, GenericClient};

use crate::error::{Doing as _, Error};

/// Forward only: a migration that landed is never edited.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "orders", include_str!("../migrations/oms/0001_orders.sql")),
    (2, "payment_intents", include_str!("../migrations/oms/0002_payment_intents.sql")),
    (3, "stock_reservations", include_str!("../migrations/oms/0003_stock_reservations.sql")),
    (4, "cancellation", include_str!("../migrations/oms/0004_cancellation.sql")),
    (5, "returns", include_str!("../migrations/oms/0005_returns.sql")),
    (6, "deliveries", include_str!("../migrations/oms/0006_deliveries.sql")),
    (7, "delivery_windows", include_str!("../migrations/oms/0007_delivery_windows.sql")),
    (8, "messages", include_str!("../migrations/oms/0008_messages.sql")),
    (9, "warehouses", include_str!("../migrations/oms/0009_warehouses.sql")),
];

/// The version of the order tables that this library works on.
pub const TABLES_VERSION: i32 = KNOWN;
const KNOWN: i32 = 9;

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS oms_tasks_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT statement_timestamp()
)";

/// Brings the order tables, in the first schema of the connection's search path, to this
/// library's version: one transaction under an advisory lock, so that two programs at once do it
/// once. A second run changes nothing.
///
/// # Errors
/// [`Error::SchemaVersion`] when the tables are newer than this library; database errors.
///
/// # Cancel safety
/// Dropping the future leaves the tables as they were or brings them up to date, nothing between.
pub async fn migrate(client: &mut Client) -> Result<(), Error> {
    let doing = "migrating the order tables";
    let tx = client.transaction().await.doing(doing)?;
    tx.batch_execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('oms-tasks migration of '
            || coalesce(current_schema(), ''), 0))",
    )
    .await
    .doing(doing)?;
    let found = found(&tx).await?.unwrap_or(0);
    if found > KNOWN {
        return Err(Error::SchemaVersion { found, known: KNOWN });
    }
    if found == KNOWN {
        return Ok(());
    }
    tx.batch_execute(VERSIONS).await.doing(doing)?;
    for (version, name, text) in MIGRATIONS.iter().filter(|(version, ..)| *version > found) {
        tx.batch_execute(text).await.doing(doing)?;
        let record = "INSERT INTO oms_tasks_migrations (version, name) VALUES ($1, $2)";
        tx.execute(record, &[version, name]).await.doing(doing)?;
    }
    tx.commit().await.doing(doing)
}

/// The version of the order tables that are there.
pub(crate) async fn found(client: &impl GenericClient) -> Result<Option<i32>, Error> {
    let doing = "looking for the order tables";
    let there = "SELECT to_regclass('oms_tasks_migrations') IS NOT NULL";
    let row = client.query_one(there, &[]).await.doing(doing)?;
    if !row.try_get(0).doing(doing)? {
        return Ok(None);
    }
    let highest = "SELECT max(version) FROM oms_tasks_migrations";
    client.query_one(highest, &[]).await.doing(doing)?.try_get(0).doing(doing)
}

/// The SQL that [`migrate`] runs on an empty schema, for the user's own migration tool.
#[must_use]
pub fn migration_sql() -> String {
    let mut sql = format!("{VERSIONS};\n");
    for (version, name, text) in MIGRATIONS {
        sql.push_str(text);
        sql.push_str(&format!(
            "INSERT INTO oms_tasks_migrations (version, name) VALUES ({version}, '{name}');\n"
        ));
    }
    sql
}
