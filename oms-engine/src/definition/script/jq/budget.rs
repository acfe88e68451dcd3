//! What one evaluation may use: steps, memory, stack. Counted, not timed.
//!
//! The interpreter has no limits, but whatever it does goes through the program's table (each
//! term) or through a value (each operation), and both count here. Where the budget is used up the
//! thread unwinds: no filter can catch that.

use std::cell::Cell;

/// The bounds of one evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Terms and operations on values; those that are not constant count by what they touch.
    pub(super) steps: usize,
    /// What all values that are made take together, in bytes; those that are dropped count too, so
    /// that this bounds what is alive.
    pub(super) bytes: usize,
    /// In bytes, of a thread that has several times as much: what is built by recursion is
    /// dropped by recursion, beyond where it is counted.
    pub(super) stack: usize,
}

/// What was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    Steps,
    Bytes,
    Stack,
    Depth,
}

impl Spent {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Steps => "the query takes too many steps",
            Self::Bytes => "the query takes too much memory",
            Self::Stack => "the query calls itself too deep",
            Self::Depth => "the query nests values too deep",
        }
    }
}

/// How many values may stand in each other.
pub(super) const DEPTH_MAX: u16 = 1_000;

#[derive(Clone, Copy)]
struct Left {
    steps: usize,
    bytes: usize,
    /// The lowest address that the stack may reach.
    floor: usize,
}

thread_local! {
    static LEFT: Cell<Left> = const { Cell::new(Left { steps: 0, bytes: 0, floor: 0 }) };
}

/// Opens the budget of this thread.
pub(super) fn open(limits: Limits) {
    let floor = here().saturating_sub(limits.stack);
    LEFT.set(Left { steps: limits.steps, bytes: limits.bytes, floor });
}

/// Takes one step.
pub(super) fn step() {
    steps(1);
}

/// Takes steps.
pub(super) fn steps(count: usize) {
    let mut left = LEFT.get();
    match left.steps.checked_sub(count) {
        Some(rest) => left.steps = rest,
        None => stop(Spent::Steps),
    }
    LEFT.set(left);
    if here() < left.floor {
        stop(Spent::Stack);
    }
}

/// Takes memory for a value, and the steps to fill it.
pub(super) fn bytes(count: usize) {
    steps(1 + count / 64);
    hold(count);
}

/// Takes memory.
pub(super) fn hold(count: usize) {
    let mut left = LEFT.get();
    match left.bytes.checked_sub(count) {
        Some(rest) => left.bytes = rest,
        None => stop(Spent::Bytes),
    }
    LEFT.set(left);
}

/// Gives back memory that was held.
pub(super) fn give_back(count: usize) {
    let left = LEFT.get();
    LEFT.set(Left { bytes: left.bytes.saturating_add(count), ..left });
}

/// Leaves the evaluation, unless it is being left.
pub(super) fn stop(spent: Spent) {
    if !std::thread::panicking() {
        // Not a panic: no hook is asked, nothing is printed.
        std::panic::resume_unwind(Box::new(spent));
    }
}

/// Where the stack is.
#[inline(never)]
fn here() -> usize {
    let mark = 0_u8;
    std::ptr::from_ref(&mark).addr()
}
