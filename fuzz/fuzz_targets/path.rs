//! A path of an expression, with all that stands in it: filters, functions, patterns.

#![no_main]

#[path = "document.rs"]
mod document;

use document::{Document, LIMIT_BYTES};
use libfuzzer_sys::fuzz_target;
use oms_engine::definition::Template;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let document = Document::new();
    for before in ["", "workflow.input", "workflow.input.list[?(@.id", "concat($.a.output"] {
        let template = Value::String(format!("${{{before}{text}}}"));
        if let Ok(template) = Template::parse(&template) {
            let found = template.resolve(&document, "input", LIMIT_BYTES);
            assert_eq!(found, template.resolve(&document, "input", LIMIT_BYTES));
        }
    }
});
