//! What each type of task asks of its step.

use serde_json::Value;

use super::handlers::check_sink;
use super::{Found, TaskDefs};
use crate::definition::task_type::TaskType;
use crate::definition::wait::{parse_duration, parse_until};
use crate::definition::workflow_task::WorkflowTask;

/// Types of Conductor's servers that are no part of this engine.
const NEVER: &[&str] = &[
    "KAFKA_PUBLISH",
    "LIST_MCP_TOOLS",
    "CALL_MCP_TOOL",
    "AGENT",
    "GET_AGENT_CARD",
    "CANCEL_AGENT",
    "GENERATE_PDF",
];

/// Checks that the type is known; whether it is.
pub(super) fn check_known(
    found: &mut Found,
    task: &WorkflowTask,
    path: &str,
    task_defs: Option<&TaskDefs>,
) -> bool {
    let name = task.task_type.as_str();
    let path = format!("{path}.type");
    if NEVER.contains(&name) || name.starts_with("LLM_") {
        let hint = "write a worker task that does it and name it here with type SIMPLE";
        found.add(path, format!("{name}: not part of this engine: {hint}"));
        return false;
    }
    if !matches!(task.task_type, TaskType::UserDefined | TaskType::Other(_)) {
        return true;
    }
    found.check_task_name(&path, name);
    let defined = task.task_definition.is_some()
        || task_defs.is_none_or(|registered| registered.contains_key(&task.name));
    if !defined {
        let hint = "write SIMPLE for a worker's task, or register a task definition for a type of \
                    your own";
        let name_of = &task.name;
        found.add(
            path,
            format!("unknown type {name:?}, and no task definition is named {name_of:?}: {hint}"),
        );
    }
    defined
}

/// Tasks inside a task whose type does not run them would be lost in silence.
pub(super) fn check_idle_fields(found: &mut Found, task: &WorkflowTask, path: &str) {
    use TaskType as T;
    let kind = &task.task_type;
    let switches = matches!(kind, T::Switch | T::Decision);
    for (field, given, used) in [
        ("decisionCases", !task.decision_cases.is_empty(), switches),
        ("defaultCase", !task.default_case.is_empty(), switches),
        ("forkTasks", !task.fork_tasks.is_empty(), *kind == T::ForkJoin),
        ("loopOver", !task.loop_over.is_empty(), *kind == T::DoWhile),
        ("subWorkflowParam", task.sub_workflow_param.is_some(), *kind == T::SubWorkflow),
        ("joinOn", !task.join_on.is_empty(), matches!(kind, T::Join | T::ExclusiveJoin)),
    ] {
        if given && !used {
            let message = format!("has no effect on type {kind}: set another type or remove it");
            found.add(format!("{path}.{field}"), message);
        }
    }
}

/// Checks the fields that a type cannot do without.
pub(super) fn check_required(
    found: &mut Found,
    task: &WorkflowTask,
    path: &str,
    input_template: Option<&serde_json::Map<String, Value>>,
) {
    let kind = &task.task_type;
    let input = |key: &str| {
        let given = task.input_parameters.get(key);
        given.or_else(|| input_template?.get(key)).is_some_and(|value| !value.is_null())
    };
    let required = match kind {
        TaskType::Event => vec![("sink", task.sink.is_some())],
        TaskType::Switch => vec![
            ("evaluatorType", task.evaluator_type.is_some()),
            ("expression", task.expression.is_some()),
            ("decisionCases", !task.decision_cases.is_empty()),
        ],
        TaskType::Decision => vec![
            ("caseValueParam", task.case_value_param.is_some() || task.case_expression.is_some()),
            ("decisionCases", !task.decision_cases.is_empty()),
        ],
        TaskType::DoWhile => vec![
            (
                "loopCondition",
                task.loop_condition.is_some() || task.items.is_some() || input("_items"),
            ),
            ("loopOver", !task.loop_over.is_empty()),
        ],
        TaskType::Dynamic => {
            vec![("dynamicTaskNameParam", task.dynamic_task_name_param.is_some())]
        }
        TaskType::ForkJoin => vec![("forkTasks", !task.fork_tasks.is_empty())],
        TaskType::ForkJoinDynamic => vec![(
            "dynamicForkTasksParam",
            task.dynamic_fork_join_tasks_param.is_some()
                || input("forkTaskInputs")
                || (task.dynamic_fork_tasks_param.is_some()
                    && task.dynamic_fork_tasks_input_param_name.is_some()),
        )],
        TaskType::Http => vec![(
            "inputParameters.http_request",
            input("http_request") || (input("uri") && input("method")),
        )],
        TaskType::JsonJqTransform => {
            vec![("inputParameters.queryExpression", input("queryExpression"))]
        }
        TaskType::SubWorkflow => vec![("subWorkflowParam", task.sub_workflow_param.is_some())],
        _ => Vec::new(),
    };
    for (field, present) in required {
        if !present {
            found.add(format!("{path}.{field}"), format!("is missing: {kind} needs it"));
        }
    }
    check_values(found, task, path);
}

fn check_values(found: &mut Found, task: &WorkflowTask, path: &str) {
    let text = |key: &str| task.input_parameters.get(key).and_then(Value::as_str).unwrap_or("");
    match task.task_type {
        TaskType::Terminate => {
            if task.optional {
                found.add(format!("{path}.optional"), "a TERMINATE cannot be optional: remove it");
            }
            let status = text("terminationStatus");
            let known = matches!(status, "COMPLETED" | "FAILED" | "TERMINATED");
            if !known && !status.contains("${") {
                found.add(
                    format!("{path}.inputParameters.terminationStatus"),
                    format!("is {status:?}: write COMPLETED, FAILED or TERMINATED"),
                );
            }
        }
        TaskType::Event => {
            let sink = task.sink.as_deref().filter(|sink| !sink.contains("${"));
            if let Some(Err(reason)) = sink.map(check_sink) {
                found.add(format!("{path}.sink"), reason);
            }
        }
        TaskType::Wait if !text("duration").is_empty() && !text("until").is_empty() => {
            let message = "both duration and until are given: remove one";
            found.add(format!("{path}.inputParameters"), message);
        }
        TaskType::Wait => {
            let duration = text("duration");
            if !duration.is_empty()
                && !duration.contains("${")
                && let Err(reason) = parse_duration(duration)
            {
                found.add(format!("{path}.inputParameters.duration"), reason);
            }
            let until = text("until");
            if !until.is_empty()
                && !until.contains("${")
                && let Err(reason) = parse_until(until)
            {
                found.add(format!("{path}.inputParameters.until"), reason);
            }
        }
        _ => {}
    }
}
