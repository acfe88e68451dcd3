//! The tasks of `order_unwinding`, one file each, in the order in which they run.
//!
//! The order is closed first, under its row lock: from then on none of the five tasks writes for
//! it, so what the later tasks find to undo is all that there is. They undo in reverse; each may
//! run any number of times, and finds nothing to do where nothing was done.

pub mod delivery_cancellation;
pub mod order_closure;
pub mod order_failure;
pub mod payment_refund;
pub mod stock_release;

pub use crate::stage::FailedOrder;
