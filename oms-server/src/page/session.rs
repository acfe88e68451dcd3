//! Signing in: the key that clients of the API have gets a browser the same token, in a cookie that
//! no script sees and no other site sends.

use askama::Template;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse as _;

use super::Answer;
use super::entry::{Visit, to};
use super::frame::{Frame, html};
use crate::access::{HEADER, TOKEN_GOOD_FOR};
use crate::app::App;
use crate::refusal::Refusal;

const NAME: &str = "oms_token";

#[derive(Template)]
#[template(path = "page/sign_in.html")]
struct SignIn {
    frame: Frame,
    to: String,
    /// What was wrong.
    message: Option<String>,
    key_id: String,
}

/// The token of a request: of its header, as clients of the API send it, or of its cookie.
pub(super) fn token_of(headers: &HeaderMap) -> Option<HeaderValue> {
    if let Some(token) = headers.get(HEADER) {
        return Some(token.clone());
    }
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut all = all.flat_map(|value| value.split(';'));
    let token = all.find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))?;
    HeaderValue::from_str(token).ok()
}

/// A path of this page; never an address of another.
fn own_path(path: Option<&str>) -> String {
    let path = path.unwrap_or("/");
    let is_own = path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte > b' ' && byte != b'\\' && byte < 0x7f);
    if is_own { path.to_owned() } else { "/".to_owned() }
}

pub(super) async fn form(visit: Visit) -> Answer {
    let page = SignIn {
        frame: Frame::of(&visit, "sign-in"),
        to: own_path(visit.asked.text("to")),
        message: None,
        key_id: String::new(),
    };
    html(&page)
}

pub(super) async fn sign_in(visit: Visit) -> Answer {
    let path = own_path(visit.field("to"));
    let key_id = visit.field("key").unwrap_or_default().to_owned();
    let secret = visit.field("secret").unwrap_or_default();
    match visit.app.access.sign_in(&key_id, secret).await {
        Ok(token) => {
            let mut response = to(&format!("{}{path}", visit.base));
            let seconds = TOKEN_GOOD_FOR.as_secs();
            response
                .headers_mut()
                .append(SET_COOKIE, cookie((&visit.base, visit.app.tls), &token, seconds)?);
            Ok(response)
        }
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(to(&visit.link("/", &[]))),
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
            let (frame, message) = (Frame::of(&visit, "sign-in"), Some(refusal.message));
            let page = html(&SignIn { frame, to: path, message, key_id })?;
            Ok((StatusCode::UNAUTHORIZED, page).into_response())
        }
        Err(refusal) => Err(refusal),
    }
}

/// The cookie goes; the token is good for nothing without it and ends by itself.
pub(super) async fn sign_out(visit: Visit) -> Answer {
    let mut response = to(&visit.link("/sign-in", &[]));
    response.headers_mut().append(SET_COOKIE, cookie((&visit.base, visit.app.tls), "", 0)?);
    Ok(response)
}

/// The cookie that takes the place of one that was used, where it is time for that. A failure leaves what
/// there is.
pub(super) async fn renewed(app: &App, base: &str, headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.contains_key(HEADER) {
        return None;
    }
    let token = token_of(headers)?;
    match app.access.renewed(token.to_str().ok()?).await {
        Ok(renewed) => {
            let (token, good_for) = renewed?;
            cookie((base, app.tls), &token, good_for.as_secs()).ok()
        }
        Err(refusal) => {
            tracing::debug!(refusal.message, "a sign-in could not be renewed");
            None
        }
    }
}

fn cookie((base, tls): (&str, bool), token: &str, seconds: u64) -> Result<HeaderValue, Refusal> {
    let path = if base.is_empty() { "/" } else { base };
    let secure = if tls { "; Secure" } else { "" };
    let text = format!(
        "{NAME}={token}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::from_str(&text).map_err(|_| Refusal::argument("key", "is no key of this server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_signed_in_is_sent_to_a_path_of_this_page_alone() {
        for (asked, sent) in [
            ("/runs/1?task=a%20b", "/runs/1?task=a%20b"),
            ("//evil.example.com", "/"),
            ("/\\evil.example.com", "/"),
            ("https://evil.example.com", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("", "/"),
        ] {
            assert_eq!(own_path(Some(asked)), sent, "{asked}");
        }
    }

    #[test]
    fn a_token_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        let other = HeaderValue::from_static("xoms_token=no; a=b; oms_token=k.s; c=d");
        headers.insert(COOKIE, other);
        assert_eq!(token_of(&headers).unwrap(), "k.s");
        headers.insert(HEADER, HeaderValue::from_static("h"));
        assert_eq!(token_of(&headers).unwrap(), "h");
    }
}
