//! Limits of task definitions, where a step could not keep them.

use std::collections::BTreeMap;

use super::{Found, Step, TaskDefs, steps};
use crate::definition::faults::Faults;
use crate::definition::task_def::TaskDef;
use crate::definition::task_type::TaskType;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

/// Checks a step. A limit counts over all workflows, by the registered definition of the task's
/// name; a worker takes the task by that name.
pub(super) fn check_step(
    found: &mut Found,
    task: &WorkflowTask,
    path: &str,
    task_defs: Option<&TaskDefs>,
) {
    let registered = task_defs.and_then(|defs| defs.get(&task.name));
    if let Some(own) = task.task_definition.as_deref()
        && own.limits().any()
        && task_defs.is_none_or(|_| registered.is_none_or(|def| def.limits() != own.limits()))
    {
        let field = field_of(own);
        let hint = "register the task definition with it, or remove it here";
        found.add(
            format!("{path}.taskDefinition.{field}"),
            format!("{field} counts over all workflows, not for one step: {hint}"),
        );
    }
    if let Some(def) = registered {
        check_type(found, task, path, def);
    }
}

/// Types that are handed out by another name than the definition's, and are held to its limits in
/// Conductor.
fn check_type(found: &mut Found, task: &WorkflowTask, path: &str, def: &TaskDef) {
    let elsewhere = match &task.task_type {
        TaskType::SubWorkflow | TaskType::StartWorkflow | TaskType::Event | TaskType::Http => true,
        TaskType::UserDefined | TaskType::Other(_) => task.task_type.as_str() != task.name,
        _ => false,
    };
    if elsewhere && def.limits().any() {
        let (field, kind, name) = (field_of(def), &task.task_type, &task.name);
        let hint = "give this step a name whose definition has none, or write SIMPLE";
        found.add(
            format!("{path}.name"),
            format!("{field} of task definition {name:?}: not supported on type {kind}: {hint}"),
        );
    }
}

fn field_of(def: &TaskDef) -> &'static str {
    match def.limits().concurrent {
        Some(_) => "concurrentExecLimit",
        None => "rateLimitPerFrequency",
    }
}

/// Checks a registered definition against task definitions that have changed since.
pub(crate) fn validate_limits(
    def: &WorkflowDef,
    task_defs: &BTreeMap<String, TaskDef>,
) -> Result<(), Faults> {
    let mut found = Found::default();
    for Step { path, task, .. } in steps("$.tasks", &def.tasks) {
        if let Some(def) = task_defs.get(&task.name) {
            check_type(&mut found, task, &path, def);
        }
    }
    Faults::check(def.subject(), found.faults)
}
