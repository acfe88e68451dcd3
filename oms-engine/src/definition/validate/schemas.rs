//! Schemas that are enforced: they must be such that values can be held to them.

use super::{Found, Part, check_storable};
use crate::definition::faults::Faults;
use crate::definition::schema::check_schema;
use crate::definition::settings::SchemaDef;
use crate::definition::task_def::TaskDef;
use crate::definition::workflow_def::WorkflowDef;

/// Checks a schema that is registered by itself.
pub(crate) fn validate_schema(schema: &SchemaDef) -> Result<(), Faults> {
    let mut found = Found::default();
    found.check_name("$.name", &schema.name);
    if schema.is_named() {
        found.add("$.data", "is missing: write the schema itself here");
    } else if let Err((place, reason)) = check_schema(schema) {
        found.add(format!("${place}"), reason);
    }
    check_storable(&mut found, serde_json::to_value(schema), Part::Plain);
    found.end(format!("schema {:?} version {}", schema.name, schema.version)).map(drop)
}

pub(super) fn check_workflow(found: &mut Found, def: &WorkflowDef) {
    if def.enforce_schema {
        check(found, def.input_schema.as_ref(), "$.inputSchema");
        check(found, def.output_schema.as_ref(), "$.outputSchema");
    }
}

pub(super) fn check_task_def(found: &mut Found, def: &TaskDef, path: &str) {
    if def.enforce_schema {
        check(found, def.input_schema.as_ref(), &format!("{path}.inputSchema"));
        check(found, def.output_schema.as_ref(), &format!("{path}.outputSchema"));
    }
}

fn check(found: &mut Found, schema: Option<&SchemaDef>, path: &str) {
    if let Some(Err((place, reason))) = schema.map(check_schema) {
        found.add(format!("{path}{place}"), reason);
    }
}
