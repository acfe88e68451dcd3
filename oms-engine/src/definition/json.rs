//! Reading JSON as Conductor does: null for a primitive is its zero, unknown fields are kept.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::faults::{Fault, Faults};
use super::payload::DEPTH_MAX;

/// Reads null as the type's zero, which is not always the field's default.
pub(super) fn or_zero<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a definition; a fault names the JSON path and what was expected there.
pub(super) fn read<T: DeserializeOwned>(text: &str, subject: &str) -> Result<T, Faults> {
    if let Some(line) = line_nested_too_deep(text) {
        let message = format!("line {line} is nested deeper than {DEPTH_MAX}: flatten it");
        return Err(Faults::one(subject, Fault::new("$", message)));
    }
    let mut from = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "$".to_owned(),
            path if path.starts_with('[') => format!("${path}"),
            path => format!("$.{path}"),
        };
        Fault::new(path, error.inner().to_string())
    });
    let read = read.and_then(|read| match from.end() {
        Ok(()) => Ok(read),
        Err(error) => Err(Fault::new("$", error.to_string())),
    });
    read.map_err(|fault| Faults::one(subject, fault))
}

/// The line on which the nesting passes the limit; nothing is parsed, so no stack is used.
fn line_nested_too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut line, mut in_string, mut escaped) = (0_usize, 1, false, false);
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Some(line);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
