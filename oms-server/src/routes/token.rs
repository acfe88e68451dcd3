//! Tokens for keys.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Route, json as answer, route};
use crate::app::App;
use crate::refusal::Refusal;
use crate::request::Given;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/token" token)]
}

/// Whoever asks is not known yet, so he gets no more room than a key and its secret need.
const BODY_BYTES_MAX: usize = 4_096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    key_id: String,
    key_secret: String,
}

/// Without keys it is not there, so that clients which have one go on without a token.
async fn token(State(app): State<App>, request: Request) -> Answer {
    // Before the body is read.
    if app.access.keys().await?.is_empty() {
        return Err(Refusal::not_found("no token is needed: this server has no keys"));
    }
    let asked: Credentials = Given::read(request, BODY_BYTES_MAX).await?.json()?;
    let token = app.access.give_token(&asked.key_id, &asked.key_secret).await?;
    answer(&json!({ "token": token }))
}
