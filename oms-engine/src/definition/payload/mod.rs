//! What tasks get and give: JSON, of which only a part is ever looked into.

mod check;

use std::fmt::Display;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::check::too_deep;
pub use self::check::{
    DEPTH_MAX, KEY_MAX_BYTES, PayloadFault, TASK_PAYLOAD_MAX_BYTES, VARIABLES_MAX_BYTES,
    WORKFLOW_PAYLOAD_MAX_BYTES, check_payload,
};
pub(crate) use self::check::{REASON_MAX_BYTES, check_gathered, clean_reason};
pub(super) use self::check::{check_value, push_index, push_key, too_large};
use super::json::read_deep;
use super::nesting::depth_of_text;

/// What a task gets or gives, as a text or as a value. A text is read when somebody looks into it: most
/// go from an expression to a worker, or from a worker to the tables, and are looked into by nobody.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Text(Arc<Text>),
    Value(Arc<Value>),
}

#[derive(Debug)]
pub(crate) struct Text {
    json: String,
    value: OnceLock<Value>,
}

impl Text {
    fn to_value(&self) -> Value {
        self.value.get().map_or_else(|| self.parse(), Value::clone)
    }

    /// A text that was written as JSON can be read.
    fn parse(&self) -> Value {
        read_deep(&self.json).unwrap_or_default()
    }
}

impl Payload {
    /// # Errors
    /// It cannot be written as JSON.
    pub(crate) fn write(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::of_json)
    }

    /// Of a text that is JSON.
    pub(super) fn of_json(json: String) -> Self {
        Self::Text(Arc::new(Text { json, value: OnceLock::new() }))
    }

    /// As a worker takes it.
    ///
    /// # Errors
    /// It does not fit the type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Self::Text(text) => serde_json::from_str(&text.json),
            Self::Value(value) => T::deserialize(&**value),
        }
    }

    /// Its text, where it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(&text.json),
            Self::Value(_) => None,
        }
    }

    /// Whether somebody has looked into it.
    #[cfg(test)]
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Text(text) if text.value.get().is_some())
    }

    /// As [`as_object`].
    pub(crate) fn into_object(self) -> Self {
        match &self {
            Self::Text(text) if text.json.starts_with('{') => self,
            Self::Text(text) if text.json == "null" => Self::from(Value::Object(Map::new())),
            Self::Text(text) => Self::of_json(format!("{{\"result\":{}}}", text.json)),
            Self::Value(value) if value.is_object() => self,
            Self::Value(_) => Self::from(as_object(self.into_value())),
        }
    }

    /// As a value that others may keep.
    pub(crate) fn shared(&self) -> Arc<Value> {
        match self {
            Self::Text(text) => Arc::new(text.to_value()),
            Self::Value(value) => value.clone(),
        }
    }

    /// As a value of one's own.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Text(text) => text.to_value(),
            Self::Value(value) => Arc::unwrap_or_clone(value),
        }
    }

    /// As [`check_payload`].
    pub(crate) fn check(&self, what: impl Display, limit_bytes: usize) -> Result<(), PayloadFault> {
        let Self::Text(text) = self else { return check_payload(what, self, limit_bytes) };
        if is_plainly_fine(&text.json, limit_bytes) {
            return Ok(());
        }
        // One that is too deep is not to be read.
        match depth_of_text(&text.json, DEPTH_MAX) {
            Ok(_) => check_payload(what, self, limit_bytes),
            Err(path) => {
                Err(PayloadFault { what: what.to_string(), path, reason: too_deep(DEPTH_MAX) })
            }
        }
    }
}

/// What a task gave, as an object: null is an empty one, anything else is its `result`.
pub(crate) fn as_object(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        Value::Null => Value::Object(Map::new()),
        other => {
            let mut map = Map::new();
            map.insert("result".to_owned(), other);
            Value::Object(map)
        }
    }
}

/// Whether there is no doubt about a JSON text: a NUL is an escape there.
fn is_plainly_fine(json: &str, limit_bytes: usize) -> bool {
    let opens = |byte: &&u8| matches!(byte, b'{' | b'[');
    json.len() <= limit_bytes
        && json.as_bytes().iter().filter(opens).count() <= DEPTH_MAX
        && !json.contains("\\u0000")
}

impl Deref for Payload {
    type Target = Value;

    fn deref(&self) -> &Value {
        match self {
            Self::Text(text) => text.value.get_or_init(|| text.parse()),
            Self::Value(value) => value,
        }
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self::Value(Arc::new(value))
    }
}

impl From<Arc<Value>> for Payload {
    fn from(value: Arc<Value>) -> Self {
        Self::Value(value)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_reads_as_what_was_written() {
        let value = json!({"a": [1, 2.5, "x\u{0}\n\""], "b": {"c": null}});
        let output = Payload::write(&value).unwrap();
        assert_eq!(*output, value);
        assert_eq!(output, Payload::from(value));
    }

    #[test]
    fn an_output_is_an_object() {
        let object = |value: Value| Value::clone(&Payload::write(&value).unwrap().into_object());
        assert_eq!(object(json!({"a": 1})), json!({"a": 1}));
        assert_eq!(object(json!(null)), json!({}));
        assert_eq!(object(json!([1])), json!({"result": [1]}));
        assert_eq!(object(json!("{")), json!({"result": "{"}));
        assert_eq!(object(json!("null")), json!({"result": "null"}));
        assert_eq!(*Payload::from(json!(1)).into_object(), json!({"result": 1}));
    }

    #[test]
    fn what_the_database_refuses_is_refused() {
        let check = |value: &Value, limit| Payload::write(value).unwrap().check("output", limit);
        let fault = check(&json!({"a": "x\u{0}"}), 100).unwrap_err();
        assert_eq!(fault.path, "$.a");
        assert_eq!(check(&json!({"a": "\\u0000"}), 100), Ok(()));
        assert_eq!(check(&json!({"a": "bc"}), 10), Ok(()));
        assert!(check(&json!({"a": "bc"}), 9).is_err());
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(check(&nested(DEPTH_MAX), 1_000), Ok(()));
        let deep = nested(DEPTH_MAX + 1);
        assert_eq!(check(&deep, 1_000), check_payload("output", &deep, 1_000));
        let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        let deeper = Payload::of_json(deep).into_object();
        assert_eq!(deeper.check("output", 1_000_000).unwrap_err().reason, too_deep(DEPTH_MAX));
        assert_eq!(check(&json!({"a": "[".repeat(500)}), 1_000), Ok(()));
    }

    proptest! {
        #[test]
        fn a_text_is_checked_as_its_value(key in "[a\u{0}\\\\\"é]{0,4}", text in "[a\u{0}\\\\u0{}\\[]{0,8}", limit in 0_usize..40) {
            let value = json!({ key: [text] });
            let written = Payload::write(&value).unwrap().check("output", limit);
            prop_assert_eq!(written, check_payload("output", &value, limit));
        }
    }
}
