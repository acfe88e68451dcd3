//! Values as Java writes them, which is what Conductor splices into a text.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Appends a value: numbers, booleans and null as such, text bare, `{a={b=[1, x]}}`.
pub(super) fn push(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => push_number(out, number),
        Value::String(text) => out.push_str(text),
        Value::Array(list) => {
            out.push('[');
            for (n, item) in list.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                push(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                out.push_str(key);
                out.push('=');
                push(out, item);
            }
            out.push('}');
        }
    }
}

fn push_number(out: &mut String, number: &Number) {
    match number.as_f64() {
        Some(double) if number.is_f64() => push_double(out, double),
        _ => push_plain(out, &number.to_string()),
    }
}

/// `Double.toString`: plain from 0.001 up to 10 million, else with an exponent; always with at
/// least one digit on each side of the point.
fn push_double(out: &mut String, double: f64) {
    let size = double.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        // `{:?}` keeps the point of a whole number and has no exponent in this range.
        push_plain(out, &format!("{double:?}"));
        return;
    }
    let text = format!("{double:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    push_plain(out, digits);
    push_plain(out, if digits.contains('.') { "E" } else { ".0E" });
    push_plain(out, exponent);
}

#[expect(clippy::unused_result_ok, reason = "writing to a String cannot fail")]
fn push_plain(out: &mut String, text: &str) {
    out.write_str(text).ok();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            let mut out = String::new();
            push(&mut out, &value);
            assert_eq!(out, expected);
        }
    }
}
