//! Where the ready tasks of a queue begin.
//!
//! While any session holds an old snapshot, nothing that is gone can be cleaned away, and each claim
//! from the beginning of a queue passes over all that was claimed since. Where that takes long, claims
//! begin where earlier ones ended, and only some look at the whole queue: for what was given an id long
//! before it was committed, or comes back with its old id.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::ClaimFrom;

/// A claim from the whole queue that takes less is always made so.
const CHEAP: Duration = Duration::from_millis(5);
/// A queue is looked at as a whole after so many times what that took.
const PART: u32 = 20;
/// Each queue is looked at as a whole so often.
const WHOLE_MAX: Duration = Duration::from_secs(5);
/// What was claimed so long ago is passed over: by then all with lower ids are committed, but for
/// those of long transactions.
const AGE: Duration = Duration::from_millis(250);

/// Of all queues of this engine.
#[derive(Debug, Default)]
pub(crate) struct Floors(Mutex<HashMap<String, Floor>>);

#[derive(Debug)]
struct Floor {
    /// When the whole queue is to be looked at again.
    whole_at: Instant,
    /// The lowest priority of which tasks are claimed: there most of those stand that are gone.
    priority: i16,
    /// What is below is passed over.
    id: i64,
    /// The highest id that was claimed at that time, and the highest since.
    ageing: (Instant, i64),
    latest: i64,
}

impl Floors {
    /// Where a claim is to begin.
    pub(super) fn begin(&self, queue: &str, now: Instant) -> ClaimFrom {
        match self.lock().get(queue) {
            Some(floor) if now < floor.whole_at => {
                ClaimFrom { priority: floor.priority, id: floor.id }
            }
            _ => ClaimFrom::START,
        }
    }

    /// What a claim that began there took, each by priority and id, and how long that lasted. Out:
    /// in what time the rest of the queue is to be looked at; none where all of it was.
    pub(super) fn claimed(
        &self,
        queue: &str,
        from: ClaimFrom,
        taken: impl Iterator<Item = (i16, i64)>,
        (now, took): (Instant, Duration),
    ) -> Option<Duration> {
        let whole = from == ClaimFrom::START;
        let mut floors = self.lock();
        if whole && took < CHEAP {
            floors.remove(queue);
            return None;
        }
        if let Some((priority, id)) = taken.max_by_key(|(priority, id)| (Reverse(*priority), *id)) {
            match floors.get_mut(queue) {
                Some(floor) if floor.priority == priority => floor.meet(id, now),
                // Only what is more urgent was taken, or found room.
                Some(floor) if floor.priority < priority && !whole => {}
                known => {
                    let whole_at = known.map_or(now, |floor| floor.whole_at);
                    floors.insert(queue.to_owned(), Floor::new((priority, id), now, whole_at));
                }
            }
        }
        let floor = floors.get_mut(queue)?;
        if whole {
            floor.whole_at = now + (took * PART).min(WHOLE_MAX);
            return None;
        }
        Some(floor.whole_at.saturating_duration_since(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Floor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floor {
    const fn new((priority, claimed): (i16, i64), now: Instant, whole_at: Instant) -> Self {
        Self { whole_at, priority, id: 0, ageing: (now, claimed), latest: claimed }
    }

    fn meet(&mut self, claimed: i64, now: Instant) {
        self.latest = self.latest.max(claimed);
        let (since, aged) = self.ageing;
        if now.duration_since(since) >= AGE {
            self.id = aged;
            self.ageing = (now, self.latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(100);
    const QUEUE: &str = "pay";

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_queue_that_is_quickly_looked_through_is_always_looked_through() {
        let floors = Floors::default();
        let now = Instant::now();
        for n in 0..1_000 {
            let now = at(now, u64::try_from(n).unwrap());
            let from = floors.begin(QUEUE, now);
            assert_eq!(from, ClaimFrom::START);
            let took = CHEAP / 2;
            assert_eq!(floors.claimed(QUEUE, from, [(0, n)].into_iter(), (now, took)), None);
        }
    }

    #[test]
    fn what_was_claimed_a_while_ago_is_passed_over_until_the_whole_queue_is_due() {
        let floors = Floors::default();
        let start = Instant::now();
        let claim = |millis: u64, ids: &[i64]| {
            let now = at(start, millis);
            let from = floors.begin(QUEUE, now);
            let taken = ids.iter().map(|id| (0, *id));
            (from, floors.claimed(QUEUE, from, taken, (now, SLOW)))
        };
        assert_eq!(claim(0, &[10, 11]), (ClaimFrom::START, None));
        // Nothing is old enough yet; the whole queue again after twenty times what that took.
        let begin = ClaimFrom { priority: 0, id: 0 };
        assert_eq!(claim(100, &[12, 40]), (begin, Some(Duration::from_millis(1_900))));
        assert_eq!(claim(300, &[41]).0, begin);
        assert_eq!(claim(310, &[50]).0, ClaimFrom { priority: 0, id: 11 });
        assert_eq!(claim(600, &[60]).0.id, 11);
        assert_eq!(claim(610, &[61]).0.id, 41);
        assert_eq!(claim(2_000, &[5]), (ClaimFrom::START, None));
        assert_eq!(claim(2_010, &[]).0.id, 60);
    }

    #[test]
    fn a_whole_queue_is_looked_at_each_few_seconds_however_long_that_takes() {
        let floors = Floors::default();
        let start = Instant::now();
        let took = Duration::from_secs(60);
        floors.claimed(QUEUE, ClaimFrom::START, [(0, 1)].into_iter(), (start, took));
        assert_ne!(floors.begin(QUEUE, start + WHOLE_MAX / 2), ClaimFrom::START);
        assert_eq!(floors.begin(QUEUE, start + WHOLE_MAX), ClaimFrom::START);
    }

    #[test]
    fn the_floor_is_that_of_the_lowest_priority_that_is_claimed() {
        let floors = Floors::default();
        let now = Instant::now();
        let claim = |from, taken: &[(i16, i64)]| {
            floors.claimed(QUEUE, from, taken.iter().copied(), (now, SLOW));
            floors.begin(QUEUE, now).priority
        };
        assert_eq!(claim(ClaimFrom::START, &[(9, 30), (5, 20)]), 5);
        let from = floors.begin(QUEUE, now);
        assert_eq!(claim(from, &[(9, 40)]), 5, "what is more urgent comes and goes");
        assert_eq!(claim(from, &[(9, 41), (1, 7)]), 1);
    }
}
