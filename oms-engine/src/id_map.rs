//! Maps by token id: ids are drawn from a sequence, so that nobody can choose them to collide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type IdMap<V> = HashMap<i64, V, BuildHasherDefault<IdHasher>>;
pub(crate) type IdSet = HashSet<i64, BuildHasherDefault<IdHasher>>;

/// Spreads a number over all bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

/// Odd, and near to the golden ratio of 2^64.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(SPREAD);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }
}
