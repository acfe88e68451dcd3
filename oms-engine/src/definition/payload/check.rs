//! What a payload may be, checked at the door so that the database never has to refuse it.

use std::fmt::{self, Write as _};
use std::io;

use serde_json::Value;

use crate::definition::nesting::NESTED_MAX;

/// The deepest nesting of objects and lists.
pub const DEPTH_MAX: usize = 100;
/// The deepest nesting of what the engine puts together: the outputs of loops and JOINs in each
/// other, each of which adds two levels at most to what tasks give, and of runs.
const GATHERED_DEPTH_MAX: usize = DEPTH_MAX + 2 * NESTED_MAX;
/// The largest input or output of a task, in bytes of JSON text.
pub const TASK_PAYLOAD_MAX_BYTES: usize = 3 * 1024 * 1024;
/// The largest input or output of a workflow, in bytes of JSON text.
pub const WORKFLOW_PAYLOAD_MAX_BYTES: usize = 5 * 1024 * 1024;
/// The largest variables of a workflow, in bytes of JSON text.
pub const VARIABLES_MAX_BYTES: usize = 256 * 1024;
/// The longest name, reference name, idempotency key and correlation id, in bytes: longer ones
/// do not fit into an index.
pub const KEY_MAX_BYTES: usize = 255;

/// The longest reason that is stored, in bytes.
pub(crate) const REASON_MAX_BYTES: usize = 10_000;

/// Why a payload was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {path}: {reason}")]
pub struct PayloadFault {
    /// Which payload, for example `output of task "pay"`.
    pub what: String,
    /// Where in it, as a JSON path.
    pub path: String,
    /// What is wrong there, and what is allowed.
    pub reason: String,
}

/// Refuses what PostgreSQL's `jsonb` or the limits do not take: nesting over [`DEPTH_MAX`], NUL
/// characters, more than `limit_bytes` of text.
///
/// A number of a [`Value`] is always finite, so numbers need no check.
///
/// # Errors
/// The first fault, with its JSON path.
pub fn check_payload(
    what: impl fmt::Display,
    value: &Value,
    limit_bytes: usize,
) -> Result<(), PayloadFault> {
    check(what, value, limit_bytes, DEPTH_MAX)
}

/// As [`check_payload`], of what the engine puts together.
pub(crate) fn check_gathered(
    what: impl fmt::Display,
    value: &Value,
    limit_bytes: usize,
) -> Result<(), PayloadFault> {
    check(what, value, limit_bytes, GATHERED_DEPTH_MAX)
}

fn check(
    what: impl fmt::Display,
    value: &Value,
    limit_bytes: usize,
    depth_max: usize,
) -> Result<(), PayloadFault> {
    if is_plainly_fine(value, depth_max, &mut { limit_bytes }) {
        return Ok(());
    }
    let fault = |path: &str, reason: String| PayloadFault {
        what: what.to_string(),
        path: path.to_owned(),
        reason,
    };
    let mut path = String::from("$");
    check_nested(value, &mut path, (0, depth_max)).map_err(|reason| fault(&path, reason))?;
    let mut size = Counter { left: limit_bytes };
    if serde_json::to_writer(&mut size, value).is_err() {
        return Err(fault("$", too_large(limit_bytes)));
    }
    Ok(())
}

/// Whether there is no doubt: without a path to tell, and by the most bytes that the text can have.
fn is_plainly_fine(value: &Value, depth_left: usize, bytes_left: &mut usize) -> bool {
    let mut takes = |most: usize| match bytes_left.checked_sub(most) {
        Some(left) => {
            *bytes_left = left;
            true
        }
        None => false,
    };
    match value {
        Value::Null | Value::Bool(_) => takes(6),
        Value::Number(_) => takes(NUMBER_MAX_BYTES),
        Value::String(text) => takes(most_bytes(text)) && !has_nul(text),
        Value::Array(list) => {
            depth_left > 0
                && takes(2)
                && list.iter().all(|item| is_plainly_fine(item, depth_left - 1, bytes_left))
        }
        Value::Object(map) => {
            depth_left > 0
                && takes(2)
                && map.iter().all(|(key, item)| {
                    let left = bytes_left.checked_sub(most_bytes(key));
                    *bytes_left = left.unwrap_or(0);
                    left.is_some()
                        && !has_nul(key)
                        && is_plainly_fine(item, depth_left - 1, bytes_left)
                })
        }
    }
}

fn has_nul(text: &str) -> bool {
    text.as_bytes().contains(&0)
}

/// The most bytes of a number of 64 bits in JSON, with a comma.
const NUMBER_MAX_BYTES: usize = 32;

/// The most bytes of a text in JSON, with what stands around it: each byte may be escaped.
const fn most_bytes(text: &str) -> usize {
    text.len().saturating_mul(6).saturating_add(4)
}

pub(super) fn too_deep(depth_max: usize) -> String {
    format!("is nested deeper than {depth_max}: flatten it")
}

pub(in crate::definition) fn too_large(limit_bytes: usize) -> String {
    format!("is larger than {limit_bytes} bytes: store the data elsewhere and pass a reference")
}

/// A reason, or a line of a log, that PostgreSQL takes: no NUL, not too long.
pub(crate) fn clean_reason(mut reason: String) -> String {
    if reason.contains('\0') {
        reason = reason.replace('\0', "\u{fffd}");
    }
    if reason.len() > REASON_MAX_BYTES {
        let end = (0..=REASON_MAX_BYTES).rev().find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or(0));
        reason.push('…');
    }
    reason
}

/// Checks nesting and NUL. On an error `path` is left where the fault is.
pub(in crate::definition) fn check_value(value: &Value, path: &mut String) -> Result<(), String> {
    check_nested(value, path, (0, DEPTH_MAX))
}

fn check_nested(
    value: &Value,
    path: &mut String,
    (depth, depth_max): (usize, usize),
) -> Result<(), String> {
    let whole = path.len();
    match value {
        Value::String(text) if text.contains('\0') => {
            return Err("holds a NUL character, which PostgreSQL does not store: remove it".into());
        }
        Value::Array(_) | Value::Object(_) if depth >= depth_max => {
            return Err(too_deep(depth_max));
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                push_index(path, index);
                check_nested(item, path, (depth + 1, depth_max))?;
                path.truncate(whole);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                push_key(path, key);
                if key.contains('\0') {
                    return Err("the key holds a NUL character: remove it".into());
                }
                check_nested(item, path, (depth + 1, depth_max))?;
                path.truncate(whole);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// Appends `[index]` to a JSON path.
pub(in crate::definition) fn push_index(path: &mut String, index: usize) {
    write_to(path, format_args!("[{index}]"));
}

/// Appends `.key`, or `['key']` where the key is no plain name, to a JSON path.
pub(in crate::definition) fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
    if plain {
        write_to(path, format_args!(".{key}"));
    } else {
        write_to(path, format_args!("['{}']", key.escape_debug()));
    }
}

#[expect(clippy::unused_result_ok, reason = "writing to a String cannot fail")]
fn write_to(path: &mut String, text: fmt::Arguments<'_>) {
    path.write_fmt(text).ok();
}

/// Counts bytes and keeps none.
struct Counter {
    left: usize,
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len()) {
            Some(left) => {
                self.left = left;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn nesting_is_allowed_up_to_the_limit() {
        assert_eq!(check_payload("input", &nested(DEPTH_MAX), 10_000), Ok(()));
        let fault = check_payload("input", &nested(DEPTH_MAX + 1), 10_000).unwrap_err();
        assert!(fault.to_string().contains("nested deeper than 100"), "{fault}");
    }

    proptest! {
        #[test]
        fn what_is_plainly_fine_is_within_its_limits(value in values(), limit in 0_usize..200) {
            if is_plainly_fine(&value, 2, &mut { limit }) {
                prop_assert!(value.to_string().len() <= limit);
                prop_assert_eq!(check_nested(&value, &mut String::new(), (0, 2)), Ok(()));
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a\"\\\\\u{0}\n\u{1f}é]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a\u{0}\"]{0,3}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn nul_is_named_with_its_path() {
        let fault = check_payload("input", &json!({"a": [1, {"b c": "x\0"}]}), 100).unwrap_err();
        assert_eq!(fault.path, "$.a[1]['b c']");
        let fault = check_payload("input", &json!({"a": {"k\0": 1}}), 100).unwrap_err();
        assert_eq!(fault.path, "$.a['k\\0']");
    }

    #[test]
    fn size_is_that_of_the_text() {
        let value = json!({"a": "é\n"});
        let size = value.to_string().len();
        assert_eq!(check_payload("input", &value, size), Ok(()));
        let fault = check_payload("input", &value, size - 1).unwrap_err();
        assert_eq!(
            fault.to_string(),
            format!(
                "input $: is larger than {} bytes: store the data elsewhere and pass a reference",
                size - 1
            )
        );
    }
}
