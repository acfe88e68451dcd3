//! Endpoints of Conductor that this server knows and does not have.

use axum::extract::Request;

use super::{Route, route};
use crate::refusal::Refusal;

pub(super) fn routes() -> Vec<Route> {
    let all = vec![
        route!(GET "/api/workflow/externalstoragelocation" refuse),
        route!(POST "/api/workflow/{id}/messages" refuse),
        route!(GET "/api/tasks/externalstoragelocation" refuse),
        route!(GET "/api/queue" refuse),
        route!(GET "/api/queue/size" refuse),
        route!(GET "/api/secrets" refuse),
        route!(GET "/api/scheduler/admin/requeue" refuse),
        route!(GET "/api/scheduler/admin/pause" refuse),
        route!(GET "/api/scheduler/admin/resume" refuse),
    ];
    all.into_iter().map(|route| Route { supported: false, ..route }).collect()
}

async fn refuse(request: Request) -> Refusal {
    Refusal::unsupported(&format!("{} {}", request.method(), request.uri().path()))
}
