//! What stands around every handler of the page: who asks, from where, how long it may take, and
//! what a browser may do with the answer.

use std::pin::Pin;

use axum::extract::{FromRequestParts as _, OriginalUri, Request};
use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use oms_engine::{ApiRole, WorkflowId};

use super::Answer;
use super::frame::{again, failed};
use super::orders::OrderDesk;
use super::session::{renewed, token_of};
use super::text::link;
use crate::access::Caller;
use crate::app::App;
use crate::browser::{is_of_host, keep_names_out};
use crate::refusal::Refusal;
use crate::request::{Asked, Given};

/// Forms are small, but for an input of a run.
const FORM_BYTES_MAX: usize = 8 << 20;

/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Who may ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    Nothing,
    Role(ApiRole),
}

/// A handler with what stands around it.
#[derive(Clone, Debug)]
pub(super) struct Entry<W> {
    pub(super) needs: Needs,
    pub(super) work: W,
}

/// A request to the page that may be answered.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) app: App,
    /// What stands before the page's own paths.
    pub(super) base: String,
    /// Whose key it came with; none while there are no keys, or where none is needed.
    pub(super) caller: Option<Caller>,
    /// Whether there are orders to look at.
    pub(super) orders: bool,
    pub(super) asked: Asked,
    form: Vec<(String, String)>,
}

impl Visit {
    pub(super) fn id(&self) -> Result<WorkflowId, Refusal> {
        self.asked.workflow()
    }

    /// A field of a form; none where it is absent or blank.
    pub(super) fn field(&self, key: &str) -> Option<&str> {
        let found = self.form.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// A path of the page with parameters.
    pub(super) fn link(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        link(&self.base, path, parameters)
    }
}

impl<W, F> Handler<((),), App> for Entry<W>
where
    W: FnOnce(Visit) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        Box::pin(async move {
            let base = base_of(&request);
            let (method, headers) = (request.method().clone(), request.headers().clone());
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let deadline = app.limits.request;
            let orders = app.orders.as_ref().is_some_and(OrderDesk::was_open);
            let answered = tokio::time::timeout(deadline, self.answer(request, app, base.clone()));
            let answer = answered.await.unwrap_or_else(|_| {
                Err(Refusal::busy(format!("there was no answer within {deadline:?}")))
            });
            let mut response = match answer {
                Ok(response) => response,
                Err(refusal) => told(&refusal, (&method, &path, &headers), (&base, orders)),
            };
            protect(response.headers_mut());
            response
        })
    }
}

impl<W, F> Entry<W>
where
    W: FnOnce(Visit) -> F,
    F: Future<Output = Answer>,
{
    async fn answer(self, request: Request, app: App, base: String) -> Answer {
        let (mut parts, body) = request.into_parts();
        keep_names_out(&app, &parts.headers).await?;
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        if !is_welcome(&parts.headers, changes) {
            app.access.count_foreign();
            return Err(Refusal::forbidden("this was asked by a web page of another origin"));
        }
        let caller = match self.needs {
            Needs::Nothing => None,
            Needs::Role(role) => {
                let token = token_of(&parts.headers);
                app.access.admit_token(token.as_ref(), role).await?
            }
        };
        let headers = parts.headers.clone();
        let asked = Asked::from_request_parts(&mut parts, &app).await?;
        let mut form = Vec::new();
        if changes {
            let request = Request::from_parts(parts, body);
            let given = Given::read(request, FORM_BYTES_MAX).await?;
            let read = form_urlencoded::parse(given.as_bytes());
            form = read.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
            if form.iter().any(|(_, value)| value.contains('\0')) {
                return Err(Refusal::argument("form", "has a NUL character"));
            }
        }
        let orders = match (&app.orders, self.needs) {
            (Some(desk), Needs::Role(_)) => desk.is_open().await,
            _ => false,
        };
        let renewed = match caller {
            Some(_) => renewed(&app, &base, &headers).await,
            None => None,
        };
        let visit = Visit { app, base, caller, orders, asked, form };
        let mut response = (self.work)(visit).await?;
        if let Some(cookie) = renewed {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// What the program that the page is mounted in has put before its paths.
fn base_of(request: &Request) -> String {
    let own = request.uri().path();
    let Some(OriginalUri(whole)) = request.extensions().get::<OriginalUri>() else {
        return String::new();
    };
    let base = whole.path().strip_suffix(own).unwrap_or_else(|| whole.path());
    base.trim_end_matches('/').to_owned()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What changes something must come from a page of ours, and must say so: a cookie comes with what
/// other pages send, too. What only looks may also come by a link from anywhere.
fn is_welcome(headers: &HeaderMap, changes: bool) -> bool {
    let site = text(headers, "sec-fetch-site");
    let origin = headers.get(ORIGIN).map(|origin| is_of_host(origin, headers));
    if changes {
        return match site {
            Some(site) => site == "same-origin" && origin != Some(false),
            None => origin == Some(true),
        };
    }
    let follows_link = text(headers, "sec-fetch-mode") == Some("navigate")
        && text(headers, "sec-fetch-dest") == Some("document");
    let is_foreign = matches!(site, Some("cross-site" | "same-site")) || origin == Some(false);
    !is_foreign || follows_link
}

/// How a browser is told what was refused.
fn told(
    refusal: &Refusal,
    (method, path, headers): (&Method, &str, &HeaderMap),
    (base, orders): (&str, bool),
) -> Response {
    let (status, reason) = (refusal.status, &refusal.message);
    if status.is_server_error() {
        tracing::warn!(%status, reason, "refused: {method} {path}");
    } else {
        tracing::debug!(%status, reason, "refused: {method} {path}");
    }
    let looks = *method == Method::GET && text(headers, "sec-fetch-dest") != Some("empty");
    if status == StatusCode::UNAUTHORIZED && looks {
        // The cookie does not come with a link from elsewhere, but with what our own page asks.
        if text(headers, "sec-fetch-site") == Some("cross-site") {
            return again(base).unwrap_or_else(|refusal| refusal.status.into_response());
        }
        return to(&link(base, "/sign-in", &[("to", path)]));
    }
    failed((base, orders), refusal)
}

/// Sends a browser elsewhere.
pub(super) fn to(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn protect(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(CACHE_CONTROL, "no-store");
    set(HeaderName::from_static("x-content-type-options"), "nosniff");
    // With none at all a form would be sent without an origin.
    set(HeaderName::from_static("referrer-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}
