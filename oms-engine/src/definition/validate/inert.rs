//! What Conductor's definitions can say and what has no effect in Conductor either: it is kept and
//! given back, and whoever registers it is told.

use super::Found;
use super::not_yet::Field;
use crate::definition::task_def::TaskDef;
use crate::definition::task_type::TaskType;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

const MESSAGE: &str = "is kept and has no effect, as in Conductor OSS";

const OF_WORKFLOWS: &[Field<WorkflowDef>] = &[
    ("rateLimitConfig", |def| is_given(def.rate_limit_config.as_ref())),
    ("cacheConfig", |def| is_given(def.cache_config.as_ref())),
    ("maskedFields", |def| !def.masked_fields.is_empty()),
    ("workflowStatusListenerEnabled", |def| def.workflow_status_listener_enabled),
];

const OF_STEPS: &[Field<WorkflowTask>] = &[
    ("asyncComplete", |task| {
        task.async_complete && !matches!(task.task_type, TaskType::Event | TaskType::Http)
    }),
    ("rateLimited", |task| task.rate_limited == Some(true)),
    ("cacheConfig", |task| is_given(task.cache_config.as_ref())),
    ("onStateChange", |task| !task.on_state_change.is_empty()),
];

/// Whether something is said that is not the default.
fn is_given<T: Default + PartialEq>(field: Option<&T>) -> bool {
    field.is_some_and(|given| *given != T::default())
}

pub(super) fn note_workflow(found: &mut Found, def: &WorkflowDef) {
    note(found, def, "$", OF_WORKFLOWS);
}

pub(super) fn note_step(found: &mut Found, task: &WorkflowTask, path: &str) {
    note(found, task, path, OF_STEPS);
}

/// Times of a task definition that do not count for a type that no worker takes.
pub(super) fn note_times(
    found: &mut Found,
    task: &WorkflowTask,
    def: Option<&TaskDef>,
    path: &str,
) {
    let kind = &task.task_type;
    let waits = matches!(kind, TaskType::Wait | TaskType::Human | TaskType::Event);
    let Some(def) = def.filter(|_| waits) else { return };
    let usual = TaskDef::new("").response_timeout_seconds;
    let answers = task.async_complete && ![0, usual].contains(&def.response_timeout_seconds);
    for (field, is_said) in [
        ("pollTimeoutSeconds", def.poll_timeout_seconds.is_some_and(|seconds| seconds > 0)),
        ("responseTimeoutSeconds", answers),
    ] {
        if is_said && task.task_definition.is_some() {
            found.note(format!("{path}.taskDefinition.{field}"), MESSAGE);
        } else if is_said {
            let message =
                format!("{field} of task definition {:?} {MESSAGE}: it is {kind}", def.name);
            found.note(format!("{path}.name"), message);
        }
    }
}

fn note<T>(found: &mut Found, of: &T, path: &str, fields: &[Field<T>]) {
    for (field, is_said) in fields {
        if is_said(of) {
            found.note(format!("{path}.{field}"), MESSAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::definition::validate;

    #[test]
    fn times_that_do_not_count_for_what_waits_are_noticed() {
        let own = json!({"name": "a", "responseTimeoutSeconds": 5, "pollTimeoutSeconds": 5});
        let step = |name: &str, kind: &str| {
            let mut step = json!({"name": name, "taskReferenceName": name, "type": kind});
            step["asyncComplete"] = json!(kind == "EVENT");
            step["sink"] = json!("conductor");
            step
        };
        let mut with_own = step("a", "EVENT");
        with_own["taskDefinition"] = own;
        let tasks = [with_own, step("b", "WAIT"), step("c", "HUMAN"), step("d", "SIMPLE")];
        let def = WorkflowDef::from_json(&json!({"name": "w", "tasks": tasks}).to_string());
        let mut registered = TaskDef::new("b");
        registered.poll_timeout_seconds = Some(5);
        let defs = BTreeMap::from(["b", "d"].map(|name| (name.to_owned(), registered.clone())));
        let noticed = validate(&def.unwrap(), &defs).unwrap();
        let seen = noticed.iter().map(|notice| format!("{}: {}", notice.path, notice.message));
        let of_b = format!(
            "$.tasks[1].name: pollTimeoutSeconds of task definition \"b\" {MESSAGE}: it is WAIT"
        );
        let expected = [
            format!("$.tasks[0].taskDefinition.pollTimeoutSeconds: {MESSAGE}"),
            format!("$.tasks[0].taskDefinition.responseTimeoutSeconds: {MESSAGE}"),
            of_b,
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_has_no_effect_in_conductor_either_is_noticed_and_does_not_keep_it_from_registering() {
        let inner = json!({
            "name": "b", "taskReferenceName": "b", "rateLimited": true,
            "cacheConfig": {"key": "k", "ttlInSecond": 1},
            "onStateChange": {"onStart": [{"type": "t", "payload": {}}]},
        });
        let def = json!({
            "name": "w", "maskedFields": ["a"], "cacheConfig": {"key": "k"},
            "workflowStatusListenerEnabled": true,
            "rateLimitConfig": {"rateLimitKey": "k", "concurrentExecLimit": 1},
            "tasks": [{
                "name": "a", "taskReferenceName": "a", "type": "SWITCH",
                "evaluatorType": "value-param", "expression": "x", "decisionCases": {"1": [inner]},
            }],
        });
        let def = WorkflowDef::from_json(&def.to_string()).unwrap();
        let noticed = validate(&def, &BTreeMap::new()).unwrap();
        let subject = "workflow definition \"w\" version 1";
        assert!(
            noticed.iter().all(|notice| notice.subject == subject && notice.message == MESSAGE)
        );
        let paths: Vec<&str> = noticed.iter().map(|notice| notice.path.as_str()).collect();
        let expected = [
            "$.rateLimitConfig",
            "$.cacheConfig",
            "$.maskedFields",
            "$.workflowStatusListenerEnabled",
            "$.tasks[0].decisionCases.1[0].rateLimited",
            "$.tasks[0].decisionCases.1[0].cacheConfig",
            "$.tasks[0].decisionCases.1[0].onStateChange",
        ];
        assert_eq!(paths, expected);
    }
}
