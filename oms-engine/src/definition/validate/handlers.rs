//! Checks event handlers before they are registered.

use serde_json::{Value, json};

use super::{Found, Part, check_storable, scripts};
use crate::definition::event::{EventAction, EventActionKind, EventHandler, over_payload};
use crate::definition::faults::{Faults, Notice};
use crate::definition::template::survey;

/// Actions of one handler.
const ACTIONS_MAX: usize = 1_000;

/// Checks an event handler. Out: what it says without an effect.
///
/// # Errors
/// Every fault, each with its JSON path and what to do.
pub fn validate_event_handler(handler: &EventHandler) -> Result<Vec<Notice>, Faults> {
    let mut found = Found::default();
    found.check_name("$.name", &handler.name);
    found.check_name("$.event", &handler.event);
    if let Err(reason) = check_sink(&handler.event) {
        found.add("$.event", reason);
    } else if handler.event == "conductor" {
        found.add("$.event", "names no queue: write `conductor:<workflow>:<reference name>`");
    }
    if let Some(condition) = handler.condition.as_deref().filter(|text| !text.is_empty()) {
        let language = handler.evaluator_type.as_deref().unwrap_or_default();
        scripts::check_condition(&mut found, language, condition);
    }
    if handler.actions.is_empty() {
        found.add("$.actions", "is empty: a handler has at least one action");
    }
    if handler.actions.len() > ACTIONS_MAX {
        let count = handler.actions.len();
        found.add("$.actions", format!("has {count} actions: at most {ACTIONS_MAX} are allowed"));
    }
    for (index, action) in handler.actions.iter().enumerate() {
        check_action(&mut found, action, &format!("$.actions[{index}]"));
    }
    if !handler.active {
        found.note("$.active", "is false: the handler does nothing until it is active");
    }
    check_storable(&mut found, serde_json::to_value(handler), Part::Plain);
    found.end(format!("event handler {:?}", super::super::faults::shown(&handler.name)))
}

/// Where events go: `conductor` alone.
pub(super) fn check_sink(sink: &str) -> Result<(), String> {
    let provider = sink.split(':').next().unwrap_or_default();
    if provider == "conductor" {
        return Ok(());
    }
    let hint = "write `conductor` or `conductor:<name>`, or a worker task that publishes there";
    Err(format!("{sink:?}: events to {provider:?} are not part of this engine: {hint}"))
}

fn check_action(found: &mut Found, action: &EventAction, path: &str) {
    let Some(kind) = action.action else {
        return found.add(format!("{path}.action"), "is missing: name what is done");
    };
    let field = kind.as_str();
    let given: Option<Value> = match kind {
        EventActionKind::StartWorkflow => action.start_workflow.as_ref().map(|of| {
            found.check_name(&format!("{path}.{field}.name"), &of.name);
            json!({ "input": of.input, "correlationId": of.correlation_id })
        }),
        EventActionKind::CompleteTask | EventActionKind::FailTask => {
            let of = match kind {
                EventActionKind::CompleteTask => &action.complete_task,
                _ => &action.fail_task,
            };
            of.as_ref().map(|of| {
                let named = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
                let by_run = named(&of.workflow_id) && named(&of.task_ref_name);
                if !by_run && !named(&of.task_id) {
                    let hint = "give taskId, or workflowId and taskRefName";
                    found.add(format!("{path}.{field}"), format!("names no task: {hint}"));
                }
                json!(of)
            })
        }
        EventActionKind::TerminateWorkflow => action.terminate_workflow.as_ref().map(|of| {
            check_run(found, of.workflow_id.as_ref(), &format!("{path}.{field}"));
            json!(of)
        }),
        EventActionKind::UpdateWorkflowVariables => {
            action.update_workflow_variables.as_ref().map(|of| {
                check_run(found, of.workflow_id.as_ref(), &format!("{path}.{field}"));
                json!(of)
            })
        }
        EventActionKind::StartAgent => {
            let hint = "write a workflow that does it and start that";
            let message = format!("start_agent: not part of this engine: {hint}");
            return found.add(format!("{path}.action"), message);
        }
    };
    let Some(given) = given else {
        return found.add(format!("{path}.{field}"), "is missing: say what the action is about");
    };
    for fault in survey(&over_payload(&given), &format!("{path}.{field}")).1 {
        found.add(fault.path, fault.message);
    }
}

fn check_run(found: &mut Found, workflow_id: Option<&String>, path: &str) {
    if workflow_id.is_none_or(|id| id.is_empty()) {
        found.add(format!("{path}.workflowId"), "is missing: name the run");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::definition::{WorkflowDef, validate};

    fn faults(handler: &Value) -> Vec<String> {
        let handler = EventHandler::from_json(&handler.to_string()).unwrap();
        match validate_event_handler(&handler) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_handler_of_every_kind_of_action_passes() {
        let handler = json!({
            "name": "h", "event": "conductor:w:r", "condition": "$.status == 'READY'",
            "active": true, "actions": [
                {"action": "start_workflow", "start_workflow": {"name": "x", "version": 1,
                    "correlationId": "${id}", "input": {"a": "${b.c[0]}"}}},
                {"action": "complete_task", "complete_task": {"taskId": "${id}"}},
                {"action": "fail_task", "expandInlineJSON": true, "fail_task": {
                    "workflowId": "${run}", "taskRefName": "t", "output": {"x": 1}}},
                {"action": "terminate_workflow", "terminate_workflow": {
                    "workflowId": "${run}", "terminationReason": "no"}},
                {"action": "update_workflow_variables", "update_workflow_variables": {
                    "workflowId": "${run}", "variables": {"l": [1]}, "appendArray": true}},
            ],
        });
        assert_eq!(faults(&handler), Vec::<String>::new());
        let read: EventHandler = serde_json::from_value(handler.clone()).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        let said = "update_workflow_variables";
        assert_eq!(written["actions"][4][said], handler["actions"][4][said]);
        assert!(read.actions.iter().all(|action| action.extra.is_empty()));
    }

    #[test]
    fn all_faults_of_a_handler_are_reported_with_their_paths() {
        let found = faults(&json!({
            "name": "", "event": "kafka:topic", "condition": "$.a", "evaluatorType": "python",
            "actions": [
                {"action": "start_agent"}, {}, {"action": "start_workflow"},
                {"action": "complete_task", "complete_task": {"taskRefName": "t"}},
                {"action": "terminate_workflow", "terminate_workflow": {}},
                {"action": "start_workflow", "start_workflow": {"input": {"x": "${a"}}},
            ],
        }));
        let expected = [
            "$.name: is empty",
            "$.event: \"kafka:topic\": events to \"kafka\" are not part of this engine",
            "$.evaluatorType: \"python\" is not supported",
            "$.actions[0].action: start_agent: not part of this engine",
            "$.actions[1].action: is missing",
            "$.actions[2].start_workflow: is missing",
            "$.actions[3].complete_task: names no task",
            "$.actions[4].terminate_workflow.workflowId: is missing",
            "$.actions[5].start_workflow.name: is empty",
            "$.actions[5].start_workflow.input.x: ",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} for {expected}");
        }
    }

    #[test]
    fn a_handler_that_is_not_active_is_registered_and_noticed() {
        let handler = json!({"name": "h", "event": "conductor:q", "actions": [
            {"action": "complete_task", "complete_task": {"taskId": "${id}"}},
        ]});
        let handler = EventHandler::from_json(&handler.to_string()).unwrap();
        let noticed = validate_event_handler(&handler).unwrap();
        assert_eq!(noticed.len(), 1);
        assert_eq!(noticed[0].path, "$.active");
    }

    #[test]
    fn events_of_tasks_go_to_conductor_alone_unless_data_says_where() {
        let faults = |sink: Value| {
            let task =
                json!({"name": "e", "taskReferenceName": "e", "type": "EVENT", "sink": sink});
            let def = WorkflowDef::from_json(&json!({"name": "w", "tasks": [task]}).to_string());
            match validate(&def.unwrap(), &BTreeMap::new()) {
                Ok(_) => Vec::new(),
                Err(faults) => faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }
        };
        for sink in ["conductor", "conductor:orders", "${workflow.input.sink}"] {
            assert_eq!(faults(json!(sink)), Vec::<String>::new(), "{sink}");
        }
        for sink in ["kafka:t", "sqs:https://x", "nats:s", "amqp_queue:q", "conductors"] {
            let provider = sink.split(':').next().unwrap();
            let fault = format!("$.tasks[0].sink: \"{sink}\": events to \"{provider}\" are not");
            let found = faults(json!(sink));
            assert!(found.len() == 1 && found[0].starts_with(&fault), "{found:#?}");
        }
        assert!(faults(json!(null))[0].starts_with("$.tasks[0].sink: is missing"));
    }
}
