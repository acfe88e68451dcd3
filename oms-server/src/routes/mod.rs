//! The endpoints: one table, one file per resource.

mod admin;
mod bulk;
mod described;
mod events;
mod execute;
mod health;
mod metadata;
mod metrics;
mod openapi;
mod operate;
mod schedule_search;
mod schedules;
mod search;
mod search_tasks;
mod start;
mod tasks;
mod test_run;
mod token;
mod unsupported;
mod updates;
mod workflow;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;

pub use openapi::openapi;

use crate::access::{Needs, needs};
use crate::app::App;
use crate::browser::cors;
use crate::guard::Guarded;
use crate::refusal::Refusal;

/// What a handler gives.
type Answer = Result<Response, Refusal>;

/// One row of the table.
struct Route {
    method: Method,
    path: &'static str,
    handler: MethodRouter<App>,
    supported: bool,
}

macro_rules! route {
    ($method:ident $path:literal $handler:path) => {
        Route {
            method: axum::http::Method::$method,
            path: $path,
            handler: crate::routes::on(&axum::http::Method::$method, $path, $handler),
            supported: true,
        }
    };
}
use route;

/// A handler for one method, with what stands around it.
fn on<H, T>(method: &Method, path: &str, handler: H) -> MethodRouter<App>
where
    H: axum::handler::Handler<T, App>,
    T: 'static,
{
    use axum::routing;
    let handler = Guarded { handler, needs: needs(method, path) };
    match *method {
        Method::POST => routing::post(handler),
        Method::PUT => routing::put(handler),
        Method::DELETE => routing::delete(handler),
        _ => routing::get(handler),
    }
}

/// An endpoint that this server knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Endpoint {
    /// Its path, with names in braces.
    pub path: &'static str,
    /// Its method.
    pub method: String,
    /// Whether it does something; else it answers 501.
    pub supported: bool,
    /// The least role of the keys that may use it; none for everybody.
    pub role: Option<&'static str>,
}

/// All endpoints, by path.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let of = |route: Route| Endpoint {
        path: route.path,
        method: route.method.to_string(),
        supported: route.supported,
        role: match needs(&route.method, route.path) {
            Needs::Nothing => None,
            Needs::Role(role) => Some(role.as_str()),
            Needs::Scrape => Some(oms_engine::ApiRole::Read.as_str()),
        },
    };
    let mut all: Vec<Endpoint> = table().into_iter().map(of).collect();
    all.sort();
    all
}

fn table() -> Vec<Route> {
    let mut all = health::routes();
    all.extend(metrics::routes());
    all.extend(token::routes());
    all.extend(metadata::routes());
    all.extend(start::routes());
    all.extend(workflow::routes());
    all.extend(search::routes());
    all.extend(search_tasks::routes());
    all.extend(operate::routes());
    all.extend(execute::routes());
    all.extend(bulk::routes());
    all.extend(admin::routes());
    all.extend(openapi::routes());
    all.extend(events::routes());
    all.extend(schedules::routes());
    all.extend(schedule_search::routes());
    all.extend(tasks::routes());
    all.extend(updates::routes());
    all.extend(test_run::routes());
    all.extend(unsupported::routes());
    all
}

pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in table() {
        router = router.route(route.path, route.handler);
    }
    router = crate::page::routes(router);
    let open = Needs::Nothing;
    router = router
        .fallback(Guarded { handler: unknown, needs: open })
        .method_not_allowed_fallback(Guarded { handler: other_method, needs: open });
    if !app.origins.is_empty() {
        router = router.layer(cors(&app.origins));
    }
    router.with_state(app)
}

async fn unknown(request: Request) -> Refusal {
    let (method, path) = (request.method(), request.uri().path());
    Refusal::not_found(format!("there is no endpoint {method} {path}"))
}

async fn other_method(request: Request) -> Refusal {
    let text = format!("{} is not allowed for {}", request.method(), request.uri().path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// 200 without a body.
fn done() -> Response {
    StatusCode::OK.into_response()
}

/// 200 with text, as Conductor answers with ids.
fn text(text: impl Into<String>) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "text/plain;charset=UTF-8")], text.into()).into_response()
}

/// JSON.
fn bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| {
        let text = format!("the answer cannot be written: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    })
}

/// 200 with JSON.
fn json(value: &impl serde::Serialize) -> Answer {
    let bytes = bytes(value)?;
    let headers = [(axum::http::header::CONTENT_TYPE, "application/json")];
    Ok((headers, bytes).into_response())
}

/// 204.
fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
