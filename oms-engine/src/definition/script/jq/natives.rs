//! The functions that are made for these values.

use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{Error, RunPtr, ValR};
use serde_json::Value;

use super::budget;
use super::program::Jq;
use super::regex;
use super::value::{Kind, List, Val};

pub(super) fn all() -> impl Iterator<Item = Fun<Jq>> {
    let all: [Filter<RunPtr<Jq>>; 14] = [
        ("nan", v(0), |_| bome(Ok(Val::float(f64::NAN)))),
        ("infinite", v(0), |_| bome(Ok(Val::float(f64::INFINITY)))),
        ("isnan", v(0), |cv| bome(Ok(Val::bool(cv.1.is_nan())))),
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Val::text(cv.1.to_string())))),
        ("length", v(0), |cv| bome(length(&cv.1))),
        ("contains", v(1), |cv| unary(cv, |a, b| contains(&a, &b).map(Val::bool))),
        ("has", v(1), |cv| unary(cv, |value, key| has(&value, &key))),
        ("indices", v(1), |cv| unary(cv, indices)),
        ("bsearch", v(1), |cv| unary(cv, |list, value| search(list, &value))),
        ("implode", v(0), |cv| bome(implode(cv.1))),
        ("matches", v(2), |cv| bome(regex::matches(cv, regex::Give::Matches))),
        ("split_matches", v(2), |cv| bome(regex::matches(cv, regex::Give::Both))),
        ("split_", v(2), |cv| bome(regex::matches(cv, regex::Give::Between))),
    ];
    all.into_iter().map(|filter| run::<Jq>(filter))
}

fn from_json(text: &Val) -> ValR<Val> {
    let Some(given) = text.as_text() else { return Err(Error::typ(text.clone(), "string")) };
    budget::steps(given.len() / 8);
    let value: Result<Value, _> = serde_json::from_str(given);
    value
        .map(|value| Val::read(&value))
        .map_err(|error| Error::str(format!("cannot be parsed as JSON: {error}")))
}

fn length(value: &Val) -> ValR<Val> {
    Ok(match &value.kind {
        Kind::Null => Val::int(0),
        Kind::Int(number) if *number == i64::MIN => Val::float(-(i64::MIN as f64)),
        Kind::Int(number) => Val::int(number.abs()),
        Kind::Float(number) => Val::float(number.abs()),
        Kind::Text(text) => {
            budget::steps(text.len() / 16);
            text.chars().count().into()
        }
        Kind::List(list) => list.len().into(),
        Kind::Object(object) => object.len().into(),
        Kind::Bool(_) => return Err(Error::str(format!("boolean ({value}) has no length"))),
    })
}

fn contains(a: &Val, b: &Val) -> Result<bool, Error<Val>> {
    budget::step();
    match (&a.kind, &b.kind) {
        (Kind::Text(a), Kind::Text(b)) => {
            budget::steps((a.len() + b.len()) / 8);
            Ok(a.contains(b.as_str()))
        }
        (Kind::List(a), Kind::List(b)) => {
            for b in b.iter() {
                let mut found = false;
                for a in a.iter() {
                    let alike = std::mem::discriminant(&a.kind) == std::mem::discriminant(&b.kind);
                    found = (alike && contains(a, b)?) || a == b;
                    if found {
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Kind::Object(a), Kind::Object(b)) => {
            for (key, b) in b.iter() {
                match a.get(key) {
                    Some(a) if contains(a, b)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Kind::Null | Kind::Bool(_), Kind::Null | Kind::Bool(_))
        | (Kind::Int(_) | Kind::Float(_), Kind::Int(_) | Kind::Float(_)) => Ok(a == b),
        _ => Err(Error::str(format!("{a} cannot have its containment of {b} checked"))),
    }
}

fn has(value: &Val, key: &Val) -> ValR<Val> {
    match (&value.kind, &key.kind) {
        (Kind::Object(object), Kind::Text(key)) => Ok(Val::bool(object.contains_key(key.as_str()))),
        (Kind::List(list), Kind::Int(_) | Kind::Float(_)) => {
            let at = key.as_index().and_then(|index| usize::try_from(index).ok());
            Ok(Val::bool(at.is_some_and(|at| at < list.len())))
        }
        _ => Err(Error::str(format!("cannot check whether {value} has the key {key}"))),
    }
}

/// Where a part begins in a list.
pub(super) fn places(list: &List, part: &List) -> Vec<Val> {
    if part.is_empty() {
        return Vec::new();
    }
    let at = list.windows(part.len()).enumerate().filter(|(_, window)| *window == part.as_slice());
    at.map(|(at, _)| at.into()).collect()
}

fn indices(value: Val, part: Val) -> ValR<Val> {
    Ok(match (&value.kind, &part.kind) {
        (Kind::Null, _) => Val::null(),
        (Kind::Text(text), Kind::Text(part)) => {
            budget::steps((text.len() + part.len()) / 4);
            Val::list(text_places(text, part).into_iter().map(Val::from))
        }
        (Kind::List(list), Kind::List(part)) => Val::list(places(list, part)),
        (Kind::List(list), _) => {
            let same = list.iter().enumerate().filter(|(_, value)| **value == part);
            Val::list(same.map(|(at, _)| at.into()))
        }
        _ => return Err(Error::index(value, part)),
    })
}

/// Where a part begins in a text, in characters; those that overlap count.
fn text_places(text: &str, part: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let Some(first) = part.chars().next() else { return places };
    for (number, (at, char)) in text.char_indices().enumerate() {
        if char == first {
            budget::steps(1 + part.len() / 16);
            if text.get(at..).is_some_and(|rest| rest.starts_with(part)) {
                places.push(number);
            }
        }
    }
    places
}

fn search(list: Val, value: &Val) -> ValR<Val> {
    let Kind::List(list) = &list.kind else { return Err(Error::typ(list, "array")) };
    let at = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    let found = list.binary_search(value);
    Ok(Val::int(found.map_or_else(|place| -1 - at(place), at)))
}

fn implode(list: Val) -> ValR<Val> {
    let Kind::List(codes) = &list.kind else { return Err(Error::typ(list, "array")) };
    budget::steps(codes.len());
    let char = |code: &Val| {
        let code = u32::try_from(code.as_index()?).ok()?;
        char::from_u32(code)
    };
    match codes.iter().map(char).collect::<Option<String>>() {
        Some(text) => Ok(Val::text(text)),
        None => Err(Error::str("implode takes an array of the numbers of characters")),
    }
}
