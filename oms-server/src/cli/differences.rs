//! In what two definitions differ.

use serde::Serialize;
use serde_json::Value;

/// Set when a definition is kept, and by each server for itself.
const STAMPS: [&str; 5] = ["createTime", "createdTime", "updateTime", "createdBy", "updatedBy"];

/// A place where two values differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) ours: Value,
    pub(super) theirs: Value,
}

/// Where two definitions differ. What is absent is as good as null, false, 0, or empty: Conductor
/// writes such fields out, and others do not. Who wrote a definition and when is no difference.
pub(super) fn differences(ours: &Value, theirs: &Value) -> Vec<Difference> {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    for value in [&mut ours, &mut theirs] {
        if let Some(map) = value.as_object_mut() {
            map.retain(|key, _| !STAMPS.contains(&key.as_str()));
        }
    }
    let mut found = Vec::new();
    compare("$", &ours, &theirs, &mut found);
    found
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(map) => map.values().all(says_nothing),
    }
}

fn compare(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<Difference>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(ours), Some(theirs)) => compare(&path, ours, theirs, found),
                    (ours, theirs) => {
                        let of = |value: Option<&Value>| value.cloned().unwrap_or_default();
                        let (ours, theirs) = (of(ours), of(theirs));
                        if !(says_nothing(&ours) && says_nothing(&theirs)) {
                            found.push(Difference { path, ours, theirs });
                        }
                    }
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (ours, theirs)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{n}]"), ours, theirs, found);
            }
        }
        _ if ours == theirs || numbers_equal(ours, theirs) => {}
        _ if ours.is_null() && says_nothing(theirs) => {}
        _ if theirs.is_null() && says_nothing(ours) => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            ours: ours.clone(),
            theirs: theirs.clone(),
        }),
    }
}

/// 1 and 1.0.
fn numbers_equal(a: &Value, b: &Value) -> bool {
    matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a.total_cmp(&b).is_eq())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_nothing_and_stamps_are_no_difference() {
        let ours = json!({"name": "a", "tasks": [{"type": "SIMPLE", "startDelay": 1.0}]});
        let theirs = json!({
            "name": "a", "createTime": 5, "description": null, "restartable": false,
            "inputParameters": [], "rateLimit": {"of": 0},
            "tasks": [{"type": "SIMPLE", "startDelay": 1, "optional": false}],
        });
        assert_eq!(differences(&ours, &theirs), []);
    }

    #[test]
    fn a_difference_is_told_with_its_place_and_both_sides() {
        let ours = json!({"a": {"b": [1, {"c": 2}]}, "d": true, "l": [1]});
        let theirs = json!({"a": {"b": [1, {"c": 3}]}, "e": "x", "l": [1, 2]});
        let found = differences(&ours, &theirs);
        let places: Vec<&str> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(places, ["$.a.b[1].c", "$.d", "$.e", "$.l"]);
        assert_eq!((&found[0].ours, &found[0].theirs), (&json!(2), &json!(3)));
    }
}
