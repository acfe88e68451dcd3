//! Whether templates can fit the types that tasks publish: what a step leaves out or writes out,
//! and what it reads of another's output. Only what is certain is told of.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{TaskDefs, steps};
use crate::definition::faults::Notice;
use crate::definition::payload::push_key;
use crate::definition::task_schemas::TaskSchemas;
use crate::definition::task_type::TaskType;
use crate::definition::workflow_def::WorkflowDef;
use crate::definition::workflow_task::WorkflowTask;

/// References that are followed one behind the other.
const CHAIN_MAX: usize = 16;

/// What of a definition cannot fit the types of the tasks that it names.
pub(crate) fn misfits(
    def: &WorkflowDef,
    task_defs: &TaskDefs,
    schemas: &BTreeMap<String, TaskSchemas>,
) -> Vec<Notice> {
    let steps = steps("$.tasks", &def.tasks).into_iter();
    let mut steps: Vec<(String, &WorkflowTask)> =
        steps.map(|step| (step.path, step.task)).collect();
    steps.retain(|(_, task)| task.task_type == TaskType::Simple);
    steps.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |task: &WorkflowTask| schemas.get(&task.name);
    let given = steps.iter().filter_map(|(_, task)| {
        Some((task.task_reference_name.as_str(), (task.name.as_str(), of(task)?)))
    });
    let mut look = Look { subject: def.subject(), given: given.collect(), found: Vec::new() };
    for (path, task) in &steps {
        let Some(wanted) = of(task) else { continue };
        let own = task.task_definition.as_deref().or_else(|| task_defs.get(&task.name));
        let mut input = own.map(|def| def.input_template.clone()).unwrap_or_default();
        input.extend(task.input_parameters.clone());
        let wants = Wants { task: &task.name, root: &wanted.input, schema: &wanted.input };
        look.object(&wants, &input, &format!("{path}.inputParameters"));
    }
    look.found
}

/// What a task wants at one place of its input.
struct Wants<'a> {
    task: &'a str,
    root: &'a Value,
    schema: &'a Value,
}

impl<'a> Wants<'a> {
    fn inside(&self, schema: &'a Value) -> Self {
        Wants { schema: resolved(self.root, schema), ..*self }
    }
}

struct Look<'a> {
    subject: String,
    /// Tasks with what they give, by reference name.
    given: BTreeMap<&'a str, (&'a str, &'a TaskSchemas)>,
    found: Vec<Notice>,
}

impl Look<'_> {
    fn note(&mut self, path: &str, message: String) {
        self.found.push(Notice::new(self.subject.clone(), path, message));
    }

    fn object(&mut self, wants: &Wants<'_>, given: &Map<String, Value>, path: &str) {
        let schema = resolved(wants.root, wants.schema);
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !given.contains_key(key) {
                let message =
                    format!("leaves out {key:?}, which task {:?} cannot do without", wants.task);
                self.note(path, message);
            }
        }
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, value) in given {
            let mut path = path.to_owned();
            push_key(&mut path, key);
            if let Some(wanted) = known.and_then(|known| known.get(key)) {
                self.value(&wants.inside(wanted), value, &path);
            } else if is_closed(schema) {
                self.note(&path, format!("task {:?} refuses it: it knows no {key:?}", wants.task));
            }
        }
    }

    fn value(&mut self, wants: &Wants<'_>, value: &Value, path: &str) {
        if let Some(expression) = value.as_str().filter(|text| text.contains("${")) {
            let whole = expression.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            match whole.filter(|inner| !inner.contains(['$', '{', '}'])) {
                Some(inner) => self.expression(wants, inner, path),
                None => {
                    self.compare(wants, &["string"], path, "a text");
                }
            }
            return;
        }
        let (name, shown) = match value {
            Value::Null => ("null", "null"),
            Value::Bool(_) => ("boolean", "a boolean"),
            Value::Number(n) if n.is_f64() => ("fraction", "a number that is not whole"),
            Value::Number(_) => ("integer", "a whole number"),
            Value::String(_) => ("string", "a text"),
            Value::Array(_) => ("array", "a list"),
            Value::Object(_) => ("object", "an object"),
        };
        if !self.compare(wants, &[name], path, shown) {
            return;
        }
        match value {
            Value::Object(map) => self.object(wants, map, path),
            Value::Array(items) => {
                if let Some(each) = wants.schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(&wants.inside(each), item, &format!("{path}[{index}]"));
                    }
                }
            }
            _ => {
                let listed = wants.schema.get("enum").and_then(Value::as_array);
                if listed.is_some_and(|listed| !listed.contains(value)) {
                    self.note(
                        path,
                        format!("is none of the values that task {:?} takes", wants.task),
                    );
                }
            }
        }
    }

    /// `ref.output.a.b`, where the task of `ref` says what it gives.
    fn expression(&mut self, wants: &Wants<'_>, inner: &str, path: &str) {
        let mut parts = inner.trim().split('.');
        let (Some(reference), Some("output")) = (parts.next(), parts.next()) else { return };
        let Some((task, schemas)) = self.given.get(reference).copied() else { return };
        let output = schemas.output_object();
        let mut at = resolved(&schemas.output, &output);
        for part in parts {
            let plain = part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
            if !plain {
                return;
            }
            match at.get("properties").and_then(|known| known.get(part)) {
                Some(inside) => at = resolved(&schemas.output, inside),
                None if is_closed(at) => {
                    self.note(path, format!("task {task:?} gives no {part:?}"));
                    return;
                }
                None => return,
            }
        }
        if let Some(gives) = types(&schemas.output, at) {
            let shown = format!("{} by task {task:?}", gives.join(" or "));
            self.compare(wants, &gives, path, &shown);
        }
    }

    /// Whether one of these types is wanted, as far as is known.
    fn compare(&mut self, wants: &Wants<'_>, gives: &[&str], path: &str, shown: &str) -> bool {
        let Some(wanted) = types(wants.root, wants.schema) else { return true };
        let fits = |give: &&str| match *give {
            "integer" | "fraction" if wanted.contains(&"number") => true,
            // It may be a whole one.
            "number" => wanted.contains(&"number") || wanted.contains(&"integer"),
            other => wanted.contains(&other),
        };
        if gives.iter().any(fits) {
            return true;
        }
        let message =
            format!("is {shown}, and task {:?} wants {}", wants.task, wanted.join(" or "));
        self.note(path, message);
        false
    }
}

fn is_closed(schema: &Value) -> bool {
    let apart = ["allOf", "anyOf", "oneOf", "patternProperties", "$ref"];
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && apart.iter().all(|word| schema.get(word).is_none())
}

/// The schema that a reference leads to, as far as references lead within the text.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    for _ in 0..CHAIN_MAX {
        let pointer = at.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        match pointer.and_then(|pointer| root.pointer(pointer)) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// The types that a schema allows, where it says so.
fn types<'a>(root: &'a Value, schema: &'a Value) -> Option<Vec<&'a str>> {
    let schema = resolved(root, schema);
    match schema.get("type") {
        Some(Value::String(one)) => return Some(vec![one]),
        Some(Value::Array(several)) => return several.iter().map(Value::as_str).collect(),
        _ => {}
    }
    let either = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let mut all = Vec::new();
    for one in either {
        let one = resolved(root, one);
        match one.get("type")? {
            Value::String(name) => all.push(name.as_str()),
            Value::Array(names) => all.extend(names.iter().filter_map(Value::as_str)),
            _ => return None,
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is told of a definition: two tasks with schemas, `make` before `take`.
    fn told(input: &Value) -> Vec<String> {
        let make = TaskSchemas::new(
            json!(true),
            json!({
                "type": "object", "additionalProperties": false,
                "properties": {"id": {"type": "string"}, "count": {"$ref": "#/$defs/n"}, "any": true},
                "$defs": {"n": {"type": ["integer", "null"]}},
            }),
        );
        let take = TaskSchemas::new(
            json!({
                "type": "object", "required": ["id", "lines"], "additionalProperties": false,
                "properties": {
                    "id": {"type": "string"},
                    "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                    "share": {"type": "number"},
                    "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
                },
                "$defs": {"line": {"type": "object", "required": ["sku"]}},
            }),
            json!({"type": "string"}),
        );
        let def = json!({"name": "w", "tasks": [
            {"name": "make", "taskReferenceName": "m"},
            {"name": "s", "taskReferenceName": "s", "type": "SWITCH", "evaluatorType": "value-param",
             "expression": "x", "decisionCases": {"a": [
                {"name": "take", "taskReferenceName": "t", "inputParameters": input}]}},
        ]});
        let def = WorkflowDef::from_json(&def.to_string()).unwrap();
        let schemas = BTreeMap::from([("make".to_owned(), make), ("take".to_owned(), take)]);
        let notices = misfits(&def, &BTreeMap::new(), &schemas);
        let at = "$.tasks[1].decisionCases.a[0].inputParameters";
        notices.iter().map(|n| format!("{}: {}", n.path.replace(at, "@"), n.message)).collect()
    }

    #[test]
    fn a_template_that_fits_is_told_nothing_of() {
        let fits = json!({
            "id": "${m.output.id}", "count": "${m.output.count}", "kind": "a", "share": 1,
            "lines": [{"sku": "${workflow.input.sku}"}, "${m.output.any.deep[0]}"],
        });
        assert_eq!(told(&fits), Vec::<String>::new());
        let unknown = json!({"id": "x-${m.output.count}", "lines": "${other.output.lines}"});
        assert_eq!(told(&unknown), Vec::<String>::new());
    }

    #[test]
    fn what_is_left_out_and_what_is_not_known_is_told_with_its_path() {
        assert_eq!(
            told(&json!({"lines": [{}], "more": 1})),
            [
                "@: leaves out \"id\", which task \"take\" cannot do without",
                "@.lines[0]: leaves out \"sku\", which task \"take\" cannot do without",
                "@.more: task \"take\" refuses it: it knows no \"more\"",
            ]
        );
    }

    #[test]
    fn a_literal_of_another_type_is_told_with_its_path() {
        assert_eq!(
            told(&json!({"id": 5, "count": 1.5, "kind": "c", "share": "x", "lines": {}})),
            [
                "@.count: is a number that is not whole, and task \"take\" wants integer or null",
                "@.id: is a whole number, and task \"take\" wants string",
                "@.kind: is none of the values that task \"take\" takes",
                "@.lines: is an object, and task \"take\" wants array",
                "@.share: is a text, and task \"take\" wants number",
            ]
        );
    }

    #[test]
    fn what_another_task_gives_is_held_to_what_this_one_wants() {
        assert_eq!(
            told(&json!({
                "id": "${m.output.count}", "count": "${m.output.id}", "lines": "${m.output.none}",
            })),
            [
                "@.count: is string by task \"make\", and task \"take\" wants integer or null",
                "@.id: is integer or null by task \"make\", and task \"take\" wants string",
                "@.lines: task \"make\" gives no \"none\"",
            ]
        );
    }
}
