//! A payment gateway and a carrier for tests and demonstrations, as a process of their own
//! (`oms-sandbox`) or within one.
//!
//! One request and one answer per line of JSON, over TCP on the loopback interface. Every call
//! and every effect is in the ledger, an append-only file of JSON lines, before it is answered:
//! it is the witness of what was charged and booked, and a restarted sandbox goes on from it.
//!
//! What is asked for decides what happens, by [`CardToken`](crate::order::CardToken) at the
//! gateway and by `postal_code` at the carrier:
//!
//! | token, postal code | effect |
//! |---|---|
//! | `tok_visa`, any other | done |
//! | `tok_declined`, `test_refused` | declined, refused |
//! | `tok_timeout`, `test_timeout` | the first call is neither done nor answered |
//! | `tok_timeout_after_charge`, `test_timeout_after_booking` | the first call is done, but not answered |
//! | `tok_fail_once`, `test_fail_once` | the first call fails as unavailable |
//! | `tok_slow`, `test_slow` | looked at half a second after it came |
//! | `test_refused_from_…` | refused from the warehouse of that name, booked from others |
//! | `test_elsewhen` | booked for the soonest day, whatever delivery window was asked for |
//! | `tok_capture_…` | authorised; of the capture, `refused`, `timeout`, `timeout_after` or `fail_once` |
//! | `tok_void_…` | authorised; of the void, `timeout_after` or `fail_once` |
//! | `tok_refund_…` | authorised; of each refund of a part, `refused`, `timeout_after` or `fail_once` |
//!
//! Any other token is declined as `unknown_token`.

mod client;
mod ledger;
mod payments;
mod rules;
mod server;

pub use client::SandboxClient;
pub use ledger::{Entry, Ledger, OrderTotals, Request};
pub use server::{Sandbox, serve};
