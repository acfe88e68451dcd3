//! What Conductor's definitions can say and this engine does not do yet.
//!
//! It is refused by name where its value would have an effect, so that nothing is accepted and
//! then ignored. A line goes when its feature comes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Found;
use crate::definition::task_type::TaskType;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

const TYPES: &[TaskType] = &[TaskType::PullWorkflowMessages];

/// A field and whether its value would have an effect.
pub(super) type Field<T> = (&'static str, fn(&T) -> bool);

const OF_WORKFLOWS: &[Field<WorkflowDef>] = &[
    (EXTERNAL_INPUT, |def| is_set(&def.extra, EXTERNAL_INPUT)),
    (EXTERNAL_OUTPUT, |def| is_set(&def.extra, EXTERNAL_OUTPUT)),
];

const OF_STEPS: &[Field<WorkflowTask>] = &[
    (EXTERNAL_INPUT, |task| is_set(&task.extra, EXTERNAL_INPUT)),
    (EXTERNAL_OUTPUT, |task| is_set(&task.extra, EXTERNAL_OUTPUT)),
];

const EXTERNAL_INPUT: &str = "externalInputPayloadStoragePath";
const EXTERNAL_OUTPUT: &str = "externalOutputPayloadStoragePath";

fn is_set(extra: &BTreeMap<String, Value>, key: &str) -> bool {
    extra.get(key).is_some_and(|value| !value.is_null() && value != "")
}

/// A JOIN that goes on before every branch of its fork is through, in a task that data gives.
pub(super) fn check_fork(found: &mut Found, fork: &WorkflowTask, join: &WorkflowTask, path: &str) {
    let last = |branch: &Vec<WorkflowTask>| {
        branch.last().is_some_and(|task| join.join_on.contains(&task.task_reference_name))
    };
    if !fork.fork_tasks.iter().all(last) {
        let hint = "name the last task of every branch of the fork";
        found.add(
            format!("{path}.joinOn"),
            format!("a JOIN that leaves branches behind, in a task that data gives: {hint}"),
        );
    }
}

pub(super) fn check_workflow(found: &mut Found, def: &WorkflowDef) {
    check_fields(found, def, "$", OF_WORKFLOWS);
}

/// Checks a step; whether its type is supported.
pub(super) fn check_step(found: &mut Found, task: &WorkflowTask, path: &str) -> bool {
    check_fields(found, task, path, OF_STEPS);
    let supported = !TYPES.contains(&task.task_type);
    if !supported {
        let hint = "write a worker task that does it (SIMPLE)";
        found.add(format!("{path}.type"), format!("{}: not supported yet: {hint}", task.task_type));
    }
    supported
}

fn check_fields<T>(found: &mut Found, of: &T, path: &str, fields: &[Field<T>]) {
    for (field, has_effect) in fields {
        if has_effect(of) {
            found.add(format!("{path}.{field}"), format!("{field}: not supported yet: remove it"));
        }
    }
}
