//! Fields that are not shown.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize as _;
use serde_json::Value;

use crate::refusal::Refusal;

/// What stands for a value that is not shown.
pub(crate) const MASK: &str = "***";

/// What is not masked: tasks on their way to workers, who need them whole, and definitions, which
/// are read to be written back.
const WHOLE: [&str; 5] =
    ["/api/tasks/poll/", "/api/tasks/update-v2", "/api/metadata/", "/api/event", "/api/token"];

/// Whether what an endpoint answers goes out as it is.
pub(crate) fn is_whole(path: &str) -> bool {
    WHOLE.iter().any(|prefix| path.starts_with(prefix))
}

/// Masks what goes out as JSON.
pub(crate) async fn mask(names: &BTreeSet<String>, response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    match masked(body, names).await {
        Ok(bytes) => {
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(bytes))
        }
        Err(why) => {
            let text = format!("the answer cannot be masked: {why}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

async fn masked(body: Body, names: &BTreeSet<String>) -> Result<Vec<u8>, String> {
    let bytes = to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    // Definitions within runs nest deeper than the reader's own limit; they were let in by ours.
    reader.disable_recursion_limit();
    let mut value = Value::deserialize(&mut reader).map_err(|error| error.to_string())?;
    hide(&mut value, names);
    serde_json::to_vec(&value).map_err(|error| error.to_string())
}

/// Takes the values of these fields out of JSON.
pub(crate) fn hide(value: &mut Value, names: &BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if names.contains(key) {
                    if !value.is_null() {
                        *value = Value::from(MASK);
                    }
                } else if is_written_out(key, value, names) {
                    *value = Value::from(MASK);
                } else {
                    hide(value, names);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| hide(value, names)),
        _ => {}
    }
}

/// Searches show inputs and outputs as one text.
fn is_written_out(key: &str, value: &Value, names: &BTreeSet<String>) -> bool {
    let Some(text) = value.as_str() else { return false };
    matches!(key, "input" | "output") && names.iter().any(|name| text.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_fields_are_hidden_at_any_depth_and_in_texts_that_hold_them() {
        let names = BTreeSet::from(["card".to_owned()]);
        let mut value = json!({
            "input": {"card": {"number": 4}, "list": [{"card": "4"}], "other": "card", "n": null},
            "output": "{card=4}",
            "results": [{"input": "{x=1}", "card": null}],
        });
        hide(&mut value, &names);
        assert_eq!(
            value,
            json!({
                "input": {"card": "***", "list": [{"card": "***"}], "other": "card", "n": null},
                "output": "***",
                "results": [{"input": "{x=1}", "card": null}],
            })
        );
    }
}
