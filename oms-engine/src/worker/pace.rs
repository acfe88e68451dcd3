//! Whether tasks of a type end at once, as far as was seen.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A task that took longer did not end at once.
const AT_ONCE: Duration = Duration::from_micros(50);
/// So many others follow before one is tried again.
const APART: u32 = 1_000;

/// Tasks that end without waiting need no future of their own in the runtime: they run one after the
/// other where they are begun. One that waits, or takes long, does not hold up those behind it again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many tasks are still to run each by itself.
    apart: AtomicU32,
}

impl Pace {
    /// Whether the next task is tried where it is begun.
    pub(super) fn is_tried(&self) -> bool {
        let less = |n: u32| n.checked_sub(1);
        self.apart.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err()
    }

    /// How one went that was tried.
    pub(super) fn went(&self, ended: bool, took: Duration) {
        if !ended || took > AT_ONCE {
            self.apart.store(APART, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_waits_or_takes_long_is_tried_seldom() {
        for (ended, took) in [(false, Duration::ZERO), (true, AT_ONCE * 2)] {
            let pace = Pace::default();
            for _ in 0..3 {
                assert!(pace.is_tried());
                pace.went(true, AT_ONCE);
            }
            assert!(pace.is_tried());
            pace.went(ended, took);
            let tried = (0..APART).filter(|_| pace.is_tried()).count();
            assert_eq!(tried, 0);
            assert!(pace.is_tried());
        }
    }
}
