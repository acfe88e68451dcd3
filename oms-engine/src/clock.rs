//! The database's time, kept in this process.
//!
//! Each heartbeat says what time the database has; in between a monotonic clock carries it on.
//! The wall clock of this machine is never read. The database bounds every timer by its own
//! clock, so an error here can make something late, never early.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// What the database said, and when.
type Reading = (Instant, DateTime<Utc>);

/// The database's time as this process knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    read: Arc<RwLock<Option<Reading>>>,
}

impl Clock {
    /// Takes over what the database said. `asked` is when it was asked.
    pub(crate) fn set(&self, asked: Instant, now: DateTime<Utc>) {
        let half = asked.elapsed() / 2;
        let at = Instant::now();
        let now = now + TimeDelta::from_std(half).unwrap_or_default();
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((at, now));
    }

    /// The database's time, or none before it was first asked.
    pub(crate) fn now(&self) -> Option<DateTime<Utc>> {
        let read = *self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.map(|(at, now)| now + TimeDelta::from_std(at.elapsed()).unwrap_or_default())
    }

    /// How long it is until then; zero for the past.
    pub(crate) fn until(&self, then: DateTime<Utc>) -> Duration {
        self.now().map_or(Duration::ZERO, |now| (then - now).to_std().unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_what_the_database_said() {
        let clock = Clock::default();
        assert_eq!(clock.now(), None);
        let said = DateTime::from_timestamp(1_000_000, 0).unwrap();
        clock.set(Instant::now(), said);
        let now = clock.now().unwrap();
        assert!(now >= said && now < said + TimeDelta::seconds(60), "{now}");
        assert_eq!(clock.until(said - TimeDelta::seconds(5)), Duration::ZERO);
        assert!(clock.until(said + TimeDelta::hours(1)) > Duration::from_secs(3_000));
    }
}
