//! What listens to the engine's spans: a subscriber of `tracing`, and OpenTelemetry.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]
#![expect(clippy::indexing_slicing, reason = "JSON of the tests' own making")]

#[path = "../common/mod.rs"]
mod common;

mod otel;
mod spans;

/// A trace that somebody else began, and the span there that runs stand below.
const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
