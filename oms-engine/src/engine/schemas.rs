//! Schemas that definitions name.

use super::definitions::{read, write};
use super::{Engine, connection};
use crate::definition::{SchemaDef, validate_schema};
use crate::error::Error;

impl Engine {
    /// Registers schemas, all or none, each in place of the one of its name and version.
    ///
    /// A definition names one by `name` and `version`, without `data`. What counts for it is what
    /// is registered under that name when the definition is: another text, or none, changes
    /// nothing for definitions that are registered already.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`] with every fault of the first schema that has one; so it is
    /// for all schemas without the cargo feature `schema`.
    pub async fn register_schemas(&self, schemas: &[SchemaDef]) -> Result<(), Error> {
        for schema in schemas {
            validate_schema(schema).map_err(|faults| Error::InvalidDefinition { faults })?;
        }
        let schemas = schemas.to_vec();
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = async {
                let tx = store.begin(client.client()?).await?;
                store.lock_definitions(&tx).await?;
                for schema in &schemas {
                    let key = (schema.name.as_str(), schema.version);
                    store.put_schema(&tx, key, &write(schema)?).await?;
                }
                store.commit(tx).await
            };
            let done = done.await;
            client.settle(done)
        })
        .await
    }

    /// The registered schemas, by name and version.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn schemas(&self) -> Result<Vec<SchemaDef>, Error> {
        self.list_schemas(None).await
    }

    /// A registered schema; without a version the one of the highest.
    ///
    /// # Errors
    /// [`Error::SchemaNotFound`].
    pub async fn schema(&self, name: &str, version: Option<i32>) -> Result<SchemaDef, Error> {
        let found = self.list_schemas(Some(name.to_owned())).await?;
        let asked = |schema: &SchemaDef| version.is_none_or(|version| schema.version == version);
        let found = found.into_iter().rfind(asked);
        found.ok_or_else(|| Error::SchemaNotFound { name: name.to_owned(), version })
    }

    /// Removes a schema, in this version or in all. Definitions that were registered with it keep
    /// what they have. Out: whether there was one.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn remove_schema(&self, name: &str, version: Option<i32>) -> Result<bool, Error> {
        let name = name.to_owned();
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = store.remove_schemas(client.client()?, &name, version).await;
            client.settle(done)
        })
        .await
    }

    async fn list_schemas(&self, name: Option<String>) -> Result<Vec<SchemaDef>, Error> {
        let engine = self.clone();
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = store.list_schemas(client.client()?, name.as_deref()).await;
            client.settle(done)?.into_iter().map(read).collect()
        })
        .await
    }
}
