//! Who asks, for what is recorded of operations.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use oms_engine::{ApiRole, Engine, Operator};

use crate::access::HEADER;
use crate::app::App;
use crate::refusal::Refusal;

/// The other end of a connection, put into each request that comes by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whoever asks for an operation: the key that it came with, or where it came from. Only operations read
/// it; starts, polls and reports of workers are nobody's operations.
#[derive(Debug)]
pub(crate) struct Asker {
    engine: Engine,
    who: String,
}

impl FromRequestParts<App> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let token = parts.headers.get(HEADER);
        let who = match app.access.admit_token(token, ApiRole::Read).await? {
            Some(caller) => caller.to_string(),
            None => match parts.extensions.get::<Peer>() {
                Some(Peer(address)) => format!("anonymous, from {}", address.ip()),
                None => "anonymous".to_owned(),
            },
        };
        Ok(Self { engine: app.engine.clone(), who })
    }
}

impl Asker {
    /// The engine, through which what is done is recorded with who asked and the reason that was given,
    /// if any was.
    pub(crate) fn engine(&self, reason: &str) -> Result<Engine, Refusal> {
        let operator = match reason.trim() {
            "" => Operator::without_reason(&self.who)?,
            _ => Operator::new(&self.who, reason)?,
        };
        Ok(self.engine.on_behalf_of(operator))
    }
}
