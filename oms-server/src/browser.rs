//! Web pages: which may call, and which may not.
//!
//! A browser lets any page send requests here, also to the loopback interface, and only keeps the
//! answers from it. A poll or a start is done by then. So what comes from a page of another origin
//! is refused unless that origin was named.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::{Access, HEADER};
use crate::refusal::Refusal;

/// Tells pages of these origins that they may read the answers.
pub(crate) fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([CONTENT_TYPE, HeaderName::from_static(HEADER)])
}

pub(crate) async fn keep_out(
    State((access, origins)): State<(Arc<Access>, Arc<[HeaderValue]>)>,
    request: Request,
    next: Next,
) -> Response {
    if is_foreign(&request, &origins) {
        access.count_foreign();
        let text =
            "a web page of another origin may not call this server: name it with --cors-origin";
        return Refusal::forbidden(text).into_response();
    }
    next.run(request).await
}

fn is_foreign(request: &Request, origins: &[HeaderValue]) -> bool {
    let headers = request.headers();
    if let Some(origin) = headers.get(ORIGIN) {
        if origins.contains(origin) {
            return false;
        }
        // A page that this server gave, or one behind the same name.
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let of = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        return of.is_none_or(|(_, of)| of != host);
    }
    // Images and links come without an origin.
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
}
