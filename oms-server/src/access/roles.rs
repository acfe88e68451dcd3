//! Which role an endpoint needs.
//!
//! By rules rather than endpoint by endpoint, so that a new one has a role from the start: what is
//! not known to be harmless needs the highest.

use axum::http::Method;
use oms_engine::ApiRole;

/// What an endpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Whoever asks is answered.
    Nothing,
    /// A key of this role or a higher one.
    Role(ApiRole),
    /// A key that may read, by token or by the key itself: what scrapes cannot ask for tokens.
    Scrape,
}

/// What load balancers and clients ask before they have a token.
const OPEN: [&str; 4] = ["/health", "/api/health", "/api/version", "/api/token"];

/// Requests with a body that change nothing.
const READING: [&str; 3] = [
    "/api/metadata/workflow/validate",
    "/api/workflow/{id}/correlated",
    "/api/workflow/bulk/search",
];

/// What those do who start workflows and tell them of what happened.
const STARTING: [&str; 5] = [
    "/api/workflow",
    "/api/workflow/{id}",
    "/api/workflow/execute/{name}/{version}",
    "/api/workflow/test",
    "/api/workflow/{id}/messages",
];

/// What tells of the server itself, and GETs that change something.
const ADMIN: [&str; 4] = ["/api/admin", "/api/scheduler/admin", "/api/environment", "/api/secrets"];

pub(crate) fn needs(method: &Method, path: &str) -> Needs {
    let is_below = |parent: &str| {
        path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if OPEN.contains(&path) {
        return Needs::Nothing;
    }
    if path == "/metrics" {
        return Needs::Scrape;
    }
    let posts = *method == Method::POST;
    Needs::Role(if ADMIN.into_iter().any(is_below) {
        ApiRole::Admin
    } else if is_below("/api/tasks/poll") {
        // A poll takes tasks.
        ApiRole::Work
    } else if *method == Method::GET || (posts && READING.contains(&path)) {
        ApiRole::Read
    } else if posts && is_below("/api/tasks/queue") {
        ApiRole::Admin
    } else if posts
        && (STARTING.contains(&path) || is_below("/api/tasks") || is_below("/api/queue/update"))
    {
        ApiRole::Work
    } else {
        ApiRole::Admin
    })
}
