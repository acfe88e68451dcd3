//! Whether it works, and which version it is.

use axum::extract::State;
use serde_json::json;

use super::{Answer, Route, json as answer, route, text};
use crate::app::App;
use crate::refusal::Refusal;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/health" health),
        route!(GET "/api/health" health),
        route!(GET "/api/version" version),
    ]
}

/// 503 while the database cannot be reached.
async fn health(State(app): State<App>) -> Answer {
    app.engine.check().await.map_err(|error| Refusal::busy(format!("not healthy: {error}")))?;
    answer(&json!({ "healthy": true, "healthResults": [], "suppressedHealthResults": false }))
}

async fn version() -> Answer {
    Ok(text(env!("CARGO_PKG_VERSION")))
}
