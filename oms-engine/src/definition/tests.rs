//! Reading and writing definitions.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn fault(text: &str) -> String {
    WorkflowDef::from_json(text).unwrap_err().to_string()
}

#[test]
fn absent_fields_have_conductors_defaults() {
    let def = WorkflowDef::from_json(r#"{"name": "w", "tasks": [{"name": "a"}]}"#).unwrap();
    assert_eq!((def.version, def.schema_version), (1, 2));
    assert!(def.restartable && def.enforce_schema && !def.workflow_status_listener_enabled);
    assert_eq!(def.timeout_policy, WorkflowTimeoutPolicy::AlertOnly);
    assert_eq!(def.tasks[0].task_type, TaskType::Simple);
    assert_eq!(def.tasks[0].retry_count, None);
    let def = TaskDef::from_json(r#"{"name": "a"}"#).unwrap();
    assert_eq!(def, TaskDef::default_for("a"));
    assert_eq!((def.retry_count, def.retry_delay_seconds, def.backoff_scale_factor), (3, 60, 1));
    assert_eq!((def.response_timeout_seconds, def.timeout_seconds), (3600, 0));
    assert_eq!(def.timeout_policy, TimeoutPolicy::TimeOutWorkflow);
    assert_eq!(def.rate_limit_frequency_in_seconds, 1);
}

#[test]
fn null_for_a_primitive_is_its_zero_and_for_a_list_is_empty() {
    let text = r#"{"name": "w", "version": null, "restartable": null, "tasks": null,
                   "timeoutPolicy": null, "description": null, "inputSchema": null}"#;
    let def = WorkflowDef::from_json(text).unwrap();
    assert_eq!(def.version, 0);
    assert!(!def.restartable && def.tasks.is_empty() && def.description.is_none());
    assert_eq!(TaskDef::from_json(r#"{"retryCount": null}"#).unwrap().retry_count, 0);
}

#[test]
fn absent_optional_fields_are_left_out_and_null_values_in_maps_are_kept() {
    let def = WorkflowDef::builder("w")
        .task(WorkflowTask::simple("a", "a_ref").input("k", Value::Null))
        .build()
        .unwrap();
    let written = serde_json::to_value(&def).unwrap();
    assert_eq!(written["tasks"][0]["inputParameters"], json!({"k": null}));
    assert_eq!(written["tasks"][0]["taskReferenceName"], "a_ref");
    for absent in ["description", "failureWorkflow", "rateLimitConfig", "createTime"] {
        assert!(written.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn unknown_fields_and_types_are_kept() {
    let text = json!({
        "name": "w", "future": {"a": [1]},
        "tasks": [{"name": "a", "type": "MY_TYPE", "position": 7,
                   "taskDefinition": {"name": "a", "more": true},
                   "cacheConfig": {"key": "k", "ttlInSecond": 1, "grace": 2}}],
    });
    let def = WorkflowDef::from_json(&text.to_string()).unwrap();
    assert_eq!(def.tasks[0].task_type, TaskType::Other("MY_TYPE".into()));
    let written = serde_json::to_value(&def).unwrap();
    assert_eq!(written["future"], text["future"]);
    assert_eq!(written["tasks"][0]["type"], "MY_TYPE");
    assert_eq!(written["tasks"][0]["position"], 7);
    assert_eq!(written["tasks"][0]["taskDefinition"]["more"], true);
    assert_eq!(written["tasks"][0]["cacheConfig"]["grace"], 2);
}

#[test]
fn a_wrong_type_is_named_with_its_path_and_what_was_expected() {
    for (text, parts) in [
        (r#"{"tasks": [{"name": "a"}, {"name": 7}]}"#, ["$.tasks[1].name", "expected a string"]),
        (r#"{"version": "1"}"#, ["$.version", "expected i32"]),
        (r#"{"version": 99999999999}"#, ["$.version", "expected i32"]),
        (r#"{"version": 1.5}"#, ["$.version", "expected i32"]),
        (r#"{"timeoutPolicy": "NEVER"}"#, ["$.timeoutPolicy", "ALERT_ONLY"]),
        (
            r#"{"tasks": [{"decisionCases": {"x": [{"optional": 1}]}}]}"#,
            ["$.tasks[0].decisionCases.x[0].optional", "expected a boolean"],
        ),
        (
            r#"{"tasks": [{"taskDefinition": {"retryLogic": "SOMETIMES"}}]}"#,
            ["$.tasks[0].taskDefinition.retryLogic", "EXPONENTIAL_BACKOFF"],
        ),
        (r#"{"inputParameters": {}}"#, ["$.inputParameters", "expected a sequence"]),
        (r#"[]"#, ["$", "WorkflowDef"]),
        (r#"{"name": "w",}"#, ["$", "trailing comma"]),
        (r#"{"name": "w"} x"#, ["$", "trailing characters"]),
        (r#"{"name": "w", "name": "v"}"#, ["$", "duplicate field"]),
        (r#"{"name": "\ud800"}"#, ["$.name", "hex escape"]),
        (r#"{"metadata": {"n": 1e999}}"#, ["$.metadata.n", "out of range"]),
        ("", ["$", "EOF"]),
    ] {
        let fault = fault(text);
        assert!(parts.iter().all(|part| fault.contains(part)), "{text}: {fault}");
    }
}

#[test]
fn a_long_name_does_not_swell_the_message() {
    let def = WorkflowDef { name: "é".repeat(10_000), ..WorkflowDef::default() };
    let faults = validate(&def, &[].into()).unwrap_err();
    assert!(faults.to_string().len() < 1_000, "{faults}");
}

#[test]
fn deep_nesting_is_refused_before_it_is_parsed() {
    let deep = format!("{{\"metadata\":\n{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let fault = fault(&deep);
    assert!(fault.starts_with("workflow definition: $.metadata[0][0]"), "{fault}");
    assert!(fault.ends_with("[0]: is nested deeper than 499: flatten it"), "{fault}");
    let brackets_in_text = format!(r#"{{"description": "\"{}"}}"#, "[".repeat(200));
    assert!(WorkflowDef::from_json(&brackets_in_text).is_ok());
}

#[test]
fn the_deepest_nesting_that_is_allowed_is_read_checked_and_written() {
    let mut task = json!({"name": "t", "taskReferenceName": "t48", "type": "DO_WHILE"});
    for level in (0..48).rev() {
        let name = format!("t{level}");
        task = json!({
            "name": "t", "taskReferenceName": name, "type": "DO_WHILE", "loopCondition": "false",
            "loopOver": [task],
        });
    }
    let text = json!({"name": "w", "tasks": [task]}).to_string();
    let def = WorkflowDef::from_json(&text).unwrap();
    let faults = validate(&def, &[].into()).unwrap_err();
    let paths: Vec<usize> =
        faults.iter().map(|fault| fault.path.matches("loopOver").count()).collect();
    assert_eq!(paths, [48, 49], "the innermost loop has neither condition nor body");
    let written = serde_json::to_string(&def).unwrap();
    assert_eq!(WorkflowDef::from_json(&written).unwrap(), def);
}

#[test]
fn an_input_template_fills_only_a_non_empty_input() {
    let def = WorkflowDef::builder("w")
        .task(WorkflowTask::simple("a", "a"))
        .input_default("x", 1)
        .input_default("y", 2)
        .build()
        .unwrap();
    assert_eq!(def.with_input_template(Map::new()), Map::new());
    let given = json!({"x": null}).as_object().unwrap().clone();
    assert_eq!(Value::Object(def.with_input_template(given)), json!({"x": null, "y": 2}));
}

#[test]
fn a_failure_workflow_is_named_or_looked_up_in_the_input() {
    let named = |failure_workflow: Option<&str>, input: Value| {
        let def = WorkflowDef {
            failure_workflow: failure_workflow.map(ToOwned::to_owned),
            ..WorkflowDef::default()
        };
        let input = input.as_object().unwrap().clone();
        def.failure_workflow_name(&input).map(|name| name.map(ToOwned::to_owned))
    };
    assert_eq!(named(None, json!({})), Ok(None));
    assert_eq!(named(Some("undo"), json!({})), Ok(Some("undo".into())));
    let reference = Some("$workflow.input.f");
    assert_eq!(named(reference, json!({"f": "undo"})), Ok(Some("undo".into())));
    assert!(named(reference, json!({"f": 1})).unwrap_err().contains("\"f\""));
    assert!(named(reference, json!({})).is_err());
}

#[test]
fn a_step_runs_under_its_own_definition_then_the_registered_one_then_the_ad_hoc_one() {
    let registered = TaskDef::new("a").retry_count(5);
    let task_defs = [("a".to_owned(), registered)].into();
    let step = WorkflowTask::simple("a", "r");
    assert_eq!(step.effective_task_def(&task_defs).retry_count, 5);
    let own = step.definition(TaskDef::new("a").retry_count(7));
    assert_eq!(own.effective_task_def(&task_defs).retry_count, 7);
    let other = WorkflowTask::simple("b", "r");
    assert_eq!(*other.effective_task_def(&task_defs), TaskDef::default_for("b"));
    let noop = WorkflowTask { task_type: TaskType::Noop, ..other };
    assert_eq!(noop.effective_task_def(&task_defs).retry_count, 0);
}

#[test]
fn the_queue_is_the_name_of_a_simple_task_and_the_type_of_others() {
    let queue = |kind: &str| {
        let task =
            WorkflowTask { task_type: kind.into(), ..WorkflowTask::simple("pay", "pay_ref") };
        task.queue_type().to_owned()
    };
    assert_eq!(queue("SIMPLE"), "pay");
    assert_eq!(queue("DYNAMIC"), "pay");
    assert_eq!(queue("MY_TYPE"), "MY_TYPE");
    assert_eq!(queue("FORK_JOIN_DYNAMIC"), "FORK");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_map() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::btree_map("[a-z]{1,4}", any_value(), 0..4)
        .prop_map(|map| map.into_iter().collect())
}

/// An object with some of these fields, each of its kind, and some unknown ones.
fn any_object(fields: &'static [(&'static str, char)]) -> impl Strategy<Value = Value> {
    let one = (0..fields.len(), any_map(), any::<i32>(), any::<bool>(), "\\PC{0,6}").prop_map(
        move |(field, map, number, truth, text)| {
            let (name, kind) = fields[field];
            let value = match kind {
                'm' => Value::Object(map),
                'n' => json!(number),
                'b' => json!(truth),
                't' => json!(text),
                'l' => json!([text, "x"]),
                'z' => Value::Null,
                _ => json!("SYNC"),
            };
            (name.to_owned(), value)
        },
    );
    (proptest::collection::vec(one, 0..8), any_map()).prop_map(|(known, unknown)| {
        let unknown = unknown.into_iter().map(|(key, value)| (format!("x_{key}"), value));
        Value::Object(unknown.chain(known).collect())
    })
}

const TASK: &[(&str, char)] = &[
    ("name", 't'),
    ("taskReferenceName", 't'),
    ("type", 't'),
    ("inputParameters", 'm'),
    ("optional", 'b'),
    ("startDelay", 'n'),
    ("startDelay", 'z'),
    ("retryCount", 'n'),
    ("retryCount", 'z'),
    ("joinOn", 'l'),
    ("joinMode", 'j'),
    ("rateLimited", 'b'),
    ("items", 't'),
    ("metadata", 'm'),
    ("description", 'z'),
];
const TASK_DEF: &[(&str, char)] = &[
    ("name", 't'),
    ("retryCount", 'n'),
    ("timeoutSeconds", 'z'),
    ("pollTimeoutSeconds", 'n'),
    ("concurrentExecLimit", 'z'),
    ("inputTemplate", 'm'),
    ("inputKeys", 'l'),
    ("enforceSchema", 'b'),
    ("createTime", 'n'),
];
const WORKFLOW: &[(&str, char)] = &[
    ("name", 't'),
    ("version", 'n'),
    ("version", 'z'),
    ("outputParameters", 'm'),
    ("inputParameters", 'l'),
    ("inputParameters", 'z'),
    ("failureWorkflow", 't'),
    ("restartable", 'z'),
    ("variables", 'm'),
    ("maskedFields", 'l'),
    ("createTime", 'n'),
];

fn any_workflow() -> impl Strategy<Value = Value> {
    let step = (any_object(TASK), proptest::option::of(any_object(TASK_DEF))).prop_map(
        |(mut step, task_def)| {
            if let Some(task_def) = task_def {
                step["taskDefinition"] = task_def;
            }
            step
        },
    );
    let step = step.prop_recursive(2, 8, 3, |inner| {
        let list = proptest::collection::vec(inner, 0..3);
        (any_object(TASK), list.clone(), list).prop_map(|(mut step, one, other)| {
            step["decisionCases"] = json!({"é 1": one});
            step["forkTasks"] = json!([one, other]);
            step["loopOver"] = json!(other);
            step
        })
    });
    (any_object(WORKFLOW), proptest::collection::vec(step, 0..4)).prop_map(|(mut def, tasks)| {
        def["tasks"] = json!(tasks);
        def
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn read_written_and_read_again_nothing_is_lost(text in any_workflow()) {
        let read = WorkflowDef::from_json(&text.to_string()).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        prop_assert_eq!(WorkflowDef::from_json(&written).unwrap(), read);
        let written: Value = serde_json::from_str(&written).unwrap();
        for (key, value) in text.as_object().unwrap() {
            if !value.is_null() && key != "tasks" {
                prop_assert_eq!(&written[key], value);
            }
        }
    }

    #[test]
    fn a_task_definition_read_written_and_read_again_is_the_same(text in any_object(TASK_DEF)) {
        let read = TaskDef::from_json(&text.to_string()).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        prop_assert_eq!(TaskDef::from_json(&written).unwrap(), read);
    }

    #[test]
    fn any_definition_is_checked_without_panic(def in any_workflow()) {
        let def = WorkflowDef::from_json(&def.to_string()).unwrap();
        if let Err(faults) = validate(&def, &[].into()) {
            prop_assert!(faults.iter().all(|fault| fault.path.starts_with('$')));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|[\\[\\]{}\":,a0 ]{0,30}") {
        if let Err(faults) = WorkflowDef::from_json(&text) {
            prop_assert!(faults.iter().count() > 0);
        }
    }
}
