//! Values of jq. Each operation counts what it touches.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::budget::{self, DEPTH_MAX, Spent};

/// How often a value may be looked into in a row: a path is as long as that at most.
const DERIVED_MAX: u32 = 100_000;

pub(super) type List = Vec<Val>;
pub(super) type Object = BTreeMap<Rc<str>, Val>;

/// A value. Objects are in the order of their keys.
#[derive(Debug)]
pub(super) struct Val {
    pub(super) kind: Kind,
    /// How deep it is nested, at most: dropping, comparing and writing it takes that much stack.
    depth: u16,
    /// How many steps down from a value that was made it was reached.
    derived: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<String>),
    List(Rc<List>),
    Object(Rc<Object>),
}

impl Clone for Val {
    fn clone(&self) -> Self {
        budget::step();
        Self { kind: self.kind.clone(), ..*self }
    }
}

impl Val {
    const fn flat(kind: Kind) -> Self {
        Self { kind, depth: 0, derived: 0 }
    }

    pub(super) const fn null() -> Self {
        Self::flat(Kind::Null)
    }

    pub(super) const fn bool(value: bool) -> Self {
        Self::flat(Kind::Bool(value))
    }

    pub(super) const fn int(value: i64) -> Self {
        Self::flat(Kind::Int(value))
    }

    pub(super) const fn float(value: f64) -> Self {
        Self::flat(Kind::Float(value))
    }

    /// What arithmetic gives: whole numbers are integers, as jq shows them.
    pub(super) fn number(value: f64) -> Self {
        budget::step();
        let exact = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
        if exact { Self::int(truncated(value)) } else { Self::float(value) }
    }

    pub(super) fn text(value: String) -> Self {
        budget::bytes(TEXT + value.len());
        Self::flat(Kind::Text(Rc::new(value)))
    }

    pub(super) fn list(values: impl IntoIterator<Item = Self>) -> Self {
        let mut list = List::new();
        let mut depth = 0;
        for value in values {
            budget::bytes(ELEMENT);
            depth = depth.max(value.depth);
            list.push(value);
        }
        Self::of_list(list, depth)
    }

    pub(super) fn of_list(list: List, inside: u16) -> Self {
        budget::bytes(CONTAINER);
        Self { kind: Kind::List(Rc::new(list)), depth: deeper(inside), derived: 0 }
    }

    pub(super) fn of_object(object: Object, inside: u16) -> Self {
        budget::bytes(CONTAINER);
        Self { kind: Kind::Object(Rc::new(object)), depth: deeper(inside), derived: 0 }
    }

    /// Something in a container, reached from it.
    pub(super) fn under(mut self, derived: u32) -> Self {
        if derived > DERIVED_MAX {
            budget::stop(Spent::Depth);
        }
        self.derived = derived;
        self
    }

    /// How far down that is which is reached from here.
    pub(super) const fn below(&self) -> u32 {
        self.derived.saturating_add(1)
    }

    /// How deep the values in it are nested.
    pub(super) const fn inside(&self) -> u16 {
        self.depth.saturating_sub(1)
    }

    pub(super) const fn depth(&self) -> u16 {
        self.depth
    }

    /// Takes the value of another that was put into a container of this one.
    pub(super) fn hold(&mut self, inside: u16) {
        self.depth = self.depth.max(deeper(inside));
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As a number, where it is one.
    #[expect(clippy::cast_precision_loss, reason = "jq computes with doubles")]
    pub(super) const fn as_float(&self) -> Option<f64> {
        match self.kind {
            Kind::Int(value) => Some(value as f64),
            Kind::Float(value) => Some(value),
            _ => None,
        }
    }

    /// As a whole number, rounded down, where it is a number.
    pub(super) fn as_index(&self) -> Option<i64> {
        match self.kind {
            Kind::Int(value) => Some(value),
            Kind::Float(value) => Some(truncated(value.floor())),
            _ => None,
        }
    }

    pub(super) fn read(value: &Value) -> Self {
        match value {
            Value::Null => Self::null(),
            Value::Bool(value) => Self::bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(value) => Self::int(value),
                None => Self::float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::text(text.clone()),
            Value::Array(list) => Self::list(list.iter().map(Self::read)),
            Value::Object(map) => {
                let pairs = map.iter().map(|(key, value)| (key.as_str(), Self::read(value)));
                Self::object(pairs)
            }
        }
    }

    pub(super) fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut object = Object::new();
        let mut depth = 0;
        for (key, value) in pairs {
            budget::bytes(ENTRY + key.len());
            depth = depth.max(value.depth);
            object.insert(Rc::from(key), value);
        }
        Self::of_object(object, depth)
    }

    /// As JSON. Numbers that JSON does not have become null, or the largest that it has.
    pub(super) fn write(&self) -> Value {
        budget::bytes(ELEMENT);
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => Value::from(*value),
            Kind::Float(value) => {
                let value = value.clamp(f64::MIN, f64::MAX);
                Number::from_f64(value).map_or(Value::Null, Value::Number)
            }
            Kind::Text(text) => {
                budget::bytes(text.len());
                Value::String(text.as_str().to_owned())
            }
            Kind::List(list) => Value::Array(list.iter().map(Self::write).collect()),
            Kind::Object(object) => {
                let pairs = object.iter().map(|(key, value)| {
                    budget::bytes(ENTRY + key.len());
                    (key.as_ref().to_owned(), value.write())
                });
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) const fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::Float(value) if value.is_nan())
    }

    const fn rank(&self) -> u8 {
        match self.kind {
            Kind::Null => 0,
            Kind::Bool(false) => 1,
            Kind::Bool(true) => 2,
            Kind::Int(_) | Kind::Float(_) => 3,
            Kind::Text(_) => 4,
            Kind::List(_) => 5,
            Kind::Object(_) => 6,
        }
    }
}

/// Bytes that are counted for what a value takes beside its text.
const TEXT: usize = 64;
const ELEMENT: usize = 32;
const ENTRY: usize = 96;
const CONTAINER: usize = 64;

/// The depth of a container.
fn deeper(inside: u16) -> u16 {
    if inside >= DEPTH_MAX {
        budget::stop(Spent::Depth);
    }
    inside.saturating_add(1)
}

#[expect(clippy::cast_possible_truncation, reason = "it goes to the nearest bound")]
pub(super) const fn truncated(value: f64) -> i64 {
    value as i64
}

impl Ord for Val {
    /// jq's order: null, false, true, numbers, texts, lists, objects. A NaN is the least number.
    fn cmp(&self, other: &Self) -> Ordering {
        budget::step();
        match (&self.kind, &other.kind) {
            (Kind::Int(a), Kind::Int(b)) => a.cmp(b),
            (Kind::Text(a), Kind::Text(b)) => {
                budget::steps(a.len().min(b.len()) / 64);
                a.cmp(b)
            }
            (Kind::List(a), Kind::List(b)) => a.cmp(b),
            (Kind::Object(a), Kind::Object(b)) => {
                budget::steps(a.len().min(b.len()));
                a.keys().cmp(b.keys()).then_with(|| a.values().cmp(b.values()))
            }
            _ => match (self.as_float(), other.as_float()) {
                (Some(a), Some(b)) => {
                    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
                }
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }
}

impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        !self.is_nan() && self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Val {}

impl std::fmt::Display for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.write())
    }
}
