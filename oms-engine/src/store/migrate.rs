//! The tables: made, checked and printed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;

use super::{Store, rows::get};
use crate::error::{Doing as _, Error};

/// Forward only: a migration that landed is never edited.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "init", include_str!("../../migrations/engine/0001_init.sql")),
    (2, "graph", include_str!("../../migrations/engine/0002_graph.sql")),
    (3, "schedules", include_str!("../../migrations/engine/0003_schedules.sql")),
    (4, "family", include_str!("../../migrations/engine/0004_family.sql")),
    (5, "rerun", include_str!("../../migrations/engine/0005_rerun.sql")),
    (6, "keys", include_str!("../../migrations/engine/0006_keys.sql")),
    (7, "limits", include_str!("../../migrations/engine/0007_limits.sql")),
    (8, "domains", include_str!("../../migrations/engine/0008_domains.sql")),
    (9, "events", include_str!("../../migrations/engine/0009_events.sql")),
    (10, "undo", include_str!("../../migrations/engine/0010_undo.sql")),
    (11, "schemas", include_str!("../../migrations/engine/0011_schemas.sql")),
    (12, "limits_seen", include_str!("../../migrations/engine/0012_limits_seen.sql")),
    (13, "remote", include_str!("../../migrations/engine/0013_remote.sql")),
    (14, "search", include_str!("../../migrations/engine/0014_search.sql")),
    (15, "api_keys", include_str!("../../migrations/engine/0015_api_keys.sql")),
    (16, "ends_in_place", include_str!("../../migrations/engine/0016_ends_in_place.sql")),
    (17, "operations", include_str!("../../migrations/engine/0017_operations.sql")),
    (18, "start_in_sql", include_str!("../../migrations/engine/0018_start_in_sql.sql")),
    (19, "traces", include_str!("../../migrations/engine/0019_traces.sql")),
];

/// The version of the tables that this library works on.
pub(crate) const SCHEMA_VERSION: i32 = 19;

/// A migration that this library knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// Its number, from 1.
    pub version: i32,
    /// What it is about.
    pub name: &'static str,
    /// When it was applied; none: not yet.
    pub applied_at: Option<DateTime<Utc>>,
}

/// Checks and quotes a schema's name: `[a-z_][a-z0-9_]{0,39}`, so that names made from it fit
/// PostgreSQL's 63 bytes.
pub(super) fn quote_schema(schema: &str) -> Result<String, Error> {
    let mut bytes = schema.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !first || !rest || schema.len() > 40 || schema.starts_with("pg_") {
        return Err(Error::Config(format!(
            "schema name {schema:?}: use 1 to 40 of a-z, 0-9 and _, not beginning with a digit or pg_"
        )));
    }
    Ok(format!("\"{schema}\""))
}

/// The SQL that makes all tables of the engine in `schema`, for the user's own migration tool.
///
/// # Errors
/// [`Error::Config`] when the schema's name is refused.
///
/// ```
/// let sql = oms_engine::migration_sql("oms_engine")?;
/// assert!(sql.contains(r#"CREATE TABLE "oms_engine".workflows"#));
/// # Ok::<(), oms_engine::Error>(())
/// ```
pub fn migration_sql(schema: &str) -> Result<String, Error> {
    let quoted = quote_schema(schema)?;
    let mut sql = prelude(&quoted);
    for (version, name, text) in MIGRATIONS {
        sql.push_str(&text.replace("{schema}", &quoted));
        sql.push_str(&record(&quoted, *version, name));
    }
    Ok(sql)
}

fn prelude(quoted: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {quoted};\n\
         CREATE TABLE IF NOT EXISTS {quoted}.migrations (\n    \
             version int PRIMARY KEY,\n    \
             name text NOT NULL,\n    \
             applied_at timestamptz NOT NULL DEFAULT statement_timestamp()\n);\n"
    )
}

fn record(quoted: &str, version: i32, name: &str) -> String {
    format!("\nINSERT INTO {quoted}.migrations (version, name) VALUES ({version}, '{name}');\n")
}

impl Store {
    /// Brings the tables to this library's version, in one transaction under an advisory lock:
    /// two programs at once do it once.
    pub(crate) async fn migrate(&self, db: &mut ClientWrapper) -> Result<(), Error> {
        let doing = "migrating the engine's tables";
        let quoted = quote_schema(&self.schema)?;
        let tx = tokio_postgres::Client::transaction(db).await.doing(doing)?;
        let lock = format!("oms-engine migration of {}", self.schema);
        tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock])
            .await
            .doing(doing)?;
        let found = version(&tx, &self.schema, &quoted).await?;
        self.refuse_newer(found)?;
        if found < SCHEMA_VERSION {
            tx.batch_execute(&prelude(&quoted)).await.doing(doing)?;
        }
        for (version, name, text) in MIGRATIONS.iter().filter(|m| m.0 > found) {
            tx.batch_execute(&text.replace("{schema}", &quoted)).await.doing(doing)?;
            tx.batch_execute(&record(&quoted, *version, name)).await.doing(doing)?;
        }
        tx.commit().await.doing(doing)
    }

    /// All migrations that this library knows, each with when it was applied.
    pub(crate) async fn migrations(&self, db: &mut ClientWrapper) -> Result<Vec<Migration>, Error> {
        let doing = "reading the migrations";
        let quoted = quote_schema(&self.schema)?;
        let tx = tokio_postgres::Client::transaction(db).await.doing(doing)?;
        let found = version(&tx, &self.schema, &quoted).await?;
        self.refuse_newer(found)?;
        let mut applied = BTreeMap::new();
        if found > 0 {
            let sql = format!("SELECT version, applied_at FROM {quoted}.migrations");
            for row in tx.query(&sql, &[]).await.doing(doing)? {
                applied.insert(get::<i32>(&row, 0)?, get::<DateTime<Utc>>(&row, 1)?);
            }
        }
        let known = MIGRATIONS.iter().map(|(version, name, _)| Migration {
            version: *version,
            name,
            applied_at: applied.get(version).copied(),
        });
        Ok(known.collect())
    }

    /// Refuses tables that are not of this library's version.
    pub(crate) async fn check_schema(&self, db: &mut ClientWrapper) -> Result<(), Error> {
        let quoted = quote_schema(&self.schema)?;
        let tx = tokio_postgres::Client::transaction(db).await.doing("checking the schema")?;
        let found = version(&tx, &self.schema, &quoted).await?;
        self.refuse_newer(found)?;
        if found == SCHEMA_VERSION {
            return Ok(());
        }
        Err(Error::SchemaVersion {
            schema: self.schema.clone(),
            found,
            needed: SCHEMA_VERSION,
            hint: "call migrate() on the builder, or apply migration_sql()",
        })
    }

    fn refuse_newer(&self, found: i32) -> Result<(), Error> {
        if found <= SCHEMA_VERSION {
            return Ok(());
        }
        Err(Error::SchemaVersion {
            schema: self.schema.clone(),
            found,
            needed: SCHEMA_VERSION,
            hint: "the tables are newer than this library: upgrade it",
        })
    }
}

async fn version(
    tx: &tokio_postgres::Transaction<'_>,
    schema: &str,
    quoted: &str,
) -> Result<i32, Error> {
    let doing = "reading the schema's version";
    let table = format!("{schema}.migrations");
    let there = tx.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await.doing(doing)?;
    if !get::<bool>(&there, 0)? {
        return Ok(0);
    }
    let sql = format!("SELECT coalesce(max(version), 0) FROM {quoted}.migrations");
    get(&tx.query_one(&sql, &[]).await.doing(doing)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_name_that_is_no_plain_identifier_is_refused() {
        let long = "a".repeat(41);
        for name in ["", "1a", "A", "a b", "a\"; drop table x; --", "$1", "%", "pg_x", "é", &long]
        {
            assert!(matches!(quote_schema(name), Err(Error::Config(_))), "{name:?}");
        }
        for name in ["oms_engine", "_a1", &"a".repeat(40)] {
            assert_eq!(quote_schema(name).ok(), Some(format!("\"{name}\"")));
        }
    }

    #[test]
    fn the_last_migration_has_the_library_s_version() {
        assert_eq!(MIGRATIONS.last().map(|m| m.0), Some(SCHEMA_VERSION));
        assert!(MIGRATIONS.windows(2).all(|w| w[1].0 == w[0].0 + 1));
    }
}
