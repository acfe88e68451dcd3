//! Secrets: where their names are filled in, and where they stay mere texts.

use serde_json::Value;

use super::{Found, Step, steps};
use crate::definition::faults::Faults;
use crate::definition::task_type::TaskType;
use crate::definition::template::{SiteReads, survey};
use crate::definition::workflow_task::WorkflowTask;

/// Of a name that is not filled in.
pub(super) const PASSED_ON: &str = "the name of a secret stays as it is written here, and is a \
                                    mere text for whoever gets it: a value is handed to workers \
                                    and HTTP tasks alone, where their own input names it";

/// Whether the input of a task is handed to a worker, or to an HTTP task of the engine's.
pub(super) const fn is_handed_out(of: &TaskType) -> bool {
    matches!(of, TaskType::Http) || is_workers(of)
}

const fn is_workers(of: &TaskType) -> bool {
    matches!(of, TaskType::Simple | TaskType::UserDefined | TaskType::Dynamic | TaskType::Other(_))
}

/// Tells of a step whose task definition names what no worker gets.
pub(super) fn note_step(found: &mut Found, task: &WorkflowTask, named: &[String], path: &str) {
    if !named.is_empty() && !is_workers(&task.task_type) {
        let message = format!(
            "runtimeMetadata of its task definition has no effect on type {}: no worker is handed \
             it",
            task.task_type
        );
        found.note(path, message);
    }
}

/// Refuses a task that data brings and that names secrets: who gives data must not choose what is
/// told to whom.
pub(crate) fn check_brought_secrets(task: &WorkflowTask) -> Result<(), Faults> {
    let mut found = Found::default();
    for Step { path, task, .. } in steps("$", std::slice::from_ref(task)) {
        check_inputs(&mut found, task, &path);
    }
    Faults::check(format!("task {:?}", task.task_reference_name), found.faults)
}

fn check_inputs(found: &mut Found, task: &WorkflowTask, step: &str) {
    let of = |task: &WorkflowTask| {
        let template = task.task_definition.as_ref().map(|def| def.input_template.clone());
        let inputs = [("inputParameters", Some(task.input_parameters.clone()))];
        inputs.into_iter().chain([("taskDefinition.inputTemplate", template)])
    };
    let undo = task.compensation.as_deref().into_iter();
    let own = of(task).map(|(field, map)| (format!("{step}.{field}"), map));
    let all = own
        .chain(undo.flat_map(of).map(|(field, map)| (format!("{step}.compensation.{field}"), map)));
    for (path, map) in all.filter_map(|(path, map)| Some((path, map?))) {
        for site in survey(&Value::Object(map), &path).0 {
            if site.reads == SiteReads::Secret {
                let hint = "name it in the definition, or in a task definition's inputTemplate";
                found.add(site.path, format!("a task that data gives names a secret: {hint}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::definition::{TaskDef, WorkflowDef, validate};

    #[test]
    fn a_name_that_is_passed_on_is_noticed_and_one_that_is_filled_in_is_not() {
        let key = "${workflow.secrets.KEY}";
        let step = |name: &str, kind: &str| {
            json!({
                "name": name, "taskReferenceName": name, "type": kind,
                "inputParameters": {"key": key, "uri": "http://x", "method": "GET"},
            })
        };
        let mut child = step("child", "SUB_WORKFLOW");
        child["subWorkflowParam"] = json!({"name": "c"});
        let mut undone = step("work", "SIMPLE");
        undone["compensation"] = step("undo", "SIMPLE");
        let tasks = [undone, step("call", "HTTP"), step("own", "OWN"), child, step("n", "NOOP")];
        let def = json!({"name": "w", "tasks": tasks, "outputParameters": {"key": key}});
        let def = WorkflowDef::from_json(&def.to_string()).unwrap();
        let named = TaskDef { runtime_metadata: vec!["KEY".to_owned()], ..TaskDef::new("work") };
        let defs = ["work", "own", "n"]
            .map(|name| (name.to_owned(), TaskDef { name: name.to_owned(), ..named.clone() }));
        let noticed = validate(&def, &BTreeMap::from(defs)).unwrap();
        let paths: Vec<&str> = noticed.iter().map(|notice| notice.path.as_str()).collect();
        let expected = [
            "$.tasks[3].inputParameters.key",
            "$.tasks[4]",
            "$.tasks[4].inputParameters.key",
            "$.outputParameters.key",
        ];
        assert_eq!(paths, expected, "{noticed:#?}");
        assert_eq!(noticed[0].message, PASSED_ON);
        assert!(noticed[1].message.starts_with("runtimeMetadata of its task definition has no"));
    }

    #[test]
    fn a_task_that_data_gives_names_no_secret_wherever_it_may_stand() {
        let key = json!({"key": ["${workflow.secrets.KEY}"]});
        let step = |more: Value| {
            let mut task = json!({"name": "t", "taskReferenceName": "t", "type": "SIMPLE"});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        let own = step(json!({ "inputParameters": key }));
        for (more, at) in [
            (json!({ "inputParameters": key }), "$.inputParameters.key[0]"),
            (
                json!({"taskDefinition": {"name": "t", "inputTemplate": key}}),
                "$.taskDefinition.inputTemplate.key[0]",
            ),
            (json!({ "compensation": own }), "$.compensation.inputParameters.key[0]"),
            (json!({"loopOver": [own]}), "$.loopOver[0].inputParameters.key[0]"),
        ] {
            let task: WorkflowTask = serde_json::from_value(step(more)).unwrap();
            let told = check_brought_secrets(&task).unwrap_err().to_string();
            assert!(
                told.contains(&format!("{at}: a task that data gives names a secret")),
                "{told}"
            );
        }
        let plain: WorkflowTask = serde_json::from_value(step(json!({}))).unwrap();
        assert_eq!(check_brought_secrets(&plain), Ok(()));
    }
}
