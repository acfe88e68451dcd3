use serde_json::{Value, json};

use super::asked::{expanded, resolved};
use super::{Asked, EventAction, EventHandler, TaskTarget};
use crate::ids::WorkflowId;

fn action(text: Value) -> EventAction {
    serde_json::from_value(text).unwrap()
}

#[test]
fn expressions_of_actions_read_from_the_root_of_the_payload() {
    let payload = json!({
        "a": {"b": [1, {"c d": 2}]}, "k": "b", "text": "{\"x\": 1}", "['": 3,
    });
    let cases = [
        ("${a.b[0]}", json!(1)),
        ("${$.a.b[1]['c d']}", json!(2)),
        ("${['a']['b'][0]}", json!(1)),
        ("${ a.b[0] } and ${k}", json!("1 and b")),
        ("${a.${k}[0]}", json!(1)),
        ("${$}", payload.clone()),
        ("$${a}", json!("${a}")),
        ("$${ a}", json!("${ a}")),
        ("${}", json!("")),
        ("${nobody.x}", json!(null)),
        ("${workflow.input.a}", json!(null)),
        ("no ${ end", json!("no ${workflow.input.end")),
    ];
    for (text, expected) in cases {
        let found = resolved(&json!({ "x": text }), &payload);
        if text == "no ${ end" {
            assert!(found.is_err(), "{found:?}");
            continue;
        }
        assert_eq!(found.unwrap()["x"], expected, "{text}");
    }
}

#[test]
fn texts_that_are_json_are_read_in_objects_and_stay_in_lists() {
    let payload = json!({
        "a": "{\"b\": \"[1]\"}", "l": ["[1]", {"c": " [2]"}], "n": "1", "bad": "{x",
    });
    let expected = json!({
        "a": {"b": "[1]"}, "l": ["[1]", {"c": [2]}], "n": "1", "bad": "{x",
    });
    assert_eq!(expanded(&payload), expected);
}

#[test]
fn a_condition_holds_for_true_and_numbers_over_zero() {
    let payload = json!({"yes": true, "one": 1, "none": 0, "text": "true", "json": "[1]"});
    let holds = |key: &str| {
        let handler = EventHandler {
            condition: Some(key.to_owned()),
            evaluator_type: Some("value-param".to_owned()),
            ..EventHandler::default()
        };
        handler.holds_for(&payload).unwrap()
    };
    assert!(holds("yes") && holds("one") && holds(""));
    for key in ["none", "text", "json", "absent"] {
        assert!(!holds(key), "{key}");
    }
}

#[test]
fn a_start_gets_what_its_event_is_and_domains_of_the_payload() {
    let asked = action(json!({"action": "start_workflow", "start_workflow": {
        "name": "w", "version": 2, "correlationId": "c-${id}", "input": {"v": "${deep.v}"},
    }}));
    let payload = json!({"id": 7, "deep": {"v": [1]}, "taskToDomain": {"*": "d"}});
    let Asked::Start { name, version, input, correlation_id, task_to_domain } =
        asked.asks("conductor:x:y", "m", &payload).unwrap()
    else {
        panic!("no start")
    };
    assert_eq!((name.as_str(), version, correlation_id.as_deref()), ("w", Some(2), Some("c-7")));
    let expected = json!({
        "v": [1], "conductor.event.messageId": "m", "conductor.event.name": "conductor:x:y",
    });
    assert_eq!(Value::Object(input), expected);
    assert_eq!(Value::Object(task_to_domain), json!({"*": "d"}));
}

#[test]
fn a_task_is_named_by_its_id_or_by_run_and_reference_and_gets_all_that_the_action_says() {
    let run = WorkflowId::new();
    let payload = json!({"run": run.to_string(), "why": "late", "v": 1});
    let asked = action(json!({"action": "fail_task", "fail_task": {
        "workflowId": "${run}", "taskRefName": "wait", "output": {"v": "${v}"},
        "reasonForIncompletion": "is ${why}",
    }}));
    let Asked::EndTask { task, failed, output, reason } = asked.asks("e", "m", &payload).unwrap()
    else {
        panic!("no task")
    };
    let named = TaskTarget::Named { workflow_id: run, reference_name: "wait".to_owned() };
    assert_eq!((task, failed, reason.as_deref()), (named, true, Some("is late")));
    let expected = json!({
        "workflowId": run.to_string(), "taskId": null, "taskRefName": "wait", "v": 1,
        "reasonForIncompletion": "is late", "conductor.event.messageId": "m",
        "conductor.event.name": "e",
    });
    assert_eq!(Value::Object(output), expected);
    let nobody = action(json!({"action": "complete_task", "complete_task": {
        "workflowId": "${nobody}", "taskRefName": "wait",
    }}));
    let refused = nobody.asks("e", "m", &payload).unwrap_err();
    assert!(refused.contains("reference name: wait, workflowId: null"), "{refused}");
}
