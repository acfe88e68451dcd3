//! Traces: W3C trace context, and where each run stands in its trace.

mod context;
mod lineage;
#[cfg(feature = "otel")]
mod otel;
mod spans;

pub use context::{InvalidTraceparent, TraceContext};
pub(crate) use lineage::Lineage;
#[cfg(feature = "otel")]
pub use otel::EngineSpans;
pub(crate) use spans::{Attempt, Ended, attempt, batch as batch_span, went};
