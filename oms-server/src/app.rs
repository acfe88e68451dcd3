//! What all handlers share.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use oms_engine::Engine;
use oms_tasks::orders::Orders;

use crate::access::Access;
use crate::mask::is_whole;
use crate::measured::{Looked, Recorder};
use crate::page::{Live, OrderDesk, QueueBoard};
use crate::polled::PolledQueues;
use crate::tls::Tls;

/// Bounds of what is taken in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The largest body in bytes (default 11 MiB: Conductor's largest workflow input, and some).
    pub body_bytes: usize,
    /// How long one request may take, beside the wait of a poll (default 35 s).
    pub request: Duration,
    /// How long the head of a request may take to come (default 15 s).
    pub head: Duration,
    /// Connections at once (default 20,000); further ones wait to be accepted.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 11 * 1024 * 1024,
            request: Duration::from_secs(35),
            head: Duration::from_secs(15),
            connections: 20_000,
        }
    }
}

/// How a server is set up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Bounds of what is taken in.
    pub limits: Limits,
    /// TLS for clients (default none).
    pub tls: Option<Tls>,
    /// Names of fields whose values are not shown (default none).
    pub masked: BTreeSet<String>,
    /// Origins whose web pages may call (default none).
    pub origins: Vec<HeaderValue>,
    /// Where the page reads orders (default nowhere). It shows them once their tables are there.
    pub orders: Option<Orders>,
    /// What `GET /metrics` shows (default none: 404). Installed before the engine was built.
    pub recorder: Option<Recorder>,
}

/// What all handlers share. Cheap to clone: every request has its own.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    /// What this server is called in error bodies.
    pub(crate) instance: String,
    pub(crate) limits: Limits,
    pub(crate) access: Arc<Access>,
    /// Names of fields whose values are not shown.
    pub(crate) masked: BTreeSet<String>,
    pub(crate) origins: Vec<HeaderValue>,
    /// Whether only this machine reaches the server, as far as that is known.
    pub(crate) loopback: bool,
    /// Whether clients come by TLS.
    pub(crate) tls: bool,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) looked: Looked,
    pub(crate) polls: PolledQueues,
    pub(crate) live: Arc<Live>,
    pub(crate) queues: QueueBoard,
    pub(crate) orders: Option<OrderDesk>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(engine: Engine, settings: Settings, loopback: bool) -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if name.trim().is_empty() { "oms" } else { name.trim() };
        Self(Arc::new(Shared {
            access: Arc::new(Access::new(engine.clone())),
            engine,
            instance: name.to_owned(),
            limits: settings.limits,
            masked: settings.masked,
            origins: settings.origins,
            loopback,
            tls: settings.tls.is_some(),
            recorder: settings.recorder,
            looked: Looked::default(),
            polls: PolledQueues::default(),
            live: Arc::default(),
            queues: QueueBoard::default(),
            orders: settings.orders.map(OrderDesk::new),
        }))
    }

    /// Whether fields are hidden in what an endpoint answers.
    pub(crate) fn hides(&self, path: &str) -> bool {
        !self.masked.is_empty() && !is_whole(path)
    }
}
