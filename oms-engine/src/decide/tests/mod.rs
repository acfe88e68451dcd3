//! The decider's laws over random definitions and outcomes, and Conductor's rules as tables.
//!
//! A model in memory drives it: virtual time, one run, no database.

mod edges;
mod laws;
mod limits;
mod memory;
mod model;
mod nesting;
mod nonsense;
mod play;
mod random;
mod rules;
mod undo;
