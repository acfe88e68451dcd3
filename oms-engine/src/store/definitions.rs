//! Definitions as immutable rows.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::rows::{get, json};
use super::{Executor, Store};
use crate::definition::WorkflowDef;
use crate::error::Error;

/// One immutable text with the task definitions it names.
#[derive(Clone, Debug)]
pub(crate) struct DefinitionRow {
    pub(crate) id: i64,
    pub(crate) definition: Value,
    pub(crate) task_definitions: Value,
}

impl DefinitionRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: get(row, 0)?,
            definition: json(row, 1)?.unwrap_or_default(),
            task_definitions: json(row, 2)?.unwrap_or_default(),
        })
    }
}

impl Store {
    pub(crate) async fn find_definition(
        &self,
        db: &impl Executor,
        name: &str,
        version: Option<i32>,
    ) -> Result<Option<DefinitionRow>, Error> {
        let sql = &self.sql.find_definition;
        let rows = self.rows(db, sql, &[&name, &version], "finding a definition").await?;
        rows.first().map(DefinitionRow::read).transpose()
    }

    pub(crate) async fn load_definitions(
        &self,
        db: &impl Executor,
        ids: &[i64],
    ) -> Result<Vec<DefinitionRow>, Error> {
        let sql = &self.sql.load_definitions;
        let rows = self.rows(db, sql, &[&ids], "loading definitions").await?;
        rows.iter().map(DefinitionRow::read).collect()
    }

    pub(crate) async fn list_definitions(
        &self,
        db: &impl Executor,
    ) -> Result<Vec<DefinitionRow>, Error> {
        let rows = self.rows(db, &self.sql.list_definitions, &[], "listing definitions").await?;
        rows.iter().map(DefinitionRow::read).collect()
    }

    /// Waits for its turn: registrations happen one at a time.
    pub(crate) async fn lock_definitions(&self, db: &impl Executor) -> Result<(), Error> {
        self.rows(db, &self.sql.lock_definitions, &[], "registering definitions").await?;
        Ok(())
    }

    pub(crate) async fn list_task_definitions(
        &self,
        db: &impl Executor,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let sql = &self.sql.list_task_definitions;
        let rows = self.rows(db, sql, &[], "listing task definitions").await?;
        rows.iter().map(|row| Ok((get(row, 0)?, json(row, 1)?.unwrap_or_default()))).collect()
    }

    /// Whether the text is new or another than before.
    pub(crate) async fn put_task_definition(
        &self,
        db: &impl Executor,
        name: &str,
        definition: &Value,
    ) -> Result<bool, Error> {
        let sql = &self.sql.put_task_definition;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&name, &Json(definition)];
        Ok(!self.rows(db, sql, &params, "registering a task definition").await?.is_empty())
    }

    /// Makes a new row the current one of its name and version.
    pub(crate) async fn replace_definition(
        &self,
        db: &impl Executor,
        (name, version): (&str, i32),
        definition: &Value,
        task_definitions: &Value,
    ) -> Result<i64, Error> {
        let doing = "registering a workflow definition";
        self.rows(db, &self.sql.retire_definition, &[&name, &version], doing).await?;
        let row = self
            .one(
                db,
                &self.sql.insert_definition,
                &[&name, &version, &Json(definition), &Json(task_definitions)],
                doing,
            )
            .await?;
        self.rows(db, &self.sql.unmark_latest, &[&name], doing).await?;
        self.rows(db, &self.sql.mark_latest, &[&name], doing).await?;
        get(&row, 0)
    }

    /// A definition of nobody's but the runs that bring it: the row that says just this.
    pub(crate) async fn add_inline_definition(
        &self,
        db: &impl Executor,
        def: &WorkflowDef,
        task_definitions: &Value,
    ) -> Result<DefinitionRow, Error> {
        let sql = &self.sql.insert_inline_definition;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&def.name, &def.version, &Json(def), &Json(task_definitions)];
        let row = self.one(db, sql, &params, "storing a workflow definition").await?;
        DefinitionRow::read(&row)
    }
}
