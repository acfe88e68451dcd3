//! `JSONPath` as Jayway has it, the dialect of Conductor: wildcards, slices, unions, `..`,
//! filters and functions.
//!
//! A path that names one place gives the value there; one that can find several gives a list,
//! also where it finds one or none. No crate reads this dialect: those of RFC 9535 give a list
//! always, know neither its functions nor its filters, and set no bound to what a path may cost.
//! A reading here costs a visit for each value looked at, and visits are limited.

mod compare;
mod filter;
mod function;
mod literal;
mod parse;
mod read;
#[cfg(test)]
mod tests;

pub(super) use self::parse::parse;
pub(super) use self::read::{Sources, read};

use self::filter::Filter;
use self::function::Call;
use super::place::Segment;

/// A path below `workflow` or a reference name, which stand first among its steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) path: Path,
    /// What stands in filters and arguments with a `$` of its own.
    pub(super) absolutes: Vec<Self>,
}

/// Steps from a value, and what is made of what they find.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Path {
    pub(super) steps: Vec<Step>,
    pub(super) call: Option<Call>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Key(String),
    Index(i64),
    /// `['a','b']`: at the end one object of these keys, before it each in turn.
    Keys(Vec<String>),
    Indexes(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    All,
    /// `..`: the value and all inside it.
    Descend,
    Filter(Filter),
}

impl Query {
    /// As a path to one place, where it is one.
    pub(super) fn place(&self) -> Option<Vec<Segment>> {
        let segments = self.path.steps.iter().map(|step| match step {
            Step::Key(key) => Some(Segment::Key(key.clone())),
            Step::Index(index) => Some(Segment::Index(*index)),
            _ => None,
        });
        self.path.call.is_none().then(|| segments.collect())?
    }
}

impl Path {
    /// Whether it names one place at most.
    fn is_definite(&self) -> bool {
        let last = self.steps.len().saturating_sub(1);
        self.steps.iter().enumerate().all(|(at, step)| match step {
            Step::Key(_) | Step::Index(_) => true,
            Step::Keys(_) => at == last && self.call.is_none(),
            Step::Indexes(_) | Step::Slice(..) | Step::All | Step::Descend | Step::Filter(_) => {
                false
            }
        })
    }
}
