//! Inputs, outputs and variables: masked, and cut here rather than in the browser.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{bytes, cut};
use crate::mask::hide;

/// So much of one is in a page; the rest is a link away.
const SHOWN_BYTES: usize = 8 * 1_024;

/// A value as it is shown.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) title: &'static str,
    /// Of its place in the page.
    pub(super) id: String,
    pub(super) text: String,
    pub(super) size: String,
    /// Whether it is less than all.
    pub(super) cut: bool,
    /// Whether there is nothing in it.
    pub(super) empty: bool,
}

impl Payload {
    pub(super) fn of(
        (title, place): (&'static str, &str),
        mut value: Value,
        masked: &BTreeSet<String>,
    ) -> Self {
        hide(&mut value, masked);
        let empty = match &value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let whole = format!("{value:#}");
        let (text, cut) = cut(&whole, SHOWN_BYTES);
        let id = format!("{title}-{place}");
        Self { title, id, text: text.to_owned(), size: bytes(whole.len()), cut, empty }
    }
}
