//! What the targets' expressions read.

use std::borrow::Cow;

use oms_engine::definition::Scope;
use serde_json::{Value, json};

/// What may come out.
pub const LIMIT_BYTES: usize = 64 * 1024;

pub struct Document {
    input: Value,
    output: Value,
}

impl Document {
    pub fn new() -> Self {
        let input = json!({
            "list": [{"id": 1, "s": "x", "l": [1, 2.5, "1"]}, {"id": 2, "s": "yy"}, [[]], null],
            "map": {"a": {"b": {"c": [true]}}, "k e y": 1}, "key": "a", "n": -3, "text": "a.b[0]",
            "path": "list[?(@.id == 1)]",
        });
        Self { input, output: json!({"v": [1, 2, {"v": "z"}], "big": 1e300}) }
    }
}

impl Scope for Document {
    fn workflow(&self, field: &str) -> Option<Cow<'_, Value>> {
        (field == "input").then_some(Cow::Borrowed(&self.input))
    }

    fn task(&self, reference_name: &str, field: &str) -> Option<Cow<'_, Value>> {
        (reference_name == "a" && field == "output").then_some(Cow::Borrowed(&self.output))
    }

    fn task_id(&self) -> Option<&str> {
        Some("id")
    }
}
