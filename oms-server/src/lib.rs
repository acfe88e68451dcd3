//! Conductor's REST API on `oms-engine`.

mod access;
mod app;
mod asker;
mod browser;
pub mod cli;
mod graph;
mod guard;
mod mask;
mod measured;
mod page;
mod polled;
mod query;
mod refusal;
mod request;
mod routes;
mod serve;
mod shown;
mod tls;
mod traced;
#[cfg(feature = "otel")]
mod traces;

pub use access::Refusals;
pub use app::{Limits, Settings};
pub use measured::{METRICS, Recorder, RecorderError};
pub use page::page;
pub use routes::{Endpoint, endpoints, openapi};
pub use serve::{Server, ServerError, serve};
pub use tls::{Tls, TlsError};
#[cfg(feature = "otel")]
pub use traces::{Traces, TracesError};
