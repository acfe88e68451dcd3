//! Conductor's REST API on `oms-engine`.

mod app;
pub mod cli;
mod query;
mod refusal;
mod request;
mod routes;
mod serve;
mod shown;

pub use app::Limits;
pub use routes::{Endpoint, endpoints};
pub use serve::{Server, ServerError, serve};
