//! Endpoints of Conductor that this server knows and does not have.

use axum::extract::Request;

use super::{Route, route};
use crate::refusal::Refusal;

pub(super) fn routes() -> Vec<Route> {
    let all = vec![
        route!(POST "/api/workflow/execute/{name}/{version}" refuse),
        route!(DELETE "/api/workflow/{id}/remove" refuse),
        route!(DELETE "/api/workflow/{id}/terminate-remove" refuse),
        route!(GET "/api/workflow/externalstoragelocation" refuse),
        route!(POST "/api/workflow/test" refuse),
        route!(POST "/api/workflow/{id}/messages" refuse),
        route!(DELETE "/api/workflow/bulk/remove" refuse),
        route!(DELETE "/api/workflow/bulk/terminate-remove" refuse),
        route!(POST "/api/tasks/{id}/{status}/signal" refuse),
        route!(POST "/api/tasks/{id}/{status}/signal/sync" refuse),
        route!(GET "/api/tasks/queue/all/verbose" refuse),
        route!(GET "/api/tasks/queue/polldata" refuse),
        route!(GET "/api/tasks/queue/polldata/all" refuse),
        route!(POST "/api/tasks/queue/requeue/{type}" refuse),
        route!(GET "/api/tasks/externalstoragelocation" refuse),
        route!(GET "/api/queue" refuse),
        route!(GET "/api/queue/size" refuse),
        route!(POST "/api/queue/update/{id}/{reference}/{status}" refuse),
        route!(POST "/api/queue/update/{id}/task/{task}/{status}" refuse),
        route!(GET "/api/admin/config" refuse),
        route!(GET "/api/admin/task/{type}" refuse),
        route!(POST "/api/admin/sweep/requeue/{id}" refuse),
        route!(POST "/api/admin/consistency/verifyAndRepair/{id}" refuse),
        route!(GET "/api/admin/queues" refuse),
        route!(GET "/api/environment" refuse),
        route!(GET "/api/environment/{key}" refuse),
        route!(GET "/api/secrets" refuse),
        route!(GET "/api/scheduler/admin/requeue" refuse),
        route!(GET "/api/scheduler/admin/pause" refuse),
        route!(GET "/api/scheduler/admin/resume" refuse),
        route!(PUT "/api/scheduler/bulk/pause" refuse),
        route!(PUT "/api/scheduler/bulk/resume" refuse),
    ];
    all.into_iter().map(|route| Route { supported: false, ..route }).collect()
}

async fn refuse(request: Request) -> Refusal {
    Refusal::unsupported(&format!("{} {}", request.method(), request.uri().path()))
}
