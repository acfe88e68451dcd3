//! A jq filter and a script, as texts of a definition: what they do ends the task at the worst.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oms_engine::{WorkflowDef, begin_for_fuzzing};
use serde_json::json;

fuzz_target!(|text: &str| {
    let input = json!({"list": [3, 1, {"a": "x"}], "s": "text", "value": "${workflow.input}"});
    let mut filter = input.clone();
    filter["queryExpression"] = json!(text);
    let mut script = input;
    script["evaluatorType"] = json!("javascript");
    script["expression"] = json!(text);
    for (kind, parameters) in [("JSON_JQ_TRANSFORM", filter), ("INLINE", script)] {
        let task = json!({
            "name": "t", "taskReferenceName": "t", "type": kind, "inputParameters": parameters,
        });
        let def = json!({"name": "w", "tasks": [task]}).to_string();
        if let Ok(def) = WorkflowDef::from_json(&def) {
            begin_for_fuzzing(def, json!({"a": [{"b": 1}], "s": "x"}));
        }
    }
});
