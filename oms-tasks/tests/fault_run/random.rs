//! Small and seeded, so that a run's orders and faults can be had again (xorshift, Marsaglia
//! 2003). When each fault hits is up to the machine all the same.

use std::time::Duration;

const SEED: &str = "OMS_TEST_SEED";
const DEFAULT_SEED: u64 = 20_261_123;

pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `OMS_TEST_SEED`, else always the same; the seed is printed.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var_os(SEED).map(|text| text.to_str().unwrap().parse().unwrap());
        let seed = given.unwrap_or(DEFAULT_SEED);
        println!("{SEED}={seed}");
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    pub(crate) fn pick<'a>(&mut self, choice: &[&'a str]) -> &'a str {
        choice[self.below(choice.len())]
    }

    pub(crate) fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }
}
