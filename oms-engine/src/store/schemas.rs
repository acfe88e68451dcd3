//! Schemas that definitions name.

use serde_json::Value;
use tokio_postgres::types::{Json, ToSql};

use super::rows::{get, json};
use super::{Executor, Store};
use crate::error::Error;

impl Store {
    pub(crate) async fn put_schema(
        &self,
        db: &impl Executor,
        (name, version): (&str, i32),
        definition: &Value,
    ) -> Result<(), Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&name, &version, &Json(definition)];
        self.rows(db, &self.sql.put_schema, &params, "registering a schema").await?;
        Ok(())
    }

    /// Out: those that there are, in no order.
    pub(crate) async fn find_schemas(
        &self,
        db: &impl Executor,
        names: &[&str],
        versions: &[i32],
    ) -> Result<Vec<((String, i32), Value)>, Error> {
        let sql = &self.sql.find_schemas;
        let rows = self.rows(db, sql, &[&names, &versions], "finding schemas").await?;
        let read = |row| Ok(((get(row, 0)?, get(row, 1)?), json(row, 2)?.unwrap_or_default()));
        rows.iter().map(read).collect()
    }

    pub(crate) async fn list_schemas(
        &self,
        db: &impl Executor,
        name: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let rows = self.rows(db, &self.sql.list_schemas, &[&name], "listing schemas").await?;
        rows.iter().map(|row| Ok(json(row, 0)?.unwrap_or_default())).collect()
    }

    /// Out: whether there was one.
    pub(crate) async fn remove_schemas(
        &self,
        db: &impl Executor,
        name: &str,
        version: Option<i32>,
    ) -> Result<bool, Error> {
        let sql = &self.sql.remove_schemas;
        Ok(!self.rows(db, sql, &[&name, &version], "removing schemas").await?.is_empty())
    }
}
