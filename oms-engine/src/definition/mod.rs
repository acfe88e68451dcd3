//! What to run: definitions in Conductor's JSON. Pure: no clock, no IO, no async.

use std::fmt;

/// Every fault of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
