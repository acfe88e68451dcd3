//! Tokens for keys.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Route, json as answer, route};
use crate::access::{NewSecret, TOKEN_GOOD_FOR, hash_of, is_of};
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
    let access = &app.access;
    let keys = access.keys().await?;
    if keys.is_empty() {
        return Err(Refusal::not_found("no token is needed: this server has no keys"));
    }
    let credentials: Credentials = Given::read(request, BODY_BYTES_MAX).await?.json()?;
    let key = keys.get(&credentials.key_id);
    // The same for an id that there is not and a secret that is wrong.
    let good = is_of(key.map_or(&[], |key| &key.secret_hash), &credentials.key_secret);
    let key = key.filter(|_| good).ok_or_else(|| access.refuse("keyId or keySecret is wrong"))?;
    let drawn = NewSecret::draw().map_err(|error| Refusal::busy(format!("no token: {error}")))?;
    let token = format!("{}.{}", key.id, drawn.0);
    // The database knows best whether the key has been revoked meanwhile.
    if !app.engine.put_api_token(&hash_of(&token), &key.id, TOKEN_GOOD_FOR).await? {
        return Err(access.refuse("the key is revoked"));
    }
    answer(&json!({ "token": token }))
}
