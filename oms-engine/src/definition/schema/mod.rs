//! JSON Schemas that inputs and outputs are held to: behind the feature `schema`.
//!
//! A schema is compiled once with its definition. It fetches nothing, its patterns are matched in
//! linear time, and what it may cost is bounded before it is accepted.

#[cfg(feature = "schema")]
mod cost;
#[cfg(feature = "schema")]
mod json;
mod named;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use self::named::{NamesSchemas, SchemaKey};
use super::settings::{SchemaDef, SchemaType};

#[cfg(feature = "schema")]
type Compiled = jsonschema::Validator;
#[cfg(not(feature = "schema"))]
type Compiled = std::convert::Infallible;

/// A schema that a definition enforces.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    text: Arc<SchemaDef>,
    /// Or why nothing can be held to it: here its language is switched off.
    compiled: Result<Arc<Compiled>, String>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Schema {
    /// The schema, where it is enforced.
    pub(crate) fn enforced(schema: Option<&SchemaDef>, enforced: bool) -> Option<Self> {
        let text = schema.filter(|_| enforced)?;
        let compiled = compile(text)
            .map(Arc::new)
            .map_err(|(path, reason)| format!("its schema cannot be used: {path}: {reason}"));
        Some(Self { text: Arc::new(text.clone()), compiled })
    }

    /// Holds a value to the schema.
    ///
    /// # Errors
    /// What does not fit, each with its JSON path.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        match &self.compiled {
            #[cfg(feature = "schema")]
            Ok(compiled) => json::check(compiled, value),
            #[cfg(not(feature = "schema"))]
            Ok(never) => {
                let _ = value;
                match **never {}
            }
            Err(reason) => Err(reason.clone()),
        }
    }
}

/// Checks a schema that is enforced. One that is named alone is looked up later.
///
/// # Errors
/// Where in it something is wrong, as a JSON path that begins behind the schema's own, and what.
pub(crate) fn check_schema(schema: &SchemaDef) -> Result<(), (String, String)> {
    if schema.is_named() { Ok(()) } else { compile(schema).map(drop) }
}

fn compile(schema: &SchemaDef) -> Result<Compiled, (String, String)> {
    let refused = |field: &str, reason: &str| Err((field.to_owned(), reason.to_owned()));
    match schema.schema_type {
        SchemaType::Json => {}
        SchemaType::Avro => return refused(".type", "AVRO: not supported: write a JSON schema"),
        SchemaType::Protobuf => {
            return refused(".type", "PROTOBUF: not supported: write a JSON schema");
        }
    }
    if schema.external_ref.as_ref().is_some_and(|to| !to.is_empty()) {
        let reason = "externalRef: nothing is fetched: write the schema itself as `data`";
        return refused(".externalRef", reason);
    }
    let Some(data) = &schema.data else {
        let reason = "is missing: write the schema itself here, or name one that is registered";
        return refused(".data", reason);
    };
    #[cfg(feature = "schema")]
    return json::compile(data).map_err(|(path, reason)| (format!(".data{path}"), reason));
    #[cfg(not(feature = "schema"))]
    {
        let _ = data;
        let reason = "schemas are switched off: build oms-engine with the cargo feature `schema`, \
                      or set enforceSchema to false";
        refused("", reason)
    }
}
