//! What a schema may cost, worked out before it is used.
//!
//! References can make a short schema look at one value billions of times: twice in each of
//! thirty layers, or twice at each level of a nested value. Counted is how often parts of the
//! schema look at the values along one path into the deepest value that is allowed.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::definition::payload::DEPTH_MAX;

/// Looks along one path.
const LOOKS_MAX: u64 = 100_000;
/// References and keywords in each other at one value.
const CHAIN_MAX: usize = 128;

/// Keywords whose schemas look at the same value.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SAME: [&str; 4] = ["not", "if", "then", "else"];
const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords whose schemas look at values inside it, each at others.
const INSIDE: [&str; 6] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
];
/// Keywords that begin to resolve references elsewhere, or when they are met.
const ELSEWHERE: [&str; 4] = ["$dynamicRef", "$recursiveRef", "$id", "id"];

type Refused = (String, String);

/// Refuses a schema that could take too long.
pub(super) fn check(schema: &Value) -> Result<(), Refused> {
    let mut nodes = Vec::new();
    gather(schema, &mut nodes)?;
    let mut before: HashMap<usize, u64> = HashMap::new();
    for _ in 0..=DEPTH_MAX {
        let mut looks = HashMap::with_capacity(nodes.len());
        for node in &nodes {
            let mut walk =
                Walk { root: schema, before: &before, looks: &mut looks, open: Vec::new() };
            walk.looks(node)?;
        }
        if looks.get(&key(schema)).is_none_or(|count| *count > LOOKS_MAX) {
            let reason = "could take too long: its references lead to the same schema again and \
                          again: use fewer alternatives that refer back";
            return Err((String::new(), reason.to_owned()));
        }
        if looks == before {
            break;
        }
        before = looks;
    }
    Ok(())
}

fn key(schema: &Value) -> usize {
    std::ptr::from_ref(schema).addr()
}

/// Every object in it that may be a schema.
fn gather<'a>(schema: &'a Value, nodes: &mut Vec<&'a Value>) -> Result<(), Refused> {
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(map) => {
                nodes.push(value);
                check_references(map, std::ptr::eq(value, schema))?;
                rest.extend(map.values());
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
    Ok(())
}

fn check_references(map: &Map<String, Value>, root: bool) -> Result<(), Refused> {
    let hint = "refer to `#` or `#/$defs/…` with `$ref`";
    for word in ELSEWHERE {
        let text = map.get(word).is_some_and(Value::is_string);
        if text && !(root && word.ends_with("id")) {
            return Err((String::new(), format!("{word}: not supported: {hint}")));
        }
    }
    match map.get("$ref").and_then(Value::as_str) {
        Some(to) if to != "#" && !to.starts_with("#/") => {
            Err((String::new(), format!("$ref {to:?}: not supported: {hint}")))
        }
        _ => Ok(()),
    }
}

struct Walk<'a> {
    root: &'a Value,
    before: &'a HashMap<usize, u64>,
    looks: &'a mut HashMap<usize, u64>,
    open: Vec<usize>,
}

impl Walk<'_> {
    /// How often a schema and what it leads to look at the values along a path.
    fn looks(&mut self, schema: &Value) -> Result<u64, Refused> {
        let own = key(schema);
        if let Some(known) = self.looks.get(&own) {
            return Ok(*known);
        }
        let Some(map) = schema.as_object() else { return Ok(1) };
        // A circle at one value is gone through once.
        if self.open.contains(&own) {
            return Ok(1);
        }
        if self.open.len() > CHAIN_MAX {
            let reason = format!("more than {CHAIN_MAX} schemas refer to each other in a chain");
            return Err((String::new(), reason));
        }
        self.open.push(own);
        let mut count: u64 = 1;
        for same in same_value(map, self.root) {
            count = count.saturating_add(self.looks(same)?);
        }
        self.open.pop();
        count = count.saturating_add(self.inside(map));
        self.looks.insert(own, count);
        Ok(count)
    }

    fn inside(&self, map: &Map<String, Value>) -> u64 {
        let of = |schema: &Value| self.before.get(&key(schema)).copied().unwrap_or(0);
        let of_any = |value: &Value| match value {
            Value::Array(items) => items.iter().map(of).max().unwrap_or(0),
            value => of(value),
        };
        let named = map.get("properties").and_then(Value::as_object);
        let apart = INSIDE.iter().chain(&["prefixItems"]).filter_map(|word| map.get(*word));
        let most = named.into_iter().flat_map(Map::values).chain(apart).map(of_any).max();
        let patterns = map.get("patternProperties").and_then(Value::as_object);
        let also = patterns.into_iter().flat_map(Map::values).chain(map.get("contains"));
        also.map(of).fold(most.unwrap_or(0), u64::saturating_add)
    }
}

fn same_value<'a>(map: &'a Map<String, Value>, root: &'a Value) -> Vec<&'a Value> {
    let mut same: Vec<&Value> = SAME.iter().filter_map(|word| map.get(*word)).collect();
    for word in SAME_LISTS {
        same.extend(map.get(word).and_then(Value::as_array).into_iter().flatten());
    }
    for word in SAME_MAPS {
        same.extend(map.get(word).and_then(Value::as_object).into_iter().flat_map(Map::values));
    }
    if let Some(pointer) =
        map.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'))
    {
        let plain = pointer.replace("%25", "%");
        same.extend(root.pointer(&plain));
    }
    same
}
