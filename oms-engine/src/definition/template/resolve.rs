//! Evaluates parsed expressions. Never fails: what cannot be read is null.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::compile::{Expression, Node, Part};
use super::java_text;
use super::path::{self, Segment};
use crate::definition::scope::{Scope, TASK_FIELDS, WORKFLOW_FIELDS};

impl Node {
    pub(super) fn resolve(&self, scope: &dyn Scope) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Whole(expression) => expression.resolve(scope),
            Self::Text(parts) => Value::String(join(parts, scope)),
            Self::List(nodes) => nodes.iter().map(|node| node.resolve(scope)).collect(),
            Self::Object(nodes) => {
                nodes.iter().map(|(key, node)| (key.clone(), node.resolve(scope))).collect()
            }
        }
    }
}

impl Expression {
    fn resolve(&self, scope: &dyn Scope) -> Value {
        match self {
            Self::Blank => Value::String(String::new()),
            Self::TaskId => scope.task_id().map_or(Value::Null, Value::from),
            Self::Path(path) => read(path, scope),
            // What was put together is read as a path and never as a template again.
            Self::Dynamic(parts) => match Self::parse(&join(parts, scope)) {
                Ok(expression) => expression.resolve(scope),
                Err(_) => Value::Null,
            },
        }
    }
}

fn join(parts: &[Part], scope: &dyn Scope) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Expression(expression) => java_text::push(&mut out, &expression.resolve(scope)),
        }
    }
    out
}

fn read(path: &[Segment], scope: &dyn Scope) -> Value {
    match path {
        [Segment::Key(root)] => whole(root, scope),
        [Segment::Key(root), Segment::Key(field), rest @ ..] => {
            match read_field(root, field, scope) {
                Some(Cow::Owned(value)) if rest.is_empty() => value,
                Some(value) => path::lookup(&value, rest).cloned().unwrap_or_default(),
                None => Value::Null,
            }
        }
        _ => Value::Null,
    }
}

fn fields_of(root: &str) -> &'static [&'static str] {
    if root == "workflow" { &WORKFLOW_FIELDS } else { &TASK_FIELDS }
}

fn read_field<'a>(root: &str, field: &str, scope: &'a dyn Scope) -> Option<Cow<'a, Value>> {
    if !fields_of(root).contains(&field) {
        return None;
    }
    if root == "workflow" { scope.workflow(field) } else { scope.task(root, field) }
}

/// `${workflow}` or `${ref}` alone: the object of all fields; null for what does not exist.
fn whole(root: &str, scope: &dyn Scope) -> Value {
    let mut found = false;
    let mut all = Map::new();
    for field in fields_of(root) {
        let value = read_field(root, field, scope).map(Cow::into_owned);
        found |= value.is_some();
        all.insert((*field).to_owned(), value.unwrap_or_default());
    }
    if found { Value::Object(all) } else { Value::Null }
}
