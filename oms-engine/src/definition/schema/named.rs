//! Schemas that a definition names instead of writing them out.
//!
//! Where they stand is known here alone; they are looked up elsewhere and written in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::definition::faults::Fault;
use crate::definition::nesting::room_for;
use crate::definition::payload::push_key;
use crate::definition::settings::{SchemaDef, SchemaType};
use crate::definition::task_def::TaskDef;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

/// A schema's name and version.
pub(crate) type SchemaKey = (String, i32);

/// A definition that may name schemas.
pub(crate) trait NamesSchemas: Clone {
    /// Goes through the schemas that are enforced, each with its JSON path.
    fn each_schema(&mut self, each: &mut Each<'_>);

    /// What it names.
    fn schemas_named(&self) -> BTreeSet<SchemaKey> {
        let mut named = BTreeSet::new();
        self.clone().each_schema(&mut |_, schema| {
            if schema.is_named() {
                named.insert((schema.name.clone(), schema.version));
            }
            false
        });
        named
    }

    /// Writes out what it names. Out: what there is none of.
    fn write_schemas(&mut self, known: &BTreeMap<SchemaKey, SchemaDef>) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.each_schema(&mut |path, schema| {
            if !schema.is_named() {
                return false;
            }
            let key = (schema.name.clone(), schema.version);
            match known.get(&key) {
                Some(found) => schema.data.clone_from(&found.data),
                None => faults.push(Fault::new(
                    path,
                    format!(
                        "names schema {:?} version {}, which is not registered: register it, or \
                         write it here as `data`",
                        key.0, key.1
                    ),
                )),
            }
            schema.data.is_some()
        });
        faults
    }
}

/// Sees a schema with its JSON path; out: whether it was changed.
pub(crate) type Each<'a> = dyn FnMut(&str, &mut SchemaDef) -> bool + Send + 'a;

impl NamesSchemas for WorkflowDef {
    fn each_schema(&mut self, each: &mut Each<'_>) {
        // What stands too deep is refused for that.
        if let Ok(room) = room_for(&self.tasks) {
            room.with(|| of_workflow(self, "$", each)).unwrap_or_default();
        }
    }
}

impl NamesSchemas for TaskDef {
    fn each_schema(&mut self, each: &mut Each<'_>) {
        of_task_def(self, "$", each);
    }
}

impl SchemaDef {
    /// Whether it stands for one that is registered.
    pub(crate) fn is_named(&self) -> bool {
        self.data.is_none()
            && !self.name.is_empty()
            && self.schema_type == SchemaType::Json
            && self.external_ref.as_ref().is_none_or(String::is_empty)
    }
}

/// Out: whether something was changed.
fn of_workflow(def: &mut WorkflowDef, path: &str, each: &mut Each<'_>) -> bool {
    let mut changed = false;
    if def.enforce_schema {
        changed |= of_fields(&mut def.input_schema, &mut def.output_schema, path, each);
    }
    changed | of_tasks(&mut def.tasks, &format!("{path}.tasks"), each)
}

fn of_task_def(def: &mut TaskDef, path: &str, each: &mut Each<'_>) -> bool {
    def.enforce_schema && of_fields(&mut def.input_schema, &mut def.output_schema, path, each)
}

fn of_fields(
    input: &mut Option<SchemaDef>,
    output: &mut Option<SchemaDef>,
    path: &str,
    each: &mut Each<'_>,
) -> bool {
    let mut changed = false;
    for (schema, field) in [(input, "inputSchema"), (output, "outputSchema")] {
        if let Some(schema) = schema {
            changed |= each(&format!("{path}.{field}"), schema);
        }
    }
    changed
}

fn of_tasks(tasks: &mut [WorkflowTask], path: &str, each: &mut Each<'_>) -> bool {
    let mut changed = false;
    for (index, task) in tasks.iter_mut().enumerate() {
        changed |= of_task(task, &format!("{path}[{index}]"), each);
    }
    changed
}

fn of_task(task: &mut WorkflowTask, path: &str, each: &mut Each<'_>) -> bool {
    let mut changed = false;
    if let Some(def) = &mut task.task_definition {
        changed |= of_task_def(def, &format!("{path}.taskDefinition"), each);
    }
    if let Some(undo) = &mut task.compensation {
        changed |= of_task(undo, &format!("{path}.compensation"), each);
    }
    changed |= of_definition_inside(task, path, each);
    for (case, tasks) in &mut task.decision_cases {
        let mut path = format!("{path}.decisionCases");
        push_key(&mut path, case);
        changed |= of_tasks(tasks, &path, each);
    }
    let default = format!("{path}.defaultCase");
    changed |= of_tasks(&mut task.default_case, &default, each);
    for (index, tasks) in task.fork_tasks.iter_mut().enumerate() {
        changed |= of_tasks(tasks, &format!("{path}.forkTasks[{index}]"), each);
    }
    changed | of_tasks(&mut task.loop_over, &format!("{path}.loopOver"), each)
}

/// A definition that a `SUB_WORKFLOW` holds is a text: it is written anew only where a schema is
/// written into it, and left as it is where it cannot be read.
fn of_definition_inside(task: &mut WorkflowTask, path: &str, each: &mut Each<'_>) -> bool {
    let params = task.sub_workflow_param.as_mut();
    let Some(text) = params.and_then(|params| params.workflow_definition.as_mut()) else {
        return false;
    };
    if !text.is_object() || !holds_schemas(text) {
        return false;
    }
    let Ok(mut def) = serde_json::from_value::<WorkflowDef>(text.clone()) else { return false };
    let path = format!("{path}.subWorkflowParam.workflowDefinition");
    let changed = of_workflow(&mut def, &path, each);
    if changed {
        *text = json!(def);
    }
    changed
}

/// Whether a definition may hold a schema: most do not, and need not be read.
fn holds_schemas(text: &Value) -> bool {
    match text {
        Value::Object(map) => map.iter().any(|(key, value)| {
            matches!(key.as_str(), "inputSchema" | "outputSchema") || holds_schemas(value)
        }),
        Value::Array(list) => list.iter().any(holds_schemas),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_schema_is_found_and_written_out_wherever_it_may_stand() {
        let named = json!({"name": "s", "version": 2});
        let held = json!({"name": "t", "enforceSchema": true, "inputSchema": named});
        let step = |name: &str| {
            json!({
                "name": "t", "taskReferenceName": name, "type": "SIMPLE", "taskDefinition": held,
                "compensation": {"name": "t", "type": "SIMPLE", "taskDefinition": held},
            })
        };
        let inside = json!({"name": "i", "outputSchema": named, "tasks": [step("x")]});
        let mut def: WorkflowDef = serde_json::from_value(json!({
            "name": "w", "inputSchema": named, "outputSchema": {"name": "o", "data": {}},
            "tasks": [
                {"type": "SWITCH", "decisionCases": {"a": [step("a")]}, "defaultCase": [step("b")]},
                {"type": "FORK_JOIN", "forkTasks": [[], [step("c")]]},
                {"type": "DO_WHILE", "loopOver": [step("d")]},
                {"type": "SUB_WORKFLOW", "subWorkflowParam": {"workflowDefinition": inside}},
            ],
        }))
        .unwrap();
        let key = ("s".to_owned(), 2);
        assert_eq!(def.schemas_named(), BTreeSet::from([key.clone()]));
        let at = |fault: Fault| fault.path;
        let missing: Vec<String> =
            def.write_schemas(&BTreeMap::new()).into_iter().map(at).collect();
        let steps = [
            "$.tasks[0].decisionCases.a[0]",
            "$.tasks[0].defaultCase[0]",
            "$.tasks[1].forkTasks[1][0]",
            "$.tasks[2].loopOver[0]",
        ];
        let inside = "$.tasks[3].subWorkflowParam.workflowDefinition";
        let mut expected = vec!["$.inputSchema".to_owned()];
        for step in steps {
            expected.push(format!("{step}.taskDefinition.inputSchema"));
            expected.push(format!("{step}.compensation.taskDefinition.inputSchema"));
        }
        expected.push(format!("{inside}.outputSchema"));
        expected.push(format!("{inside}.tasks[0].taskDefinition.inputSchema"));
        expected.push(format!("{inside}.tasks[0].compensation.taskDefinition.inputSchema"));
        assert_eq!(missing, expected);
        let data = json!({"type": "object"}).as_object().cloned();
        let found = SchemaDef { name: "s".to_owned(), version: 2, data, ..SchemaDef::default() };
        assert_eq!(def.write_schemas(&BTreeMap::from([(key, found)])), []);
        assert_eq!(def.schemas_named(), BTreeSet::new());
        let text = serde_json::to_string(&def).unwrap();
        assert_eq!(text.matches(r#""data":{"type":"object"}"#).count(), expected.len());
    }

    #[test]
    fn what_is_not_enforced_or_is_no_json_schema_is_not_looked_up() {
        let named = json!({"name": "s"});
        let free = json!({"name": "w", "enforceSchema": false, "inputSchema": named, "tasks": []});
        let free: WorkflowDef = serde_json::from_value(free).unwrap();
        assert!(free.schemas_named().is_empty());
        for other in [
            json!({"name": "s", "type": "AVRO"}),
            json!({"name": "s", "externalRef": "x"}),
            json!({"name": ""}),
        ] {
            let def = json!({"name": "w", "inputSchema": other, "tasks": []});
            let def: WorkflowDef = serde_json::from_value(def).unwrap();
            assert!(def.schemas_named().is_empty());
        }
    }
}
