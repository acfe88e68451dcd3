//! Paths that name one place, `a.b[0]['c d'][-1]`: nearly all that definitions hold.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// A key of an object.
    Key(String),
    /// An index of a list; from its end when negative.
    Index(i64),
}

/// The place that a path names inside a value.
pub(super) fn lookup<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, segment| match segment {
        Segment::Key(key) => at.as_object()?.get(key),
        Segment::Index(index) => element(at.as_array()?, *index),
    })
}

/// An element of a list, counted from its end when the index is negative.
pub(super) fn element(list: &[Value], index: i64) -> Option<&Value> {
    let from_start = match usize::try_from(index) {
        Ok(from_start) => from_start,
        Err(_) => list.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    list.get(from_start)
}
