//! The order tasks, each by itself, on a real PostgreSQL and a real sandbox.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod acknowledgement;
mod batches;
mod booking;
mod conservation;
mod documentation;
mod fulfilling;
mod migration;
mod payments;
mod ports;
mod refunds;
mod reservation_fights;
mod reservations;
mod sandbox;
mod sender;
mod smtp;
mod stripe;
mod unwinding;
mod warehouses;
mod world;
mod zombies;
