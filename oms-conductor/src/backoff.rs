//! Pauses between tries: each twice as long as the one before, up to a limit, none exactly so long.

use std::time::Duration;

use oms_engine::WorkflowId;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// Between half of the pause that is due and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let due = self.next;
        self.next = (due * 2).min(LONGEST);
        // The random part of a new id serves: it needs no quality.
        let [.., drawn] = *WorkflowId::new().as_uuid().as_bytes();
        due / 2 + due / 2 * u32::from(drawn) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_keep_within_half() {
        let mut backoff = Backoff::new();
        let mut due = FIRST;
        for _ in 0..12 {
            let pause = backoff.next();
            assert!(pause >= due / 2 && pause <= due, "{pause:?} of {due:?}");
            due = (due * 2).min(LONGEST);
        }
        assert_eq!(due, LONGEST);
    }
}
