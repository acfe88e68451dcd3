//! Claims of tasks whose definition has a limit: in a transaction of their own, behind the hot
//! statement, so that all other tasks go by it as ever.
//!
//! A limit that is used up costs nothing: its queues are looked at again when one of its tasks
//! ends, here or elsewhere, when its rate allows the next, and at the slow poll.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Pump, Slot};
use crate::advance::OneStep;
use crate::ids::draw_jitter;
use crate::store::{LimitedClaim, Room};

/// Somebody else has the lock: how long until another try, at most.
const TRY_AGAIN: Duration = Duration::from_millis(8);
/// An engine that has taken all that became free for so long leaves the next to the others…
const TURN_MAX: Duration = Duration::from_secs(1);
/// …for this time.
const GIVE_WAY: Duration = Duration::from_millis(40);

/// Whose turn it is to take what becomes free of a limit.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Since when this process has taken all that became free, by the definition's name.
    since: Mutex<BTreeMap<String, Instant>>,
    /// Whether there are other engines.
    others: AtomicBool,
}

impl Turns {
    pub(crate) fn there_are_others(&self, others: bool) {
        self.others.store(others, Ordering::Relaxed);
    }

    /// Whether the others may go first; a new turn begins then.
    fn gives_way(&self, name: &str, now: Instant) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let long = since.get(name).is_some_and(|since| now - *since > TURN_MAX);
        long && since.remove(name).is_some() && self.others.load(Ordering::Relaxed)
    }

    /// What came of a claim: how many tasks, and whether the limit is used up.
    fn took(&self, name: &str, tasks: usize, full: bool, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if !full {
            since.remove(name);
        } else if tasks > 0 {
            since.entry(name.to_owned()).or_insert(now);
        }
    }
}

impl Pump {
    /// Whether a queue with a limit is to be claimed from in this turn.
    pub(super) fn may_claim(&self, queue: &str, name: &str) -> bool {
        let wakes = &self.settings.wakes;
        if !wakes.has_room(name) || !self.settings.turns.gives_way(name, Instant::now()) {
            return true;
        }
        wakes.take_room(name);
        wakes.tell_others(name);
        wakes.wake_later(queue, GIVE_WAY);
        false
    }

    /// Claims from queues with limits what these leave room for.
    pub(super) async fn claim_limited(
        &mut self,
        slots: HashMap<String, Vec<Slot>>,
        slow: &mut Vec<OneStep>,
    ) {
        if slots.is_empty() {
            return;
        }
        let claims = slots.iter().filter_map(|(queue, slots)| {
            let Some((name, _)) = self.settings.slots.limit_of(queue) else {
                // It is gone since: the next turn claims in the common way.
                self.settings.wakes.wake(queue);
                return None;
            };
            let most = i32::try_from(slots.len()).unwrap_or(i32::MAX);
            Some(LimitedClaim { queue: queue.clone(), name, most })
        });
        let claims: Vec<LimitedClaim> = claims.collect();
        let core = self.settings.core.clone();
        let done = match &mut self.client {
            Some(client) => core.store.claim_limited(client, &claims, self.holder).await,
            None => return self.settings.wakes.put_back(slots.into_keys()),
        };
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                self.settings.wakes.put_back(slots.into_keys());
                return self.failed(&error);
            }
        };
        let mut got: HashMap<&str, i32> = HashMap::new();
        for token in &done.tokens {
            *got.entry(&token.queue).or_default() += 1;
        }
        for claim in &claims {
            let got = got.get(claim.queue.as_str()).copied().unwrap_or(0);
            let room = done.rooms.iter().find(|room| room.name == claim.name);
            self.look_again(claim, got, room);
        }
        let now = Instant::now();
        for room in &done.rooms {
            let full = room.left.is_some_and(|left| left <= 0);
            self.settings.turns.took(&room.name, done.tokens.len(), full, now);
            if self.settings.wakes.take_room(&room.name) && !full {
                self.settings.wakes.tell_others(&room.name);
            }
        }
        self.begin_claimed(slots, done.tokens, slow).await;
    }

    /// When a queue is claimed from again, where nothing else tells.
    fn look_again(&self, claim: &LimitedClaim, got: i32, room: Option<&Room>) {
        let wakes = &self.settings.wakes;
        match room {
            None => wakes.wake_later(&claim.queue, TRY_AGAIN.mul_f64(0.1 + draw_jitter() * 0.9)),
            Some(room) if room.left.is_none_or(|left| left > 0) => {
                // It gave all that was asked for: there may be more.
                if got >= claim.most {
                    wakes.wake(&claim.queue);
                }
            }
            Some(Room { opens_ms: Some(ms), .. }) => {
                let ms = u64::try_from(*ms).unwrap_or(0).max(1);
                wakes.wake_later(&claim.queue, Duration::from_millis(ms));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_taken_all_for_long_gives_way_once_where_there_are_others() {
        let turns = Turns::default();
        turns.there_are_others(true);
        let begun = Instant::now();
        let at = |turn: u32| begun + (TURN_MAX + Duration::from_millis(1)) * turn;
        turns.took("a", 1, true, at(0));
        turns.took("a", 0, true, at(0));
        assert!(!turns.gives_way("a", at(0)));
        assert!(turns.gives_way("a", at(1)) && !turns.gives_way("a", at(1)));
        turns.took("a", 1, true, at(1));
        turns.took("a", 1, false, at(2));
        assert!(!turns.gives_way("a", at(2)), "there was room for others all the time");
        turns.took("a", 1, true, at(2));
        turns.there_are_others(false);
        assert!(!turns.gives_way("a", at(3)), "there is nobody");
    }
}
