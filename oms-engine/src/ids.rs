//! Names of workflows, tasks and steps.
//!
//! A [`WorkflowId`] is a `UUIDv7`, so that new rows gather at one end of each index. A [`TaskId`]
//! names one *attempt* and is parsed, never searched. The idempotency key names the *step*
//! ([`idempotency_key`]). This module alone draws ids.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one run of a workflow definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(Uuid);

impl WorkflowId {
    /// Draws a new id.
    ///
    /// ```
    /// use oms_engine::WorkflowId;
    /// assert_ne!(WorkflowId::new(), WorkflowId::new());
    /// ```
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that draws workflow ids")]
    #[expect(clippy::new_without_default, reason = "each call draws another id; a default is none")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Takes an id that came from elsewhere, for example from a table of the user's.
    #[must_use]
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The id as PostgreSQL's `uuid`.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for WorkflowId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId::new("workflow", text))
    }
}

/// Names one attempt of one step of one run: the text `workflowid.epoch.attempt.ref`.
///
/// The same after any crash. In the reference every byte outside `A-Za-z0-9_.-` is written as
/// `~` and two hex digits, so that no client or proxy encodes it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The run.
    pub workflow_id: WorkflowId,
    /// How often the run had been restarted or rerun when this attempt was scheduled.
    pub epoch: i16,
    /// From 0; Conductor's `retryCount`.
    pub attempt: i16,
    /// The reference name of the step, with its iteration where it has one.
    pub reference_name: String,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.", self.workflow_id, self.epoch, self.attempt)?;
        for byte in self.reference_name.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-') {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "~{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for TaskId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("task", text);
        let mut parts = text.splitn(4, '.');
        let mut part = || parts.next().ok_or_else(invalid);
        let workflow_id = part()?.parse()?;
        let epoch = part()?.parse().map_err(|_| invalid())?;
        let attempt = part()?.parse().map_err(|_| invalid())?;
        let reference_name = decode_reference(part()?).ok_or_else(invalid)?;
        Ok(Self { workflow_id, epoch, attempt, reference_name })
    }
}

fn decode_reference(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'~' {
            let digits = [bytes.next()?, bytes.next()?];
            plain.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8(plain).ok()
}

/// The key under which a step's effect on the outside world happens once.
///
/// It names the step, not the attempt: equal over all attempts, rescues and an operator's
/// retries. `set_aside` counts how often the step had COMPLETED and was set aside by a restart
/// or rerun; only then may the effect happen again.
#[must_use]
pub fn idempotency_key(workflow_id: WorkflowId, reference_name: &str, set_aside: i16) -> String {
    format!("{workflow_id}:{reference_name}:{set_aside}")
}

/// A number in 0..=1 for jitter: the random part of a new id serves, jitter needs no quality.
pub(crate) fn draw_jitter() -> f64 {
    let [.., a, b, c, d] = *WorkflowId::new().as_uuid().as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

/// A text that is no workflow id or task id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind} id")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str) -> Self {
        Self { kind, text: text.chars().take(200).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_task_id_reads_back_as_it_was_written(
            bits in any::<u128>(), epoch in 0..i16::MAX, attempt in 0..i16::MAX, reference_name in ".{1,40}",
        ) {
            let workflow_id = WorkflowId::from_uuid(Uuid::from_u128(bits));
            let id = TaskId { workflow_id, epoch, attempt, reference_name };
            let text = id.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-~".contains(&b)));
            prop_assert_eq!(text.parse::<TaskId>(), Ok(id));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(id) = text.parse::<TaskId>() {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }

    #[test]
    fn a_reference_may_hold_dots() {
        let id = TaskId {
            workflow_id: WorkflowId::new(),
            epoch: 1,
            attempt: 2,
            reference_name: "a.b.c".into(),
        };
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
