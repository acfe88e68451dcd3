//! Reads what a path finds. Depth first, so that what it finds comes in the document's order.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::compare::{Seen, holds};
use super::filter::{Filter, Operand};
use super::function::Argument;
use super::{Path, Query, Step};
use crate::definition::template::meter::{Meter, TooMuch};
use crate::definition::template::place::element;

/// Where a query finds the value of its first names; how many of its steps these were.
pub(in super::super) trait Sources<'s> {
    fn source(
        &self,
        path: &Path,
        meter: &mut Meter,
    ) -> Result<(Option<Cow<'s, Value>>, usize), TooMuch>;
}

/// What a query finds. A path that can find several gives a list, else what is missing is none.
pub(in super::super) fn read<'s>(
    query: &Query,
    sources: &dyn Sources<'s>,
    meter: &mut Meter,
) -> Result<Option<Cow<'s, Value>>, TooMuch> {
    // Once, however many items a filter looks at.
    let absolutes = query.absolutes.iter().map(|query| read(query, sources, meter));
    let absolutes: Vec<Option<Cow<'_, Value>>> = absolutes.collect::<Result<_, _>>()?;
    let (source, taken) = sources.source(&query.path, meter)?;
    let path = &query.path;
    let steps = path.steps.get(taken..).unwrap_or_default();
    let mut reader = Reader { absolutes: &absolutes, meter };
    let source = match source {
        Some(source) => source,
        // A function may need nothing but its arguments.
        None if path.steps.is_empty() => Cow::Owned(Value::Null),
        None if path.is_definite() => return Ok(None),
        None => return Ok(Some(Cow::Owned(Value::Array(Vec::new())))),
    };
    match source {
        Cow::Borrowed(value) => {
            let found = reader.find(path, steps, value)?;
            reader.settle(path, found)
        }
        Cow::Owned(value) => {
            let found = reader.find(path, steps, &value)?;
            let settled = reader.settle(path, found)?;
            settled.map(|found| reader.meter.own(found).map(Cow::Owned)).transpose()
        }
    }
}

struct Reader<'r> {
    absolutes: &'r [Option<Cow<'r, Value>>],
    meter: &'r mut Meter,
}

impl<'r> Reader<'r> {
    /// All that a path finds. None: its function cannot be applied to something of that.
    fn find<'v>(
        &mut self,
        path: &Path,
        steps: &[Step],
        value: &'v Value,
    ) -> Result<Option<Vec<Cow<'v, Value>>>, TooMuch> {
        let mut found = Vec::new();
        let merges = path.call.is_none();
        self.walk(steps, merges, value, &mut found)?;
        let Some(call) = &path.call else { return Ok(Some(found)) };
        let mut arguments = Vec::new();
        for argument in &call.arguments {
            arguments.push(match argument {
                Argument::Literal(value) => Cow::Borrowed(value),
                Argument::Absolute(at) => match self.absolutes.get(*at) {
                    Some(Some(value)) => Cow::Borrowed(&**value),
                    _ => Cow::Owned(Value::Null),
                },
            });
        }
        let mut made = Vec::with_capacity(found.len());
        for value in found {
            match call.apply(&value, &arguments, self.meter)? {
                Some(value) => made.push(Cow::Owned(value)),
                None => return Ok(None),
            }
        }
        Ok(Some(made))
    }

    fn settle<'v>(
        &mut self,
        path: &Path,
        found: Option<Vec<Cow<'v, Value>>>,
    ) -> Result<Option<Cow<'v, Value>>, TooMuch> {
        let mut found = found.unwrap_or_default();
        if path.is_definite() {
            return Ok(found.pop());
        }
        let owned = found.into_iter().map(|value| self.meter.own(value));
        Ok(Some(Cow::Owned(Value::Array(owned.collect::<Result<_, _>>()?))))
    }

    fn walk<'v>(
        &mut self,
        steps: &[Step],
        merges: bool,
        value: &'v Value,
        found: &mut Vec<Cow<'v, Value>>,
    ) -> Result<(), TooMuch> {
        self.meter.visit(1)?;
        let Some((step, rest)) = steps.split_first() else {
            found.push(Cow::Borrowed(value));
            return Ok(());
        };
        match (step, value) {
            (Step::Key(key), Value::Object(map)) => {
                if let Some(value) = map.get(key) {
                    self.walk(rest, merges, value, found)?;
                }
            }
            (Step::Keys(keys), Value::Object(map)) if rest.is_empty() && merges => {
                let object = self.some_of(keys, map)?;
                found.push(Cow::Owned(object));
            }
            (Step::Keys(keys), Value::Object(map)) => {
                for value in keys.iter().filter_map(|key| map.get(key)) {
                    self.walk(rest, merges, value, found)?;
                }
            }
            (Step::Index(index), Value::Array(list)) => {
                if let Some(value) = element(list, *index) {
                    self.walk(rest, merges, value, found)?;
                }
            }
            (Step::Indexes(indexes), Value::Array(list)) => {
                for value in indexes.iter().filter_map(|index| element(list, *index)) {
                    self.walk(rest, merges, value, found)?;
                }
            }
            (Step::Slice(from, to), Value::Array(list)) => {
                for value in slice(list, *from, *to) {
                    self.walk(rest, merges, value, found)?;
                }
            }
            (Step::All, value) => {
                for value in inside(value) {
                    self.walk(rest, merges, value, found)?;
                }
            }
            (Step::Descend, value) => {
                let stops = match (rest, value) {
                    // All else is looked at in its turn.
                    ([Step::Filter(_), ..], value) => value.is_object(),
                    ([Step::Keys(keys)], Value::Object(map)) if merges => {
                        keys.iter().all(|key| map.contains_key(key))
                    }
                    (_, value) => value.is_array() || value.is_object(),
                };
                if stops {
                    self.walk(rest, merges, value, found)?;
                }
                for value in inside(value) {
                    self.walk(steps, merges, value, found)?;
                }
            }
            (Step::Filter(filter), value) => {
                let items = match value {
                    Value::Array(list) => list.as_slice(),
                    Value::Object(_) => std::slice::from_ref(value),
                    _ => &[],
                };
                for value in items {
                    if self.passes(filter, value)? == Some(true) {
                        self.walk(rest, merges, value, found)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn some_of(&mut self, keys: &[String], map: &Map<String, Value>) -> Result<Value, TooMuch> {
        let mut object = Map::new();
        for key in keys {
            if let Some(value) = map.get(key) {
                object.insert(key.clone(), self.meter.copy(value)?);
            }
        }
        Ok(Value::Object(object))
    }

    /// Whether an item passes. None: something in the filter cannot be compared so.
    fn passes(&mut self, filter: &Filter, item: &Value) -> Result<Option<bool>, TooMuch> {
        self.meter.visit(1)?;
        match filter {
            Filter::Any(filters) => {
                for filter in filters {
                    match self.passes(filter, item)? {
                        Some(false) => {}
                        settled => return Ok(settled),
                    }
                }
                Ok(Some(false))
            }
            Filter::All(filters) => {
                for filter in filters {
                    match self.passes(filter, item)? {
                        Some(true) => {}
                        settled => return Ok(settled),
                    }
                }
                Ok(Some(true))
            }
            Filter::Not(filter) => Ok(self.passes(filter, item)?.map(|passed| !passed)),
            Filter::Exists(operand) => Ok(Some(match self.seen(operand, item)? {
                Seen::Missing => false,
                Seen::Many(found) => !found.is_empty(),
                Seen::One(_) | Seen::Pattern(_) => true,
            })),
            Filter::Compare(compared) => {
                let (left, operator, right) = &**compared;
                let (left, right) = (self.seen(left, item)?, self.seen(right, item)?);
                holds(&left, *operator, &right, self.meter)
            }
        }
    }

    fn seen<'v>(&mut self, operand: &'v Operand, item: &'v Value) -> Result<Seen<'v>, TooMuch>
    where
        'r: 'v,
    {
        Ok(match operand {
            Operand::Item(path) => match self.find(path, &path.steps, item)? {
                Some(found) if !path.is_definite() => Seen::Many(found),
                found => match found.and_then(|mut found| found.pop()) {
                    Some(value) => Seen::One(value),
                    None => Seen::Missing,
                },
            },
            Operand::Absolute(at) => match self.absolutes.get(*at) {
                Some(Some(value)) => Seen::One(Cow::Borrowed(&**value)),
                _ => Seen::Missing,
            },
            Operand::Literal(value) => Seen::One(Cow::Borrowed(value)),
            Operand::Pattern(pattern) => Seen::Pattern(pattern),
        })
    }
}

fn inside(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Jayway counts a slice's ends from the list's end only where the other end is left open.
fn slice(list: &[Value], from: Option<i64>, to: Option<i64>) -> impl Iterator<Item = &Value> {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { length.saturating_add(at) } else { at };
    let (from, to) = match (from, to) {
        (Some(from), None) => (from_end(from).max(0), length),
        (None, Some(to)) => (0, from_end(to).min(length)),
        (from, to) => (from.unwrap_or(0).max(-length), to.unwrap_or(length).min(length)),
    };
    (from..to).filter_map(|index| element(list, index))
}
