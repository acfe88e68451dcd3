//! Reading JSON as Conductor does: null for a primitive is its zero, unknown fields are kept.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::faults::{Fault, Faults};
use super::nesting::{Room, SCHEDULE_DEPTH_MAX, depth_of_text};

/// Reads null as the type's zero, which is not always the field's default.
pub(super) fn or_zero<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a definition that may be nested so deep; a fault names the JSON path and what was expected
/// there.
pub(super) fn read<T: DeserializeOwned + Send>(
    text: &str,
    subject: &str,
    depth_max: usize,
) -> Result<T, Faults> {
    let one = |path: String, message| Faults::one(subject, Fault::new(path, message));
    let depth = depth_of_text(text, depth_max)
        .map_err(|path| one(path, format!("is nested deeper than {depth_max}: flatten it")))?;
    let read = Room::for_text(depth).with(|| {
        let mut from = serde_json::Deserializer::from_str(text);
        // Its own is lower, and the depth is known.
        from.disable_recursion_limit();
        let read = read_from(&mut from)?;
        from.end().map_err(|error| Fault::new("$", error.to_string()))?;
        Ok(read)
    });
    read.flatten().map_err(|fault| Faults::one(subject, fault))
}

/// Reads a value that the engine has put together; none where it did not.
pub(crate) fn read_deep(text: &str) -> Option<Value> {
    // More than outputs may have: schedules with definitions, and what is to be undone, are nested.
    depth_of_text(text, SCHEDULE_DEPTH_MAX).ok()?;
    let mut from = serde_json::Deserializer::from_str(text);
    from.disable_recursion_limit();
    let read = Value::deserialize(&mut from);
    read.ok()
}

/// Reads a definition from a value, however deep that is.
pub(super) fn read_value<T: DeserializeOwned + Send>(
    value: &Value,
    subject: &str,
) -> Result<T, Faults> {
    let read = Room::for_text(usize::MAX).with(|| read_from(value));
    read.flatten().map_err(|fault| Faults::one(subject, fault))
}

fn read_from<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, Fault>
where
    D::Error: Display,
{
    serde_path_to_error::deserialize(from).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "$".to_owned(),
            path if path.starts_with('[') => format!("${path}"),
            path => format!("$.{path}"),
        };
        Fault::new(path, error.inner().to_string())
    })
}
