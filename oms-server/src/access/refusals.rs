//! How many requests were refused for who sent them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::measured::REFUSED;

/// The log is told at most so often, so that nobody can fill it.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How many requests a server has refused for who sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// Without a token, or with one that is not good (401).
    pub unknown: u64,
    /// With the token of a key whose role does not suffice (403).
    pub forbidden: u64,
    /// From a web page of another origin (403).
    pub foreign: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    unknown: AtomicU64,
    forbidden: AtomicU64,
    foreign: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Counts {
    pub(super) fn unknown(&self) {
        self.count(&self.unknown, "unknown");
    }

    pub(super) fn forbidden(&self) {
        self.count(&self.forbidden, "forbidden");
    }

    pub(super) fn foreign(&self) {
        self.count(&self.foreign, "foreign");
    }

    pub(super) fn so_far(&self) -> Refusals {
        Refusals {
            unknown: self.unknown.load(Ordering::Relaxed),
            forbidden: self.forbidden.load(Ordering::Relaxed),
            foreign: self.foreign.load(Ordering::Relaxed),
        }
    }

    fn count(&self, which: &AtomicU64, reason: &'static str) {
        metrics::counter!(REFUSED, "reason" => reason).increment(1);
        which.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        let Refusals { unknown, forbidden, foreign } = self.so_far();
        tracing::warn!(unknown, forbidden, foreign, "requests were refused for who sent them");
    }
}
