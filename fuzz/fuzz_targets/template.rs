//! A template: any JSON with any texts, read and resolved within its limit.

#![no_main]

#[path = "document.rs"]
mod document;

use document::{Document, LIMIT_BYTES};
use libfuzzer_sys::fuzz_target;
use oms_engine::definition::Template;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let Ok(template) = Template::parse(&value) else { return };
    let document = Document::new();
    let first = template.resolve(&document, "input", LIMIT_BYTES);
    assert_eq!(first, template.resolve(&document, "input", LIMIT_BYTES));
    if let Ok(found) = first {
        // Numbers and escapes are paid for by less than they take, by at most this.
        assert!(found.to_string().len() <= LIMIT_BYTES * 8);
    }
});
