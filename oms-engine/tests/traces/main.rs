//! Traces: each run knows which one it belongs to, whoever started it and wherever its tasks run.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "../common/mod.rs"]
mod common;

mod family;
