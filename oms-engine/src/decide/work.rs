//! What a decision still has to do, and with what.

use std::sync::Arc;
use std::time::Duration;

use super::Scope;
use super::graph::{Branch, instance};
use super::node::Node;
use super::status::TaskStatus;
use super::timeout::TimeoutKind;
use crate::definition::Payload;

/// A step in certain turns of its loops.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: Arc<Node>,
    pub(super) turns: Vec<u32>,
    pub(super) scope: Scope,
    /// In what it floats that a JOIN leaves behind here.
    pub(super) region: Scope,
    pub(super) branch: Option<Arc<Branch>>,
}

impl Place {
    pub(super) fn name(&self) -> Arc<str> {
        if self.turns.is_empty() {
            return self.node.reference_name.clone();
        }
        instance(&self.node.reference_name, &self.turns).into()
    }
}

/// What is still to be done in this decision.
#[derive(Debug)]
pub(super) enum Work {
    /// A task that needs no worker; the number of its entry, none for the event's own.
    Do(Option<usize>, Place),
    /// What comes after a task that is through.
    Follow(Place),
}

/// An attempt that ended, as far as what follows depends on it.
#[derive(Clone, Debug)]
pub(super) struct After {
    pub(super) attempt: i16,
    pub(super) status: TaskStatus,
    pub(super) input: Option<Payload>,
    pub(super) output: Option<Payload>,
    pub(super) reason: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) timeout: Option<TimeoutKind>,
    pub(super) jitter: f64,
}

/// A container that the decision opens. What all arrives at in the same decision is never
/// written as open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) place: Place,
    pub(super) attempt: i16,
    /// Its number among what is scheduled.
    pub(super) entry: Option<usize>,
    pub(super) expected: usize,
    pub(super) arrived: usize,
}
