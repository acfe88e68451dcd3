//! A worker and an `oms server`, with a stand-in for the network between them that does harm.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]
#![expect(clippy::indexing_slicing, reason = "JSON of the tests' own making")]

mod faults;
mod https;
mod inbox;
mod keys;
mod leases;
mod outcomes;
mod slots;
mod stopping;
mod wire;
mod world;
