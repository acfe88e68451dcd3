//! What all pages have around them, and the pages that say what went wrong.

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::entry::Visit;
use super::{Answer, assets};
use crate::refusal::Refusal;

/// What all pages have around them.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) base: String,
    /// Which part of the page it is.
    pub(super) section: &'static str,
    /// Whose key it is.
    pub(super) who: Option<String>,
    /// Whether there are orders to look at.
    pub(super) orders: bool,
    pub(super) version: &'static str,
}

impl Frame {
    pub(super) fn of(visit: &Visit, section: &'static str) -> Self {
        let who = visit.caller.as_ref().map(ToString::to_string);
        Self { who, orders: visit.orders, ..Self::bare(&visit.base, section) }
    }

    pub(super) fn bare(base: &str, section: &'static str) -> Self {
        let version = assets::version();
        Self { base: base.to_owned(), section, who: None, orders: false, version }
    }
}

/// A page.
pub(super) fn html(page: &impl Template) -> Answer {
    let text = page.render().map_err(|error| {
        let text = format!("the page cannot be written: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    })?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

#[derive(Template)]
#[template(path = "page/failed.html")]
struct Failed<'a> {
    frame: Frame,
    status: u16,
    what: &'static str,
    message: &'a str,
}

/// A page that says why something was not done.
pub(super) fn failed((base, orders): (&str, bool), refusal: &Refusal) -> Response {
    let what = match refusal.status {
        StatusCode::NOT_FOUND => "This is not here",
        StatusCode::CONFLICT => "Its state does not allow that",
        StatusCode::FORBIDDEN => "You may not do that",
        StatusCode::UNAUTHORIZED => "Sign in first",
        status if status.is_server_error() => "That did not work",
        _ => "That was not understood",
    };
    let status = refusal.status.as_u16();
    let frame = Frame { orders, ..Frame::bare(base, "") };
    let page = Failed { frame, status, what, message: &refusal.message };
    match html(&page) {
        Ok(page) => (refusal.status, page).into_response(),
        Err(_) => refusal.status.into_response(),
    }
}

#[derive(Template)]
#[template(path = "page/again.html")]
struct Again {
    frame: Frame,
}

/// Has the browser ask once more, now from a page of ours.
pub(super) fn again(base: &str) -> Answer {
    html(&Again { frame: Frame::bare(base, "") })
}
