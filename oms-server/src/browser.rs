//! Web pages: which may call, and which may not.
//!
//! A browser lets any page send requests here, also to the loopback interface, and only keeps the
//! answers from it. A poll or a start is done by then. So what comes from a page of another origin
//! is refused unless that origin was named.

use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::HEADER;
use crate::app::App;
use crate::refusal::Refusal;

/// Tells pages of these origins that they may read the answers.
pub(crate) fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([CONTENT_TYPE, HeaderName::from_static(HEADER)])
}

/// Refuses what comes from a page that may not call.
pub(crate) fn keep_out(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    if is_foreign(headers, &app.origins) {
        app.access.count_foreign();
        let text =
            "a web page of another origin may not call this server: name it with --cors-origin";
        return Err(Refusal::forbidden(text));
    }
    Ok(())
}

fn is_foreign(headers: &HeaderMap, origins: &[HeaderValue]) -> bool {
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
