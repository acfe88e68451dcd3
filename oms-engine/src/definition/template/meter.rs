//! What resolving may cost.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Number, Value};

use crate::definition::payload::{PayloadFault, too_large};

/// Values that the expressions of one template may look at.
const VISITS_MAX: usize = 5_000_000;

/// More than was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMuch {
    Bytes,
    Visits,
}

impl TooMuch {
    /// As a payload that breaks its limit; `what` is that payload.
    pub(super) fn fault(self, what: impl Into<String>, limit_bytes: usize) -> PayloadFault {
        let reason = match self {
            Self::Bytes => too_large(limit_bytes),
            Self::Visits => {
                format!("its expressions look at more than {VISITS_MAX} values: narrow their paths")
            }
        };
        PayloadFault { what: what.into(), path: "$".to_owned(), reason }
    }
}

/// Counts down what resolving may still cost.
#[derive(Debug)]
pub(super) struct Meter {
    bytes: usize,
    visits: usize,
}

impl Meter {
    /// What comes out may have so many bytes of JSON text.
    pub(super) const fn new(bytes: usize) -> Self {
        Self { bytes, visits: VISITS_MAX }
    }

    pub(super) fn visit(&mut self, values: usize) -> Result<(), TooMuch> {
        self.visits = self.visits.checked_sub(values).ok_or(TooMuch::Visits)?;
        Ok(())
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooMuch::Bytes)?;
        Ok(())
    }

    /// Appends to a text, paid for before it grows.
    pub(super) fn write(&mut self, text: &mut String, piece: &str) -> Result<(), TooMuch> {
        self.spend(piece.len())?;
        text.push_str(piece);
        Ok(())
    }

    /// A copy, paid for before it is made.
    pub(super) fn copy(&mut self, value: &Value) -> Result<Value, TooMuch> {
        self.pay(value)?;
        Ok(value.clone())
    }

    pub(super) fn own(&mut self, value: Cow<'_, Value>) -> Result<Value, TooMuch> {
        match value {
            Cow::Borrowed(value) => self.copy(value),
            Cow::Owned(value) => Ok(value),
        }
    }

    /// A value that comes out: a copy, or what was made for it.
    pub(super) fn give(&mut self, value: Cow<'_, Value>) -> Result<Value, TooMuch> {
        match value {
            Cow::Borrowed(value) => self.copy(value),
            Cow::Owned(value) => self.pay(&value).map(|()| value),
        }
    }

    /// Appends a value as JSON text, paid for before that is written.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, value: &Value) -> Result<(), TooMuch> {
        self.pay(value)?;
        put(out, value);
        Ok(())
    }

    /// Does something whose own copies are gone again when what it found comes out.
    pub(super) fn lend<T>(
        &mut self,
        find: impl FnOnce(&mut Self) -> Result<T, TooMuch>,
    ) -> Result<T, TooMuch> {
        let before = self.bytes;
        let found = find(self)?;
        self.bytes = before;
        Ok(found)
    }

    /// Never more than the value's JSON text has, and not much less.
    fn pay(&mut self, value: &Value) -> Result<(), TooMuch> {
        match value {
            Value::Null | Value::Bool(_) => self.spend(4),
            Value::Number(number) => self.spend(digits(number)),
            Value::String(text) => self.spend(text.len() + 2),
            Value::Array(list) => {
                self.spend(list.len() + 1)?;
                list.iter().try_for_each(|item| self.pay(item))
            }
            Value::Object(map) => {
                self.spend(map.len() + 1)?;
                map.iter().try_for_each(|(key, item)| {
                    self.spend(key.len() + 3)?;
                    self.pay(item)
                })
            }
        }
    }
}

/// Appends JSON text.
pub(super) fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "values and texts can be written: {written:?}");
}

/// No more bytes than a number's text has.
fn digits(number: &Number) -> usize {
    match number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64()) {
        Some(whole) => {
            let digits = whole.checked_ilog10().map_or(1, |digits| digits + 1);
            usize::try_from(digits).unwrap_or(1)
        }
        None => 3,
    }
}
