//! Orders on the engine: taken to their end, undone, and charged once, with the sandbox's ledger
//! as the witness.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "a worker that says it is there")]

#[path = "../common/mod.rs"]
mod common;

mod cancelling;
mod deliveries;
mod failing;
mod late;
mod returns;
mod shop;
mod v2;
mod warehouses;
mod whole;
mod windows;
