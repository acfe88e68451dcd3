use serde_json::json;

use super::*;
use crate::definition::task_type::TaskType;

/// Reads and checks a definition; gives `path: message` of each fault.
fn faults(def: &Value) -> Vec<String> {
    let def = WorkflowDef::from_json(&def.to_string()).unwrap();
    let task_defs = BTreeMap::from([("known".to_owned(), TaskDef::new("known"))]);
    match validate(&def, &task_defs) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn task_def_faults(def: &Value) -> Vec<String> {
    match validate_task_def(&TaskDef::from_json(&def.to_string()).unwrap()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// A task with more fields.
fn task(reference_name: &str, more: Value) -> Value {
    let mut task = json!({"name": "work", "taskReferenceName": reference_name});
    if let (Some(task), Value::Object(more)) = (task.as_object_mut(), more) {
        task.extend(more);
    }
    task
}

fn reading(reference_name: &str, expression: &str) -> Value {
    task(reference_name, json!({"inputParameters": {"x": expression}}))
}

/// A workflow of these tasks.
fn of(tasks: Value) -> Value {
    let mut def = json!({"name": "w"});
    def["tasks"] = tasks;
    def
}

/// Asserts that there is exactly one fault per expected beginning, in any order.
fn assert_faults(found: &[String], expected: &[&str]) {
    for expected in expected {
        assert!(found.iter().any(|f| f.starts_with(expected)), "no {expected:?} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// Faults other than that the type is not supported yet.
fn faults_of_flow(def: &Value) -> Vec<String> {
    let mut found = faults(def);
    found.retain(|fault| !fault.contains("for now every task is one that a worker runs"));
    found
}

#[test]
fn a_plain_definition_passes_and_default_values_pass() {
    let def = json!({
        "name": "order", "version": 1, "schemaVersion": 2, "ownerEmail": "a@b.c",
        "tasks": [
            task("pay", json!({
                "type": "SIMPLE", "asyncComplete": false, "rateLimited": false, "startDelay": 0,
                "decisionCases": {}, "defaultCase": [], "forkTasks": [], "joinOn": [],
                "loopOver": [], "onStateChange": {}, "optional": true, "retryCount": 0,
                "inputParameters": {"a": "${workflow.input.a[0]['b c']}", "id": "${CPEWF_TASK_ID}"},
            })),
            reading("book", "${pay.output.receipt} $${literal}"),
        ],
        "outputParameters": {"r": "${book.output.r}", "w": "${workflow.workflowId}"},
        "failureWorkflow": "$workflow.input.undo", "enforceSchema": true, "maskedFields": [],
        "cacheConfig": {"key": null}, "timeoutPolicy": "TIME_OUT_WF", "timeoutSeconds": 60, "inputTemplate": {"a": "${x"},
        "workflowStatusListenerEnabled": false, "metadata": {"k": 1},
    });
    assert_faults(&faults(&def), &[]);
}

#[test]
fn all_faults_are_reported_at_once_each_with_its_path() {
    let def = json!({
        "name": "", "version": 0, "schemaVersion": 1, "timeoutSeconds": -1,
        "tasks": [
            task("a", json!({"startDelay": -1, "retryCount": 1001})),
            task("a", json!({"name": " ", "type": "HTTP"})),
            reading("b", "${nobody.output.x}"),
            task("", json!({})),
            task("c__1", json!({"type": "SIMPEL"})),
        ],
        "outputParameters": {"deep": [{"y": "${gone.output}"}]},
        "failureWorkflow": "${workflow.input.x}", "failureWorkflowVersion": 0,
    });
    assert_faults(
        &faults(&def),
        &[
            "$.name: is empty",
            "$.version: is 0",
            "$.schemaVersion: is 1",
            "$.timeoutSeconds: is -1",
            "$.failureWorkflowVersion: is 0",
            "$.failureWorkflow: `${workflow.input.x}` cannot be looked up",
            "$.tasks[0].startDelay: is -1",
            "$.tasks[0].retryCount: is 1001",
            "$.tasks[1].taskReferenceName: \"a\" is used already at $.tasks[0]",
            "$.tasks[1].name: is empty",
            "$.tasks[1].inputParameters.http_request: is missing",
            "$.tasks[2].inputParameters.x: no task has the reference name \"nobody\"",
            "$.tasks[3].taskReferenceName: is empty",
            "$.tasks[4].taskReferenceName: \"c__1\": `__`",
            "$.tasks[4].type: unknown type \"SIMPEL\"",
            "$.outputParameters.deep[0].y: no task has the reference name \"gone\"",
        ],
    );
}

#[test]
fn names_are_bounded_and_storable() {
    let long = "n".repeat(256);
    let def = json!({
        "name": long, "description": "a\u{0}b",
        "tasks": [task("r\u{0}", json!({"name": "$control"})), task("workflow", json!({}))],
    });
    assert_faults(
        &faults(&def),
        &[
            "$.name: is 256 bytes long",
            "$.description: holds a NUL",
            "$.tasks[0].taskReferenceName: holds a NUL",
            "$.tasks[0].name: begins with `$`",
            "$.tasks[1].taskReferenceName: \"workflow\" has a meaning of its own",
        ],
    );
    assert_faults(&faults(&of(json!([]))), &["$.tasks: is empty"]);
}

#[test]
fn on_a_straight_line_only_earlier_tasks_are_read() {
    let def = of(json!([
        reading("a", "${b.output.x} ${a.output.x}"),
        reading("b", "${a.output.x}"),
        reading("c", "${${a.output.which}.output.x}"),
    ]));
    let path = "$.tasks[0].inputParameters.x: task";
    let b = format!("{path} \"b\" cannot have run yet");
    let a = format!("{path} \"a\" cannot have run yet");
    assert_faults(&faults(&def), &[&b, &a]);
}

#[test]
fn expressions_are_refused_where_they_can_only_give_null() {
    for (expression, fault) in [
        ("${}", "`${}` is empty"),
        ("${HOME}", "\"HOME\" is no reference name, and environment variables cannot be read"),
        ("${NETFLIX_STACK}", "\"NETFLIX_STACK\" is no reference name"),
        ("${workflow.secrets}", "`${workflow.secrets}`: names no secret"),
        ("${workflow.secrets.a[*]}", "`${workflow.secrets.a[*]}`: names several places"),
        ("${workflow.secrets.${workflow.input.a}}", "data or a filter cannot read a secret"),
        (
            "${workflow.env.${workflow.secrets.a}}",
            "`${workflow.env.${workflow.secrets.a}}`: a secr",
        ),
        ("${workflow.input.x[?(@.y == $.workflow.secrets.a)]}", "data or a filter cannot read"),
        ("${workflow.env}", "`${workflow.env}`: names no value: write `workflow.env.` and a name"),
        ("${workflow.env..key}", "`${workflow.env..key}`: names no value"),
        ("${workflow.inptu.x}", "\"workflow\" has no field \"inptu\": it has input, output"),
        ("${a.outputs.x}", "\"a\" has no field \"outputs\": it has input, output"),
        ("${a.output[}", "`${a.output[}`: after `[` an index or a quoted key is expected"),
        (
            "${workflow.input.x[?(@.y == $.nobody.output.z)]}",
            "no task has the reference name \"nobody\": correct the name or add the task",
        ),
        ("${a.output", "`${` is not closed"),
    ] {
        let found = faults(&of(json!([task("a", json!({})), reading("b", expression)])));
        let expected = format!("$.tasks[1].inputParameters.x: {fault}");
        assert_faults(&found, &[&expected]);
    }
    let mut def = of(json!([task("a", json!({}))]));
    def["outputParameters"] = json!({"id": "${CPEWF_TASK_ID}"});
    assert_faults(&faults(&def), &["$.outputParameters.id: `${CPEWF_TASK_ID}` names a task"]);
}

#[test]
fn every_unsupported_type_and_field_is_named() {
    let found = faults(&of(json!([task("a", json!({"type": "PULL_WORKFLOW_MESSAGES"}))])));
    assert_faults(&found, &["$.tasks[0].type: PULL_WORKFLOW_MESSAGES: not supported yet"]);
    for kind in ["KAFKA_PUBLISH", "LLM_CHAT_COMPLETE", "CALL_MCP_TOOL"] {
        let found = faults(&of(json!([task("a", json!({"type": kind}))])));
        assert_faults(&found, &[&format!("$.tasks[0].type: {kind}: not part of this engine")]);
    }
    let more = json!({
        "externalInputPayloadStoragePath": "s3://x",
    });
    let found = faults(&of(json!([task("a", more)])));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found.iter().all(|f| f.contains("not supported yet")), "{found:#?}");

    let mut def = of(json!([task("a", json!({}))]));
    let more = json!({
        "inputSchema": {"type": "AVRO"}, "outputSchema": {"externalRef": "x"},
    });
    def.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(faults(&def).len(), 2);
    def["enforceSchema"] = json!(false);
    assert_eq!(faults(&def).len(), 0);
}

#[test]
fn a_type_of_the_users_needs_a_task_definition() {
    let with_def = json!({"name": "known", "type": "USER_DEFINED"});
    assert_faults(&faults(&of(json!([task("a", with_def)]))), &[]);
    let own = json!({"type": "MY_TYPE", "taskDefinition": {"name": "work"}});
    assert_faults(&faults(&of(json!([task("a", own)]))), &[]);
    let without = json!({"type": "MY_TYPE"});
    assert_faults(
        &faults(&of(json!([task("a", without)]))),
        &["$.tasks[0].type: unknown type \"MY_TYPE\", and no task definition is named \"work\""],
    );
}

#[test]
fn tasks_inside_a_type_that_does_not_run_them_are_refused() {
    let lost = json!({"decisionCases": {"a b": [task("x", json!({}))]}, "joinOn": ["x"]});
    assert_faults(
        &faults(&of(json!([task("a", lost)]))),
        &[
            "$.tasks[0].decisionCases: has no effect on type SIMPLE",
            "$.tasks[0].joinOn: has no effect on type SIMPLE",
        ],
    );
}

#[test]
fn an_inline_task_definition_is_checked_in_its_place() {
    let more = json!({"taskDefinition": {
        "name": "work", "retryCount": -1, "concurrentExecLimit": 5,
        "inputTemplate": {"k": "${later.output.x}", "bad": "${later.output[}"},
    }});
    assert_faults(
        &faults(&of(json!([task("a", more), task("later", json!({}))]))),
        &[
            "$.tasks[0].taskDefinition.retryCount: is -1",
            "$.tasks[0].taskDefinition.concurrentExecLimit: concurrentExecLimit counts over all",
            "$.tasks[0].taskDefinition.inputTemplate.k: task \"later\" cannot have run yet",
            "$.tasks[0].taskDefinition.inputTemplate.bad: `${later.output[}`: after `[`",
        ],
    );
}

#[test]
fn task_definitions_are_bounded() {
    assert_faults(&task_def_faults(&json!({"name": "ok"})), &[]);
    let def = json!({
        "name": "", "retryCount": 1001, "retryDelaySeconds": -1, "backoffScaleFactor": 0,
        "maxRetryDelaySeconds": 400_000_000, "backoffJitterMs": -5, "timeoutSeconds": 100,
        "responseTimeoutSeconds": 101, "pollTimeoutSeconds": -1, "totalTimeoutSeconds": 99,
        "rateLimitPerFrequency": -1, "isolationGroupId": "g", "executionNameSpace": "",
        "runtimeMetadata": ["SECRET", ""], "enforceSchema": true, "inputSchema": {"version": 2},
    });
    assert_faults(
        &task_def_faults(&def),
        &[
            "$.name: is empty",
            "$.retryCount: is 1001: at most 1000",
            "$.retryDelaySeconds: is -1",
            "$.backoffScaleFactor: is 0: at least 1",
            "$.maxRetryDelaySeconds: is 400000000: at most",
            "$.backoffJitterMs: is -5",
            "$.responseTimeoutSeconds: is 101, more than timeoutSeconds",
            "$.pollTimeoutSeconds: is -1",
            "$.timeoutSeconds: is 100, more than totalTimeoutSeconds",
            "$.runtimeMetadata[1]: is empty",
            "$.inputSchema.data: is missing",
        ],
    );
    let null = json!({"name": "x", "responseTimeoutSeconds": null, "backoffScaleFactor": null});
    assert_faults(
        &task_def_faults(&null),
        &["$.responseTimeoutSeconds: is 0: at least 1", "$.backoffScaleFactor: is 0"],
    );
}

#[test]
fn in_a_switch_other_cases_cannot_have_run() {
    let switch = json!({
        "type": "SWITCH", "evaluatorType": "value-param", "expression": "case",
        "decisionCases": {
            "x": [task("x1", json!({})), reading("x2", "${x1.output.a} ${before.output.a}")],
            "y": [reading("y1", "${x1.output.a}")],
        },
        "defaultCase": [reading("d1", "${y1.output.a} ${s.output.a}")],
    });
    let tasks = json!([task("before", json!({})), task("s", switch), reading("z", "${x2.output}")]);
    assert_faults(
        &faults_of_flow(&of(tasks)),
        &[
            "$.tasks[1].decisionCases.y[0].inputParameters.x: task \"x1\" cannot have run yet",
            "$.tasks[1].defaultCase[0].inputParameters.x: task \"y1\" cannot have run yet",
        ],
    );
}

#[test]
fn in_a_fork_sibling_branches_are_read_and_later_tasks_are_not() {
    let fork = json!({
        "type": "FORK_JOIN",
        "forkTasks": [
            [reading("a1", "${b2.output.x} ${a2.output.x}"), reading("a2", "${a1.output.x}")],
            [task("b1", json!({})), reading("b2", "${after.output.x}")],
        ],
    });
    let join = json!({"type": "JOIN", "joinOn": ["a2", "b2", "after", "nobody"]});
    let tasks = json!([task("f", fork), task("j", join), reading("after", "${a1.output.x}")]);
    assert_faults(
        &faults_of_flow(&of(tasks)),
        &[
            "$.tasks[0].forkTasks[0][0].inputParameters.x: task \"a2\" cannot have run yet",
            "$.tasks[0].forkTasks[1][1].inputParameters.x: task \"after\" cannot have run yet",
            "$.tasks[1].joinOn[2]: no task \"after\" can be reached while it waits",
            "$.tasks[1].joinOn[3]: no task \"nobody\" can be reached while it waits",
        ],
    );
    let alone = json!([task("f", json!({"type": "FORK_JOIN", "forkTasks": [[]]}))]);
    assert_faults(&faults_of_flow(&of(alone)), &["$.tasks[0]: a FORK_JOIN is followed by a JOIN"]);
}

#[test]
fn in_a_loop_the_whole_body_may_have_run_before() {
    let inner = json!({
        "type": "SWITCH", "evaluatorType": "value-param", "expression": "case",
        "decisionCases": {"x": [task("x1", json!({}))], "y": [reading("y1", "${x1.output.a}")]},
    });
    let body = json!([reading("b1", "${b2.output.x}"), task("b2", json!({})), task("s", inner)]);
    let more = json!({
        "type": "DO_WHILE", "loopOver": body, "loopCondition": "false", "inputParameters": {"last": "${b2.output.x}"},
    });
    let tasks = json!([reading("first", "${b1.output.x}"), task("loop", more)]);
    assert_faults(
        &faults_of_flow(&of(tasks)),
        &["$.tasks[0].inputParameters.x: task \"b1\" cannot have run yet"],
    );
}

#[test]
fn each_type_names_the_fields_it_needs() {
    for (kind, more, fields) in [
        ("EVENT", json!({}), vec!["sink"]),
        ("SWITCH", json!({}), vec!["evaluatorType", "expression", "decisionCases"]),
        ("DECISION", json!({"caseExpression": "x"}), vec!["decisionCases"]),
        ("DO_WHILE", json!({}), vec!["loopCondition", "loopOver"]),
        ("DYNAMIC", json!({}), vec!["dynamicTaskNameParam"]),
        ("FORK_JOIN", json!({}), vec!["forkTasks"]),
        ("FORK_JOIN_DYNAMIC", json!({"dynamicForkTasksParam": "x"}), vec!["dynamicForkTasksParam"]),
        ("FORK_JOIN_DYNAMIC", json!({"inputParameters": {"forkTaskInputs": "x"}}), vec![]),
        ("HTTP", json!({"inputParameters": {"uri": "x"}}), vec!["inputParameters.http_request"]),
        ("HTTP", json!({"inputParameters": {"uri": "x", "method": "GET"}}), vec![]),
        ("JSON_JQ_TRANSFORM", json!({}), vec!["inputParameters.queryExpression"]),
        ("SUB_WORKFLOW", json!({}), vec!["subWorkflowParam"]),
        (
            "TERMINATE",
            json!({"optional": true, "inputParameters": {"terminationStatus": "DONE"}}),
            vec!["optional", "inputParameters.terminationStatus"],
        ),
        (
            "WAIT",
            json!({"inputParameters": {"duration": "1s", "until": "x"}}),
            vec!["inputParameters"],
        ),
        ("SIMPLE", json!({}), vec![]),
    ] {
        let mut text = task("a", more);
        text["type"] = json!(kind);
        let task: WorkflowTask = serde_json::from_value(text).unwrap();
        assert_ne!(task.task_type, TaskType::Other(kind.to_owned()));
        let mut found = Found::default();
        types::check_required(&mut found, &task, "$.tasks[0]", None);
        let paths: Vec<String> = found.faults.into_iter().map(|fault| fault.path).collect();
        let expected: Vec<String> = fields.iter().map(|f| format!("$.tasks[0].{f}")).collect();
        assert_eq!(paths, expected, "{kind}");
    }
}

#[test]
fn ten_thousand_tasks_are_checked_without_square_cost() {
    let branches: Vec<Value> =
        (0..10_000).map(|n| json!([reading(&format!("t{n}"), "${workflow.input.x}")])).collect();
    let names: Vec<String> = (0..10_000).map(|n| format!("t{n}")).collect();
    let fork = task("f", json!({"type": "FORK_JOIN", "forkTasks": branches}));
    let join = task("j", json!({"type": "JOIN", "joinOn": names}));
    assert_faults(&faults_of_flow(&of(json!([fork, join]))), &[]);
}
