//! All rows of the engine's tables, and the tables to put them into: the migrations up to that version,
//! which are never edited.

use std::collections::BTreeMap;
use std::path::Path;

use oms_engine::migration_sql;
use oms_engine::tokio_postgres::{Client, IsolationLevel};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Those that others refer to come first.
const TABLES: &str = "SELECT c.relname
    FROM pg_class c
    WHERE c.relnamespace = 'oms_engine'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
    ORDER BY EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'), c.relname";

/// What is not worked out by the server.
const COLUMNS: &str = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
    FROM pg_attribute
    WHERE attrelid = ('oms_engine.' || $1)::regclass AND attnum > 0 AND NOT attisdropped
        AND attgenerated = ''";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dump {
    version: i32,
    sequences: BTreeMap<String, i64>,
    tables: BTreeMap<String, Vec<Value>>,
}

impl Dump {
    pub(crate) const fn version(&self) -> i32 {
        self.version
    }

    pub(crate) fn rows(&self, table: &str) -> &[Value] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn read(file: &Path) -> Self {
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    pub(crate) fn write(&self, file: &Path) {
        let text = serde_json::to_string_pretty(self).unwrap();
        std::fs::write(file, text + "\n").unwrap();
    }

    /// As of one moment.
    pub(crate) async fn of(client: &mut Client) -> Self {
        let tx = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let tx = tx.start().await.unwrap();
        let version = "SELECT max(version) FROM oms_engine.migrations";
        let version = tx.query_one(version, &[]).await.unwrap().get(0);
        let mut tables = BTreeMap::new();
        for row in tx.query(TABLES, &[]).await.unwrap() {
            let table: String = row.get(0);
            let columns: String = tx.query_one(COLUMNS, &[&table]).await.unwrap().get(0);
            let sql = format!(
                "SELECT to_jsonb(r) FROM (SELECT {columns} FROM oms_engine.{table} ORDER BY 1) r"
            );
            let rows = tx.query(&sql, &[]).await.unwrap();
            tables.insert(table, rows.iter().map(|row| row.get(0)).collect());
        }
        let sequences = "SELECT sequencename::text, last_value FROM pg_sequences
            WHERE schemaname = 'oms_engine' AND last_value IS NOT NULL";
        let sequences = tx.query(sequences, &[]).await.unwrap();
        let sequences = sequences.iter().map(|row| (row.get(0), row.get(1))).collect();
        Self { version, sequences, tables }
    }

    /// Into a database that has none of the tables.
    pub(crate) async fn load(&self, client: &Client) {
        let all = migration_sql("oms_engine").unwrap();
        let last = format!(
            "INSERT INTO \"oms_engine\".migrations (version, name) VALUES ({}, ",
            self.version
        );
        let (before, rest) = all.split_once(&last).unwrap();
        let (name, _) = rest.split_once('\n').unwrap();
        client.batch_execute(&format!("{before}{last}{name}")).await.unwrap();
        for row in client.query(TABLES, &[]).await.unwrap() {
            let table: String = row.get(0);
            let columns: String = client.query_one(COLUMNS, &[&table]).await.unwrap().get(0);
            // What the migrations have put there is in the dump as it became.
            client.batch_execute(&format!("DELETE FROM oms_engine.{table}")).await.unwrap();
            let sql = format!(
                "INSERT INTO oms_engine.{table} ({columns}) OVERRIDING SYSTEM VALUE
                 SELECT {columns} FROM jsonb_populate_recordset(NULL::oms_engine.{table}, $1)"
            );
            let rows = Value::Array(self.rows(&table).to_vec());
            client.execute(&sql, &[&rows]).await.unwrap();
        }
        for (sequence, value) in &self.sequences {
            let sql = format!("SELECT setval('oms_engine.{sequence}', {value})");
            client.query_one(&sql, &[]).await.unwrap();
        }
    }
}
