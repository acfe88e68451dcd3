//! The page: what runs, in a browser. It is rendered here; its one script only asks for the same
//! pages again when something has changed, copies, and is not needed.

mod act;
mod assets;
mod definitions;
mod entry;
mod fact;
mod forks;
mod frame;
mod live;
mod look;
mod orders;
mod overview;
mod payload;
mod picture;
mod queues;
mod run;
mod runs;
mod session;
mod spent;
mod start;
mod task;
mod text;
mod timeline;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use oms_engine::{ApiRole, Engine};

use crate::app::{App, Settings};
use crate::refusal::Refusal;
use entry::{Entry, Needs};
pub(crate) use live::Live;
pub(crate) use orders::OrderDesk;
pub(crate) use queues::QueueBoard;

/// What a handler of the page gives.
type Answer = Result<axum::response::Response, Refusal>;

/// The page, to be mounted in any axum program: at its root, or below a path by `nest`.
///
/// Who may look and act is asked as by [`serve`](crate::serve()): everybody while the database has no
/// key. Of the settings those of TLS and origins have no effect here, but for the cookie's `Secure`
/// where there is TLS.
///
/// ```no_run
/// # async fn example(engine: oms_engine::Engine) -> std::io::Result<()> {
/// let page = oms_server::page(engine, oms_server::Settings::default());
/// let program = axum::Router::new().nest("/workflows", page);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, program).await
/// # }
/// ```
pub fn page(engine: Engine, settings: Settings) -> Router {
    routes(Router::new()).with_state(App::new(engine, settings, false))
}

/// With the routes of the page.
pub(crate) fn routes(router: Router<App>) -> Router<App> {
    let read = Needs::Role(ApiRole::Read);
    router
        .route("/", get(Entry { needs: read, work: runs::runs }))
        .route("/runs/{id}", get(Entry { needs: read, work: run::run }))
        .route("/runs/{id}/json", get(Entry { needs: read, work: run::json }))
        .route(
            "/runs/{id}/operate",
            post(Entry { needs: Needs::Role(ApiRole::Admin), work: act::operate }),
        )
        .route(
            "/runs/{id}/signal",
            post(Entry { needs: Needs::Role(ApiRole::Work), work: act::signal }),
        )
        .route("/definitions", get(Entry { needs: read, work: definitions::list }))
        .route("/definitions/{name}/{version}", get(Entry { needs: read, work: definitions::one }))
        .route(
            "/definitions/{name}/{version}/json",
            get(Entry { needs: read, work: definitions::json }),
        )
        .route("/queues", get(Entry { needs: read, work: queues::queues }))
        .route("/engines", get(Entry { needs: read, work: overview::engines }))
        .route("/schedules", get(Entry { needs: read, work: overview::schedules }))
        .route("/orders", get(Entry { needs: read, work: orders::list }))
        .route("/orders/{id}", get(Entry { needs: read, work: orders::one }))
        .route("/orders/{id}/json", get(Entry { needs: read, work: orders::json }))
        .route("/start", begin())
        .route("/live", get(Entry { needs: read, work: live::live }))
        .route("/sign-in", sign_in())
        .route("/sign-out", post(Entry { needs: Needs::Nothing, work: session::sign_out }))
        .route("/page/{file}", get(Entry { needs: Needs::Nothing, work: assets::file }))
}

fn begin() -> MethodRouter<App> {
    let work = Needs::Role(ApiRole::Work);
    get(Entry { needs: work, work: start::form }).post(Entry { needs: work, work: start::start })
}

fn sign_in() -> MethodRouter<App> {
    get(Entry { needs: Needs::Nothing, work: session::form })
        .post(Entry { needs: Needs::Nothing, work: session::sign_in })
}
