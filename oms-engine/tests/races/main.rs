//! Races between live sessions: engines, operators, callers' transactions.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "../common/mod.rs"]
mod common;

mod claims;
mod family;
mod forks;
mod leases;
mod session;
mod signals;
mod starts;
mod taken;
mod tasks;
