//! Scripts can be read, and their language is there.

use serde_json::Value;

use super::Found;
use crate::definition::script::{ScriptError, body_as_expression, check_jq, check_js};
use crate::definition::task_type::TaskType;
use crate::definition::workflow_task::WorkflowTask;

/// Checks the scripts of a step. What expressions give is not known before it runs.
pub(super) fn check(found: &mut Found, task: &WorkflowTask, path: &str) {
    let input = |key: &str| task.input_parameters.get(key).and_then(Value::as_str);
    match task.task_type {
        TaskType::Switch => {
            let language = task.evaluator_type.as_deref().unwrap_or_default();
            if is_script(found, language, &format!("{path}.evaluatorType")) {
                check_script(found, task.expression.as_deref(), &format!("{path}.expression"));
            }
        }
        TaskType::Decision => {
            let script = task.case_expression.as_deref().filter(|text| !text.is_empty());
            check_script(found, script, &format!("{path}.caseExpression"));
        }
        TaskType::DoWhile => {
            let script = task.loop_condition.as_deref().filter(|text| !text.trim().is_empty());
            check_script(found, script, &format!("{path}.loopCondition"));
        }
        TaskType::Inline => {
            let language = input("evaluatorType").unwrap_or("javascript");
            if is_script(found, language, &format!("{path}.inputParameters.evaluatorType")) {
                let path = format!("{path}.inputParameters.expression");
                check_script(found, input("expression"), &path);
            }
        }
        TaskType::Lambda => {
            let script = input("scriptExpression").map(body_as_expression);
            let path = format!("{path}.inputParameters.scriptExpression");
            check_script(found, script.as_deref(), &path);
        }
        TaskType::JsonJqTransform => {
            let path = format!("{path}.inputParameters.queryExpression");
            check_with(found, input("queryExpression"), &path, check_jq);
        }
        _ => {}
    }
}

/// Checks the condition of an event handler.
pub(super) fn check_condition(found: &mut Found, language: &str, condition: &str) {
    if is_script(found, language, "$.evaluatorType") {
        check_script(found, Some(condition), "$.condition");
    }
}

/// Whether the language is one of scripts; one that is not known is a fault.
fn is_script(found: &mut Found, language: &str, path: &str) -> bool {
    match language {
        "javascript" | "graaljs" | "" => true,
        "value-param" => false,
        language if language.contains("${") => false,
        other => {
            found.add(path, format!("{other:?} is not supported: write javascript or value-param"));
            false
        }
    }
}

fn check_script(found: &mut Found, script: Option<&str>, path: &str) {
    check_with(found, script, path, check_js);
}

fn check_with(
    found: &mut Found,
    script: Option<&str>,
    path: &str,
    check: fn(&str) -> Result<(), ScriptError>,
) {
    let Some(script) = script.filter(|script| !script.contains("${")) else { return };
    if let Err(error) = check(script) {
        found.add(path, format!("the script cannot be used: {error}"));
    }
}
