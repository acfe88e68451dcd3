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

pub(crate) use crate::decide::SYSTEM_QUEUE;
pub(crate) use handed::{
    Committed, HandedOut, Next, Outcome, PumpHandle, PumpMessage, Report, StartReply,
    StartRequestItem, Workers,
};
pub(crate) use pump::{Pump, PumpSettings, SessionId};
pub(crate) use slots::{Slot, Slots};
pub(crate) use wake::Wakes;

/// A wake-up for timers: something is due sooner than they know.
pub(crate) const TIMER_NOTE: &str = "$timer";
