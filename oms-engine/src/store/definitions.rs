//! Definitions as immutable rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::rows::{get, json};
use super::{Executor, Store};
use crate::definition::{TaskDef, WorkflowDef};
use crate::error::Error;

/// One immutable text with the task definitions it names.
#[derive(Clone, Debug)]
pub(crate) struct DefinitionRow {
    pub(crate) id: i64,
    pub(crate) definition: Arc<WorkflowDef>,
    pub(crate) task_definitions: BTreeMap<String, TaskDef>,
}

impl DefinitionRow {
    fn read(row: &Row) -> Result<Self, Error> {
        let id = get(row, 0)?;
        let unreadable = |error: String| Error::Invariant {
            workflow_id: None,
            what: format!("workflow definition {id} in the tables cannot be read: {error}"),
        };
        let Json(text): Json<Box<RawValue>> = get(row, 1)?;
        let definition =
            WorkflowDef::from_json(text.get()).map_err(|faults| unreadable(faults.to_string()))?;
        let task_definitions = serde_json::from_value(json(row, 2)?.unwrap_or_default())
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { id, definition: Arc::new(definition), task_definitions })
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
        definition: &WorkflowDef,
        task_definitions: &BTreeMap<String, TaskDef>,
    ) -> Result<i64, Error> {
        let doing = "registering a workflow definition";
        let (name, version) = (&definition.name, definition.version);
        let text = text_of(definition)?;
        self.rows(db, &self.sql.retire_definition, &[&name, &version], doing).await?;
        let row = self
            .one(
                db,
                &self.sql.insert_definition,
                &[&name, &version, &Json(&text), &Json(task_definitions)],
                doing,
            )
            .await?;
        self.rows(db, &self.sql.unmark_latest, &[&name], doing).await?;
        self.rows(db, &self.sql.mark_latest, &[&name], doing).await?;
        get(&row, 0)
    }

    /// A version is current no longer.
    pub(crate) async fn remove_definition(
        &self,
        db: &impl Executor,
        (name, version): (&str, i32),
    ) -> Result<(), Error> {
        let doing = "removing a workflow definition";
        self.rows(db, &self.sql.retire_definition, &[&name, &version], doing).await?;
        self.rows(db, &self.sql.unmark_latest, &[&name], doing).await?;
        self.rows(db, &self.sql.mark_latest, &[&name], doing).await?;
        Ok(())
    }

    /// Whether there was one.
    pub(crate) async fn remove_task_definition(
        &self,
        db: &impl Executor,
        name: &str,
    ) -> Result<bool, Error> {
        let sql = &self.sql.remove_task_definition;
        Ok(!self.rows(db, sql, &[&name], "removing a task definition").await?.is_empty())
    }

    /// A definition of nobody's but the runs that bring it: the row that says just this.
    pub(crate) async fn add_inline_definition(
        &self,
        db: &impl Executor,
        def: &WorkflowDef,
        task_definitions: &BTreeMap<String, TaskDef>,
    ) -> Result<i64, Error> {
        let sql = &self.sql.insert_inline_definition;
        let text = text_of(def)?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&def.name, &def.version, &Json(&text), &Json(task_definitions)];
        let row = self.one(db, sql, &params, "storing a workflow definition").await?;
        get(&row, 0)
    }
}

fn text_of(def: &WorkflowDef) -> Result<Box<RawValue>, Error> {
    def.to_json().map_err(|faults| Error::InvalidDefinition { faults })
}
