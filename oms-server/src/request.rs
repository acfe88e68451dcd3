//! What a request says: names in its path, parameters, a body. Unknown parameters and fields are
//! passed over, as Conductor does.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use futures_util::StreamExt as _;
use oms_engine::{TaskId, WorkflowId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::App;
use crate::refusal::Refusal;

/// A body that is too large is read to its end up to so many times the limit.
const PASSED_OVER: usize = 8;

/// The names in a path and the parameters behind it.
#[derive(Debug)]
pub(crate) struct Asked {
    names: Vec<String>,
    parameters: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let names = RawPathParams::from_request_parts(parts, state).await;
        let names = names.map_err(|_| Refusal::argument("path", "is no UTF-8"))?;
        let names: Vec<String> = names.iter().map(|(_, value)| value.to_owned()).collect();
        let parameters = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let parameters = parameters
            .map_err(|error| Refusal::argument("query", format!("cannot be read: {error}")))?;
        let asked = Self { names, parameters: parameters.0 };
        // PostgreSQL's texts have none.
        if asked.names.iter().any(|name| name.contains('\0')) {
            return Err(Refusal::argument("path", "has a NUL character"));
        }
        if let Some((key, _)) = asked.parameters.iter().find(|(_, value)| value.contains('\0')) {
            return Err(Refusal::argument(key, "has a NUL character"));
        }
        Ok(asked)
    }
}

impl Asked {
    /// The n-th name of the path, from 0.
    pub(crate) fn name(&self, n: usize) -> &str {
        self.names.get(n).map_or("", String::as_str)
    }

    pub(crate) fn workflow(&self) -> Result<WorkflowId, Refusal> {
        let id = self.name(0);
        id.parse().map_err(|_| Refusal::not_found(format!("workflow {id} does not exist")))
    }

    pub(crate) fn task(&self) -> Result<TaskId, Refusal> {
        task_id(self.name(0))
    }

    /// A parameter; none where it is absent or empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that may be given more than once.
    pub(crate) fn texts(&self, key: &str) -> Vec<&str> {
        let found = self.parameters.iter().filter(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).collect()
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let wrong = |_| Refusal::argument(key, format!("{text:?} is no number that fits"));
        text.parse().map(Some).map_err(wrong)
    }

    /// Whatever the letters' size, as some clients write `True`.
    pub(crate) fn flag(&self, key: &str, otherwise: bool) -> Result<bool, Refusal> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(otherwise),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Refusal::argument(key, format!("{other:?} is not true or false"))),
        }
    }
}

pub(crate) fn task_id(text: &str) -> Result<TaskId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found(format!("task {text} does not exist")))
}

/// A body, whatever its content type says.
#[derive(Debug)]
pub(crate) struct Given(Vec<u8>);

impl FromRequest<App> for Given {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, app: &App) -> Result<Self, Refusal> {
        Self::read(request, app.limits.body_bytes).await
    }
}

impl Given {
    /// A body of at most so many bytes.
    pub(crate) async fn read(request: Request<Body>, most: usize) -> Result<Self, Refusal> {
        let (mut given, mut length) = (Vec::new(), 0_usize);
        let mut parts = request.into_body().into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| {
                let text = format!("the body could not be read: {error}");
                Refusal::new(StatusCode::BAD_REQUEST, text)
            })?;
            length = length.saturating_add(part.len());
            if length <= most {
                given.extend_from_slice(&part);
            } else {
                // What still comes is let pass, since many clients read no answer before they have
                // sent all; but not without end.
                given = Vec::new();
                if length > most.saturating_mul(PASSED_OVER) {
                    break;
                }
            }
        }
        if length > most {
            let text = format!("the body has more than {most} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok(Self(given))
    }

    /// A JSON body.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if let Ok(read) = serde_json::from_slice(&self.0) {
            return Ok(read);
        }
        // Once more, for the place of what is wrong.
        let mut reader = serde_json::Deserializer::from_slice(&self.0);
        let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => "$".to_owned(),
                path => format!("$.{path}"),
            };
            Refusal::argument(&path, error.inner().to_string())
        })?;
        reader.end().map_err(|error| Refusal::argument("$", error.to_string()))?;
        Ok(read)
    }

    /// A JSON object; without a body an empty one.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Refusal> {
        if self.0.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        Ok(self.json::<Option<Map<String, Value>>>()?.unwrap_or_default())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A body as it came.
    pub(crate) fn as_text(&self) -> Result<&str, Refusal> {
        std::str::from_utf8(&self.0).map_err(|error| Refusal::argument("$", error.to_string()))
    }

    /// A body of text. What is a JSON string counts as what it says.
    pub(crate) fn text(&self) -> Result<String, Refusal> {
        let text = self.as_text()?;
        Ok(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()))
    }
}
