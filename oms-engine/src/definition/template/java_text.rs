//! Values as Java writes them, which is what Conductor splices into a text.

use serde_json::{Number, Value};

/// Writes a value: numbers, booleans and null as such, text bare, `{a={b=[1, x]}}`.
pub(super) fn push<E>(value: &Value, put: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    match value {
        Value::Null => put("null"),
        Value::Bool(true) => put("true"),
        Value::Bool(false) => put("false"),
        Value::Number(number) => put(&number_text(number)),
        Value::String(text) => put(text),
        Value::Array(list) => {
            put("[")?;
            for (n, item) in list.iter().enumerate() {
                put(if n > 0 { ", " } else { "" })?;
                push(item, put)?;
            }
            put("]")
        }
        Value::Object(map) => {
            put("{")?;
            for (n, (key, item)) in map.iter().enumerate() {
                put(if n > 0 { ", " } else { "" })?;
                put(key)?;
                put("=")?;
                push(item, put)?;
            }
            put("}")
        }
    }
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() => double_text(double),
        _ => number.to_string(),
    }
}

/// `Double.toString`: plain from 0.001 up to 10 million, else with an exponent; always with at
/// least one digit on each side of the point.
fn double_text(double: f64) -> String {
    let size = double.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        // `{:?}` keeps the point of a whole number and has no exponent in this range.
        return format!("{double:?}");
    }
    let text = format!("{double:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{digits}{}{exponent}", if digits.contains('.') { "E" } else { ".0E" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn values_are_written_as_java_writes_them() {
        for (value, expected) in [
            (json!(null), "null"),
            (json!(true), "true"),
            (json!(-12), "-12"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(1.0), "1.0"),
            (json!(-0.0), "-0.0"),
            (json!(0.1), "0.1"),
            (json!(0.001), "0.001"),
            (json!(0.000_999), "9.99E-4"),
            (json!(9_999_999.5), "9999999.5"),
            (json!(1e7), "1.0E7"),
            (json!(-1.25e30), "-1.25E30"),
            (json!({"a": {"b": [1, "x"]}, "c": null}), "{a={b=[1, x]}, c=null}"),
            (json!([]), "[]"),
            (json!({}), "{}"),
        ] {
            assert_eq!(crate::definition::java_text(&value), expected);
        }
    }
}
