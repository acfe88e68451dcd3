//! Schemas that a definition names, written out before it is kept.

use std::collections::BTreeMap;

use super::Core;
use crate::definition::{Fault, NamesSchemas, SchemaDef, SchemaKey};
use crate::error::Error;
use crate::store::Executor;

impl Core {
    /// Writes out the schemas that a definition names. Out: those that are not registered.
    pub(crate) async fn write_schemas(
        &self,
        db: &impl Executor,
        def: &mut impl NamesSchemas,
    ) -> Result<Vec<Fault>, Error> {
        let named = def.schemas_named();
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let (names, versions): (Vec<&str>, Vec<i32>) =
            named.iter().map(|(name, version)| (name.as_str(), *version)).unzip();
        let mut known: BTreeMap<SchemaKey, SchemaDef> = BTreeMap::new();
        for (key, text) in self.store.find_schemas(db, &names, &versions).await? {
            let def = serde_json::from_value(text).map_err(|error| Error::Invariant {
                workflow_id: None,
                what: format!("schema {key:?} in the tables cannot be read: {error}"),
            })?;
            known.insert(key, def);
        }
        Ok(def.write_schemas(&known))
    }
}
