//! What Prometheus reads.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;

use super::{Answer, Route, route};
use crate::app::App;
use crate::measured::rendered;
use crate::refusal::Refusal;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/metrics" metrics)]
}

async fn metrics(State(app): State<App>) -> Answer {
    let Some(recorder) = &app.recorder else {
        return Err(Refusal::not_found("this server records no metrics"));
    };
    let text = rendered(&app, recorder).await;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
