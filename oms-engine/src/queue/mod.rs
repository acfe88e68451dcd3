//! From ready tasks to workers and back: the pump, its slots and wake-ups.

mod answer;
mod compare;
mod handed;
mod outcome;
mod pump;
mod recover;
mod slots;
mod slow;
mod turn;
mod wake;

pub(crate) use handed::{
    Committed, HandedOut, Next, Outcome, PumpHandle, PumpMessage, Report, StartReply,
    StartRequestItem, Workers,
};
pub(crate) use outcome::REASON_MAX_BYTES;
pub(crate) use pump::{Pump, PumpSettings, SessionId};
pub(crate) use slots::{Slot, Slots};
pub(crate) use wake::Wakes;

/// The queue of tokens that belong to no task and let a run go on.
pub(crate) const DECIDE_QUEUE: &str = "$decide";
/// A wake-up for timers: something is due sooner than they know.
pub(crate) const TIMER_NOTE: &str = "$timer";
