//! What stands before and behind every handler: who may ask, how long it may take, what is shown of
//! the answer, and who says why a request was refused. One wrapper rather than a layer for each,
//! since each layer costs every request a box and a clone of what stands behind it.

use std::pin::Pin;

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use crate::access::Needs;
use crate::app::App;
use crate::browser::keep_out;
use crate::mask::mask;
use crate::refusal::{Refusal, Refused};

/// A handler with what stands around it.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<H> {
    pub(crate) handler: H,
    pub(crate) needs: Needs,
}

impl<T: 'static, H: Handler<T, App>> Handler<T, App> for Guarded<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        Box::pin(async move {
            let asked = (request.method().clone(), request.uri().clone());
            let response = self.answer(request, &app).await;
            match response.extensions().get::<Refused>() {
                Some(Refused(refusal)) => told(refusal, &asked, &app),
                None => response,
            }
        })
    }
}

impl<H> Guarded<H> {
    async fn answer<T: 'static>(self, request: Request, app: &App) -> Response
    where
        H: Handler<T, App>,
    {
        if let Err(refusal) = keep_out(app, request.headers()).await {
            return refusal.into_response();
        }
        let hides = app.hides(request.uri().path());
        let deadline = app.limits.request;
        let answered = tokio::time::timeout(deadline, async {
            let admitted = match self.needs {
                Needs::Nothing => Ok(()),
                Needs::Role(role) => app.access.admit(request.headers(), role).await,
                Needs::Scrape => app.access.admit_scrape(request.headers()).await,
            };
            if let Err(refusal) = admitted {
                return refusal.into_response();
            }
            self.handler.call(request, app.clone()).await
        });
        match answered.await {
            Ok(response) if hides => mask(&app.masked, response).await,
            Ok(response) => response,
            Err(_) => {
                let text = format!("there was no answer within {deadline:?}");
                Refusal::busy(text).into_response()
            }
        }
    }
}

/// Conductor's error body, which says who refused.
fn told(refusal: &Refusal, (method, uri): &(Method, Uri), app: &App) -> Response {
    let (status, reason, path) = (refusal.status, &refusal.message, uri.path());
    if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        tracing::warn!(%status, reason, "refused: {method} {path}");
    } else {
        tracing::debug!(%status, reason, "refused: {method} {path}");
    }
    refusal.body(&app.instance)
}
