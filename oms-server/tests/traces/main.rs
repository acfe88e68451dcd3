//! Traces over the wire: engines in processes of their own, and a collector that is there, away, or silent.
#![cfg(feature = "otel")]
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]
#![expect(clippy::indexing_slicing, reason = "JSON of the tests' own making")]

mod collector;
mod one_trace;
mod server;
mod silence;
mod worker;
