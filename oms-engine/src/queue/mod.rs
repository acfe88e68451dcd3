//! From ready tasks to workers and back: the pump, its slots and wake-ups.

mod answer;
mod begin;
mod compare;
mod floors;
mod handed;
mod lent;
mod limited;
mod outcome;
mod polls;
mod pump;
mod recover;
mod slots;
mod slow;
mod turn;
mod unwritten;
mod wake;

pub(crate) use crate::advance::EVENTS_NOTE;
pub(crate) use crate::decide::SYSTEM_QUEUE;
pub(crate) use floors::Floors;
pub(crate) use handed::{
    Committed, HandedOut, Next, Outcome, PumpHandle, PumpMessage, Report, StartReply,
    StartRequestItem, Workers,
};
pub(crate) use limited::Turns;
pub(crate) use polls::{KnownTask, Lent, Poll, Polls};
pub(crate) use pump::{EndedRun, Pump, PumpSettings, SessionId};
pub(crate) use slots::{OfQueue, Slot, Slots};
pub(crate) use wake::Wakes;

/// Whether every engine serves a queue, whatever its tasks are.
pub(crate) fn is_engines(queue: &str) -> bool {
    queue == SYSTEM_QUEUE || queue == EVENTS_NOTE
}

/// A wake-up for timers: something is due sooner than they know.
pub(crate) const TIMER_NOTE: &str = "$timer";

/// A wake-up for everybody: the limits of task definitions are others.
pub(crate) const LIMITS_NOTE: &str = "$limits";

/// A queue has a ready task that was written here: those who can take it hear of it.
pub(crate) fn ready(slots: &Slots, wakes: &Wakes, queue: &str) {
    let here = is_engines(queue) || slots.serves(queue);
    if here {
        wakes.wake(queue);
    }
    let full = if is_engines(queue) { slots.free() == 0 } else { slots.is_full(queue) };
    if !here || full {
        wakes.tell_others(queue);
    }
}

/// What a task with a limit leaves behind when it ends: room for another, here or elsewhere.
pub(crate) fn made_room(slots: &Slots, wakes: &Wakes, queue: &str) {
    let Some(name) = slots.limited_by(queue) else { return };
    let queues = slots.limited_queues(&name);
    if queues.iter().all(|queue| slots.is_full(queue)) {
        wakes.tell_others(&name);
    }
    wakes.room(&name, queues);
}
