//! What an HTTP task asks for.

use std::time::Duration;

use serde_json::{Map, Value};

#[cfg(feature = "http")]
const NO_REQUEST: &str = "Missing HTTP request: the task's input needs the key http_request, \
                          or uri and method";
#[cfg(feature = "http")]
const NO_URI: &str = "Missing HTTP URI: give uri";
#[cfg(feature = "http")]
const NO_METHOD: &str = "No HTTP method specified: give method";
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
const TIME_DEFAULT: Duration = Duration::from_secs(3);
/// Headers that say how a message is sent: they are the client's own.
const OURS: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "proxy-authorization",
];

#[cfg(feature = "http")]
/// A request that can be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpRequest {
    pub(crate) uri: String,
    /// In capitals.
    pub(crate) method: String,
    /// In the order of their names, which are in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// For finding the host and connecting; none: the whole call's alone counts.
    pub(crate) connect_max: Option<Duration>,
    /// For every part of the answer; none likewise.
    pub(crate) read_max: Option<Duration>,
    /// What `asyncComplete` of the input says, where it says something.
    pub(crate) async_complete: Option<bool>,
}

#[cfg(feature = "http")]
impl HttpRequest {
    /// Reads a task's input: the keys under `http_request`, or at its top.
    pub(crate) fn read(input: &Value) -> Result<Self, String> {
        let Some(given) = given(input) else { return Err(NO_REQUEST.to_owned()) };
        let text = |key: &str| match given.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("{key} is {other}: write a text")),
        };
        let uri = text("uri")?.ok_or(NO_URI)?;
        let method = text("method")?.ok_or(NO_METHOD)?.to_uppercase();
        check_uri(&uri)?;
        check_method(&method)?;
        let mut headers = Map::new();
        let accept = text("accept")?.unwrap_or_else(|| "application/json".to_owned());
        headers.insert("accept".to_owned(), Value::String(accept));
        let body = given.get("body").filter(|body| !body.is_null()).map(|body| match body {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        });
        if body.is_some() {
            let kind = text("contentType")?.unwrap_or_else(|| "application/json".to_owned());
            headers.insert("content-type".to_owned(), Value::String(kind));
        }
        match given.get("headers") {
            None | Some(Value::Null) => {}
            Some(Value::Object(more)) => {
                headers
                    .extend(more.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
            }
            Some(other) => return Err(format!("headers is {other}: write an object")),
        }
        Ok(Self {
            uri,
            method,
            headers: headers_of(headers)?,
            body,
            connect_max: time(given, "connectionTimeOut")?,
            read_max: time(given, "readTimeOut")?,
            async_complete: given.get("asyncComplete").and_then(truth),
        })
    }
}

/// What an input says that is no expression and cannot be sent, each with its key.
pub(in crate::definition) fn check_request(input: &Map<String, Value>) -> Vec<(String, String)> {
    let (given, prefix) = match input.get("http_request") {
        Some(Value::Object(given)) => (given, "http_request."),
        Some(_) => return Vec::new(),
        None => (input, ""),
    };
    let literal = |key: &str| given.get(key).and_then(Value::as_str).filter(|t| !t.contains("${"));
    let mut faults = Vec::new();
    let mut check = |key: String, checked: Result<(), String>| {
        if let Err(fault) = checked {
            faults.push((format!("{prefix}{key}"), fault));
        }
    };
    if let Some(uri) = literal("uri") {
        check("uri".to_owned(), check_uri(uri));
    }
    if let Some(method) = literal("method") {
        check("method".to_owned(), check_method(&method.to_uppercase()));
    }
    for (name, value) in given.get("headers").and_then(Value::as_object).into_iter().flatten() {
        if !value.to_string().contains("${") {
            check(format!("headers.{name}"), one_header(&name.to_lowercase(), value).map(drop));
        }
    }
    for key in ["connectionTimeOut", "readTimeOut"] {
        if !given.get(key).and_then(Value::as_str).is_some_and(|text| text.contains("${")) {
            check(key.to_owned(), time(given, key).map(drop));
        }
    }
    faults
}

#[cfg(feature = "http")]
fn given(input: &Value) -> Option<&Map<String, Value>> {
    match input.get("http_request") {
        Some(Value::Object(given)) => Some(given),
        None | Some(Value::Null) => input
            .as_object()
            .filter(|input| input.contains_key("uri") || input.contains_key("method")),
        Some(_) => None,
    }
}

fn check_uri(uri: &str) -> Result<(), String> {
    let (scheme, rest) = uri.split_once("://").unwrap_or_default();
    if !matches!(scheme.to_lowercase().as_str(), "http" | "https") || rest.is_empty() {
        return Err(format!("{uri:?} cannot be called: write http:// or https:// and a host"));
    }
    if uri.chars().any(char::is_control) {
        return Err(format!("{uri:?} holds a control character: remove it"));
    }
    Ok(())
}

fn check_method(method: &str) -> Result<(), String> {
    if METHODS.contains(&method) {
        return Ok(());
    }
    Err(format!("{method:?} is no method: write one of {}", METHODS.join(", ")))
}

#[cfg(feature = "http")]
fn headers_of(given: Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for (name, value) in given {
        for value in one_header(&name, &value).map_err(|why| format!("header {name:?} {why}"))? {
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

/// A header's values.
fn one_header(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("is no name of a header".to_owned());
    }
    if OURS.contains(&name) {
        return Err("is set by the client itself: remove it".to_owned());
    }
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    let text = |value: &Value| match value {
        Value::String(text) if text.chars().any(|c| c.is_control() && c != '\t') => {
            Err("holds a control character (NUL, CR or LF): remove it".to_owned())
        }
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(format!("is {value}: write a text")),
    };
    values.into_iter().map(text).collect()
}

fn time(given: &Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    let ms = match given.get(key) {
        None | Some(Value::Null) => return Ok(Some(TIME_DEFAULT)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_u64(),
    };
    match ms {
        Some(0) => Ok(None),
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => Err(format!("{key} is not a number of milliseconds")),
    }
}

#[cfg(feature = "http")]
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => Some(text.eq_ignore_ascii_case("true")),
        _ => None,
    }
}
