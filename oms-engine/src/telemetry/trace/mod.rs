//! Traces: W3C trace context, and where each run stands in its trace.

mod context;
mod lineage;

pub use context::{InvalidTraceparent, TraceContext};
pub(crate) use lineage::Lineage;
