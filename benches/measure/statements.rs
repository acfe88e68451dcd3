//! How many statements PostgreSQL was sent, where `pg_stat_statements` can count them.

use oms_engine::tokio_postgres::Client;

/// The setting that loads it.
pub(super) const LIBRARY: (&str, &str) = ("shared_preload_libraries", "pg_stat_statements");

/// Those of this database so far, without the harness's own. None where nobody counts.
pub(super) async fn sent(client: &Client) -> Option<f64> {
    let sql = "
        /* harness */
        SELECT coalesce(sum(calls), 0)::float8
        FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = current_database() AND strpos(s.query, '/* harness */') = 0";
    client.query_one(sql, &[]).await.ok().map(|row| row.get(0))
}

/// Makes it readable in this database, if the server has it.
pub(super) async fn count(client: &Client) {
    if let Err(error) = client.batch_execute("CREATE EXTENSION pg_stat_statements").await {
        tracing::debug!(%error, "statements are not counted");
    }
}
