//! The stylesheet, the script and the icon. They are part of the program.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse as _;

use super::Answer;
use super::entry::Visit;
use crate::access::hash_of;
use crate::refusal::Refusal;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// Changes with their contents, so that a browser may keep them.
pub(super) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let hash = hash_of(&[STYLE, SCRIPT, ICON].concat());
        hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    });
    VERSION.as_str()
}

pub(super) async fn file(visit: Visit) -> Answer {
    let (kind, text) = match visit.asked.name(0) {
        "page.css" => ("text/css; charset=utf-8", STYLE),
        "page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        other => return Err(Refusal::not_found(format!("there is no file {other}"))),
    };
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, keep)];
    Ok((headers, text).into_response())
}
