//! JSON Schema by the crate `jsonschema`.

use std::error::Error;

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::{Map, Value};

use super::cost;
use crate::definition::payload::push_key;

/// Bytes of a schema's text.
const TEXT_MAX: usize = 128 * 1024;
/// Bytes of a compiled pattern.
const PATTERN_MAX: usize = 1024 * 1024;
/// Faults that are told of.
const TOLD_MAX: usize = 10;

/// Nothing is fetched, from nowhere.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        Err(format!("{uri} is not fetched").into())
    }
}

pub(super) fn compile(data: &Map<String, Value>) -> Result<Validator, (String, String)> {
    let schema = Value::Object(data.clone());
    let bytes = schema.to_string().len();
    if bytes > TEXT_MAX {
        return Err((String::new(), format!("has {bytes} bytes: at most {TEXT_MAX} are allowed")));
    }
    let validator = jsonschema::options()
        .with_retriever(Nowhere)
        .with_pattern_options(
            PatternOptions::regex().size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX),
        )
        .build(&schema)
        .map_err(|error| {
            let path = path_of(error.instance_path().as_str());
            (path, format!("is no JSON Schema: {}", error.masked_with("this")))
        })?;
    cost::check(&schema)?;
    Ok(validator)
}

pub(super) fn check(validator: &Validator, value: &Value) -> Result<(), String> {
    let mut faults = validator
        .iter_errors(value)
        .map(|error| format!("${}: {}", path_of(error.instance_path().as_str()), error.masked()));
    let mut told: Vec<String> = faults.by_ref().take(TOLD_MAX).collect();
    if told.is_empty() {
        return Ok(());
    }
    if faults.next().is_some() {
        told.push("and more".to_owned());
    }
    Err(told.join("; "))
}

/// A JSON pointer as a JSON path.
fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push('[');
            path.push_str(&key);
            path.push(']');
        } else {
            push_key(&mut path, &key);
        }
    }
    path
}
