//! What the engine does for those who embed it, each module on one subject.
//!
//! One program, since most tests wait for something: side by side they wait at once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test or its helper does not find fails it"
)]

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod begun_together;
mod compensation;
mod documents;
mod domains;
mod env;
mod events;
mod explain;
mod failure_workflow;
mod http;
mod inputs;
mod joined_outputs;
mod lease;
mod limits;
mod line;
mod list;
mod nesting;
mod operate;
mod restart;
mod retention;
mod retries;
mod roles;
mod schedules;
mod schemas;
mod search;
mod shutdown;
mod sql;
mod start;
mod start_sql;
mod steps;
mod throughput;
mod timeouts;
mod transactional;
