//! What a request is refused with: Conductor's error body.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use oms_engine::Error;
use serde::Serialize;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) retryable: bool,
    /// What SDKs go by when a token is refused.
    code: Option<&'static str>,
    faults: Vec<FieldFault>,
}

#[derive(Clone, Debug, Serialize)]
struct FieldFault {
    path: String,
    message: String,
}

/// Conductor's error body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    status: u16,
    message: &'a str,
    instance: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    validation_errors: &'a [FieldFault],
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retryable: false, code: None, faults: Vec::new() }
    }

    /// An argument that is wrong.
    pub(crate) fn argument(path: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let fault = FieldFault { path: path.to_owned(), message: message.clone() };
        let text = format!("{path}: {message}");
        Self { faults: vec![fault], ..Self::new(StatusCode::BAD_REQUEST, text) }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Whoever sent it is not known.
    pub(crate) fn unknown(message: impl Into<String>, code: Option<&'static str>) -> Self {
        Self { code, ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// Whoever sent it may not.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// Something that Conductor does and this server does not.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not supported by this server"))
    }

    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    pub(crate) fn body(&self, instance: &str) -> Response {
        let body = ErrorBody {
            status: self.status.as_u16(),
            message: &self.message,
            instance,
            retryable: self.retryable,
            error: self.code,
            validation_errors: &self.faults,
        };
        (self.status, Json(body)).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match &error {
            Error::InvalidDefinition { faults } => {
                let faults = faults.iter().map(|fault| FieldFault {
                    path: fault.path.clone(),
                    message: fault.message.clone(),
                });
                let faults = faults.collect();
                Self { faults, ..Self::new(StatusCode::BAD_REQUEST, message) }
            }
            Error::InvalidInput { what, reason } => Self {
                faults: vec![FieldFault { path: what.clone(), message: reason.clone() }],
                ..Self::new(StatusCode::BAD_REQUEST, message)
            },
            Error::DefinitionNotFound { .. }
            | Error::WorkflowNotFound(_)
            | Error::TaskNotFound(_)
            | Error::TaskDefinitionNotFound { .. }
            | Error::ScheduleNotFound { .. }
            | Error::SchemaNotFound { .. }
            | Error::InvalidId(_) => Self::not_found(message),
            Error::Conflict { .. }
            | Error::DefinitionExists { .. }
            | Error::IdempotencyConflict { .. }
            | Error::IdempotencyKeyUsed { .. } => Self::new(StatusCode::CONFLICT, message),
            Error::TooWide { .. } => Self::new(StatusCode::BAD_REQUEST, message),
            Error::Shutdown => Self::busy(message),
            _ if error.is_retryable() => Self::busy(message),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl From<oms_tasks::Error> for Refusal {
    fn from(error: oms_tasks::Error) -> Self {
        if error.is_retryable() {
            Self::busy(error.to_string())
        } else {
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

/// A refusal on its way out; whoever knows what this server is called writes its body.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Arc<Refusal>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Refused(Arc::new(self)));
        response
    }
}
