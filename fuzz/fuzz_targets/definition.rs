//! A definition's text: read, checked, written again, compiled and begun. Nothing panics, and what
//! passes is the same when it is read again.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use oms_engine::{WorkflowDef, begin_for_fuzzing, definition::validate};
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(def) = WorkflowDef::from_json(text) else { return };
    let valid = validate(&def, &BTreeMap::new()).is_ok();
    if valid {
        let written = serde_json::to_string(&def).expect("a definition can be written");
        assert_eq!(WorkflowDef::from_json(&written).as_ref(), Ok(&def));
        begin_for_fuzzing(def, json!({"a": [{"b": 1}], "s": "x"}));
    }
});
