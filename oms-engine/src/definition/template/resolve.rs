//! Evaluates parsed expressions. Never fails: what cannot be read is null.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::compile::{Expression, Node, Part};
use super::java_text;
use super::meter::{Meter, TooMuch, put};
use super::path::{self, Step};
use super::place::{self, Segment};
use crate::definition::scope::{Scope, TASK_FIELDS, WORKFLOW_FIELDS};

impl Node {
    pub(super) fn resolve(&self, scope: &dyn Scope, meter: &mut Meter) -> Result<Value, TooMuch> {
        match self {
            Self::Literal(value) => meter.copy(value),
            Self::Whole(expression) => {
                let found = meter.lend(|meter| expression.read(scope, meter))?;
                meter.give(found)
            }
            Self::Text(parts) => {
                meter.spend(2)?;
                join(parts, scope, meter).map(Value::String)
            }
            Self::List(nodes) => {
                meter.spend(nodes.len() + 1)?;
                nodes.iter().map(|node| node.resolve(scope, meter)).collect()
            }
            Self::Object(nodes) => {
                meter.spend(nodes.len() + 1)?;
                let mut map = Map::new();
                for (key, node) in nodes {
                    meter.spend(key.len() + 3)?;
                    map.insert(key.clone(), node.resolve(scope, meter)?);
                }
                Ok(Value::Object(map))
            }
        }
    }
}

impl Node {
    /// As [`resolve`](Self::resolve), as JSON text: nothing is copied but into that.
    pub(super) fn write(
        &self,
        scope: &dyn Scope,
        meter: &mut Meter,
        out: &mut Vec<u8>,
    ) -> Result<(), TooMuch> {
        match self {
            Self::Literal(value) => meter.put(out, value),
            Self::Whole(expression) => {
                let found = meter.lend(|meter| expression.read(scope, meter))?;
                meter.put(out, &found)
            }
            Self::Text(parts) => {
                meter.spend(2)?;
                put(out, &join(parts, scope, meter)?);
                Ok(())
            }
            Self::List(nodes) => {
                meter.spend(nodes.len() + 1)?;
                write_all(out, *b"[]", nodes, |out, node| node.write(scope, meter, out))
            }
            Self::Object(nodes) => {
                meter.spend(nodes.len() + 1)?;
                write_all(out, *b"{}", nodes, |out, (key, node)| {
                    meter.spend(key.len() + 3)?;
                    put(out, key);
                    out.push(b':');
                    node.write(scope, meter, out)
                })
            }
        }
    }
}

/// Items between two brackets, with commas.
fn write_all<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &T) -> Result<(), TooMuch>,
) -> Result<(), TooMuch> {
    out.push(open);
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, item)?;
    }
    out.push(close);
    Ok(())
}

impl Expression {
    fn read<'s>(&self, scope: &'s dyn Scope, meter: &mut Meter) -> Result<Cow<'s, Value>, TooMuch> {
        Ok(match self {
            Self::Blank => Cow::Owned(Value::String(String::new())),
            Self::TaskId => Cow::Owned(scope.task_id().map_or(Value::Null, Value::from)),
            Self::Path(path) => read_place(path, scope, meter)?,
            Self::Secret(secret) => Cow::Owned(Value::String(secret.text().to_owned())),
            Self::Query(query) => {
                path::read(query, &Roots(scope), meter)?.unwrap_or(Cow::Owned(Value::Null))
            }
            // What was put together is read as a path and never as a template again.
            Self::Dynamic { parts, fixed } => match Self::parse(&join(parts, scope, meter)?) {
                // Data names no secret.
                Ok(Self::Secret(_)) => Cow::Owned(Value::Null),
                Ok(Self::Query(query)) if *fixed && !query.absolutes.is_empty() => {
                    Cow::Owned(Value::Null)
                }
                Ok(expression) => expression.read(scope, meter)?,
                Err(_) => Cow::Owned(Value::Null),
            },
        })
    }
}

fn join(parts: &[Part], scope: &dyn Scope, meter: &mut Meter) -> Result<String, TooMuch> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Literal(text) => meter.write(&mut out, text)?,
            Part::Expression(expression) => {
                let value = meter.lend(|meter| expression.read(scope, meter))?;
                java_text::push(&value, &mut |piece| meter.write(&mut out, piece))?;
            }
        }
    }
    Ok(out)
}

/// Whether a path reads what the engine was given, not what the run is.
pub(super) fn is_env(root: &str, field: &str) -> bool {
    root == "workflow" && field == "env"
}

/// A value that the engine was given. A text is looked into as JSON.
fn env_of<'s>(name: &str, whole: bool, scope: &'s dyn Scope) -> Option<Cow<'s, Value>> {
    match scope.env(name)? {
        Value::String(text) if !whole => serde_json::from_str(text).ok().map(Cow::Owned),
        value => Some(Cow::Borrowed(value)),
    }
}

/// What a path names below a value.
fn look<'s>(
    value: Option<Cow<'s, Value>>,
    path: &[Segment],
    meter: &mut Meter,
) -> Result<Option<Cow<'s, Value>>, TooMuch> {
    Ok(match value {
        Some(Cow::Borrowed(value)) => place::lookup(value, path).map(Cow::Borrowed),
        Some(Cow::Owned(value)) if path.is_empty() => Some(Cow::Owned(value)),
        Some(Cow::Owned(value)) => {
            let found = place::lookup(&value, path).map(|found| meter.copy(found));
            found.transpose()?.map(Cow::Owned)
        }
        None => None,
    })
}

fn read_place<'s>(
    path: &[Segment],
    scope: &'s dyn Scope,
    meter: &mut Meter,
) -> Result<Cow<'s, Value>, TooMuch> {
    let found = match path {
        [Segment::Key(root)] => whole(root, scope, meter)?,
        [Segment::Key(root), Segment::Key(field), Segment::Key(name), rest @ ..]
            if is_env(root, field) =>
        {
            look(env_of(name, rest.is_empty(), scope), rest, meter)?
        }
        [Segment::Key(root), Segment::Key(field), rest @ ..] => {
            look(read_field(root, field, scope), rest, meter)?
        }
        _ => None,
    };
    Ok(found.unwrap_or(Cow::Owned(Value::Null)))
}

/// The first names of a path are those of the scope.
struct Roots<'a>(&'a dyn Scope);

impl<'a> path::Sources<'a> for Roots<'a> {
    fn source(
        &self,
        path: &path::Path,
        meter: &mut Meter,
    ) -> Result<(Option<Cow<'a, Value>>, usize), TooMuch> {
        Ok(match path.steps.as_slice() {
            [Step::Key(root), Step::Key(field), Step::Key(name), rest @ ..]
                if is_env(root, field) =>
            {
                (env_of(name, rest.is_empty(), self.0), 3)
            }
            [Step::Key(root), Step::Key(field), ..] => (read_field(root, field, self.0), 2),
            [Step::Key(root), ..] => (whole(root, self.0, meter)?, 1),
            _ => (None, 0),
        })
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

/// `${workflow}` or `${ref}` alone: the object of all fields; none for what does not exist.
fn whole<'s>(
    root: &str,
    scope: &dyn Scope,
    meter: &mut Meter,
) -> Result<Option<Cow<'s, Value>>, TooMuch> {
    let mut found = false;
    let mut all = Map::new();
    for field in fields_of(root) {
        let value = read_field(root, field, scope).map(|value| meter.own(value)).transpose()?;
        found |= value.is_some();
        all.insert((*field).to_owned(), value.unwrap_or_default());
    }
    Ok(found.then_some(Cow::Owned(Value::Object(all))))
}
