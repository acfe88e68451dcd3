//! What crashes leave behind: killed and stopped workers, a stopped PostgreSQL, cut connections,
//! dropped futures.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]
#![expect(clippy::print_stdout, reason = "figures, seeds, and a worker that says it is there")]
#![expect(clippy::indexing_slicing, reason = "JSON and rows of the tests' own making")]

#[path = "../common/mod.rs"]
mod common;

mod batches;
mod chaos;
mod cuts;
mod dropped;
mod engines;
mod events;
mod family;
mod graphs;
mod kills;
mod limits;
mod proxy;
mod remote;
mod schedules;
mod undo;
mod witness;
mod worker;

use std::time::{Duration, Instant};

/// Much longer than anything takes; a test that gets there fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for a condition of this process.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Small and seeded, so that a failure can be repeated (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    /// Seeded by `OMS_TEST_SEED`, else at random; the seed is printed.
    fn seeded(what: &str) -> Self {
        let drawn =
            std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), what);
        let given = std::env::var_os("OMS_TEST_SEED").and_then(|s| s.to_str()?.parse().ok());
        let seed: u64 = given.unwrap_or(drawn) | 1;
        println!("{what}: OMS_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
