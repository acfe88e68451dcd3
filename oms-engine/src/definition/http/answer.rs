//! What an answer means for the task.

use serde_json::{Map, Value, json};

use crate::definition::java_text;

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// How the task ends, with its output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HttpEnd {
    Completed(Value),
    /// `IN_PROGRESS` until it is ended from outside.
    Waits(Value),
    Failed {
        reason: String,
        output: Value,
    },
}

/// 2xx completes the task, or leaves it waiting; else it has failed.
pub(crate) fn end_of(answer: HttpAnswer, waits: bool) -> HttpEnd {
    let body = body_of(&answer);
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in answer.headers {
        if let Value::Array(values) = headers.entry(name).or_insert_with(|| json!([])) {
            values.push(Value::String(value));
        }
    }
    let output = json!({
        "response": {
            "statusCode": answer.status,
            "reasonPhrase": answer.reason,
            "headers": headers,
            "body": body,
        }
    });
    match (answer.status, waits) {
        (200..=299, false) => HttpEnd::Completed(output),
        (200..=299, true) => HttpEnd::Waits(output),
        _ => {
            let reason = match &body {
                Value::Null => "No response from the remote service".to_owned(),
                Value::String(text) => text.clone(),
                other => java_text(other),
            };
            HttpEnd::Failed { reason, output }
        }
    }
}

/// No answer came.
pub(crate) fn call_failed(why: &str) -> HttpEnd {
    let reason = format!("Failed to invoke HTTP task due to: {why}");
    HttpEnd::Failed { output: json!({ "response": reason }), reason }
}

/// JSON where the answer says that it is, and it can be read; else a text.
fn body_of(answer: &HttpAnswer) -> Value {
    if answer.body.is_empty() {
        return Value::Null;
    }
    let kind = answer.headers.iter().find(|(name, _)| name == "content-type");
    let kind = kind.and_then(|(_, value)| value.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_lowercase();
    let is_json = kind == "application/json" || kind == "text/json" || kind.ends_with("+json");
    let read = is_json.then(|| serde_json::from_slice(&answer.body).ok()).flatten();
    read.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned().into())
}
