//! Which trace a run belongs to, and which span it is there.
//!
//! A run that was given no context begins a trace of its own, whose ids follow from the run's own id:
//! nothing has to be kept of it, and every process knows them. So do those of its sub-workflows.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::TraceContext;
use crate::ids::WorkflowId;

/// Of a trace that begins with a run: sampled.
const FLAGS: u8 = 1;

/// What is known of a run's trace beside its own id. The default is that of most runs: nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lineage(Option<Arc<Known>>);

#[derive(Debug, PartialEq)]
struct Known {
    /// What the run was given.
    context: Option<TraceContext>,
    /// The run that waits for it, and the topmost of the family.
    above: Option<(WorkflowId, WorkflowId)>,
    /// When it was last brought back after its end.
    brought_back_at: Option<DateTime<Utc>>,
}

impl Lineage {
    pub(crate) fn new(
        context: Option<TraceContext>,
        above: Option<(WorkflowId, WorkflowId)>,
        brought_back_at: Option<DateTime<Utc>>,
    ) -> Self {
        if context.is_none() && above.is_none() && brought_back_at.is_none() {
            return Self::default();
        }
        Self(Some(Arc::new(Known { context, above, brought_back_at })))
    }

    fn context(&self) -> Option<&TraceContext> {
        self.0.as_ref()?.context.as_ref()
    }

    fn above(&self) -> Option<(WorkflowId, WorkflowId)> {
        self.0.as_ref()?.above
    }

    /// The span that the run is a part of; none where it begins its trace.
    pub(super) fn parent_span(&self) -> Option<u64> {
        let given = self.context().map(TraceContext::span_id);
        given.or_else(|| self.above().map(|(parent, _)| first_span(parent)))
    }

    /// When the run began, or was brought back, in milliseconds of the epoch: by the clock that its id
    /// was drawn by.
    pub(super) fn began_ms(&self, id: WorkflowId) -> Option<u64> {
        if let Some(at) = self.brought_back_at() {
            return u64::try_from(at.timestamp_millis()).ok();
        }
        let (seconds, nanos) = id.as_uuid().get_timestamp()?.to_unix();
        Some(seconds * 1_000 + u64::from(nanos / 1_000_000))
    }

    fn brought_back_at(&self) -> Option<DateTime<Utc>> {
        self.0.as_ref()?.brought_back_at
    }

    /// What belongs to the run is told: its trace, and its own span.
    pub(crate) fn context_of(&self, id: WorkflowId) -> TraceContext {
        let span_id = self.span_of(id);
        if let Some(given) = self.context() {
            return given.at(span_id);
        }
        let root = self.above().map_or(id, |(_, root)| root);
        TraceContext::of(root.as_uuid().as_u128(), span_id, FLAGS)
    }

    /// The run's span. Each time it is brought back it is another.
    fn span_of(&self, id: WorkflowId) -> u64 {
        let first = first_span(id);
        let Some(at) = self.brought_back_at() else { return first };
        first.wrapping_add(at.timestamp_micros().unsigned_abs())
    }

    /// What has to be kept with a run that is started by this one; none where that follows from its
    /// ids, as it does for one that this one `waits` for.
    pub(crate) fn kept_for(&self, id: WorkflowId, waits: bool) -> Option<TraceContext> {
        let follows = waits && self.context().is_none() && self.brought_back_at().is_none();
        (!follows).then(|| self.context_of(id))
    }
}

/// The span of a run until it is brought back.
fn first_span(id: WorkflowId) -> u64 {
    id.as_uuid().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190a5d0-7e2c-7a3b-9c4d-5e6f708192a3";

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(seconds, 0)
    }

    #[test]
    fn a_run_without_a_context_begins_a_trace_that_is_named_by_its_id() {
        let id: WorkflowId = ID.parse().unwrap();
        let own = Lineage::default();
        let context = own.context_of(id).traceparent();
        assert_eq!(context, "00-0190a5d07e2c7a3b9c4d5e6f708192a3-9c4d5e6f708192a3-01");
        assert_eq!((own.parent_span(), own.began_ms(id)), (None, Some(0x0190_a5d0_7e2c)));
    }

    #[test]
    fn a_sub_workflow_belongs_to_its_family_s_trace_and_below_its_parent_with_nothing_kept() {
        let (root, parent, id) = (WorkflowId::new(), WorkflowId::new(), WorkflowId::new());
        assert_eq!(Lineage::default().kept_for(parent, true), None);
        let own = Lineage::new(None, Some((parent, root)), None);
        assert_eq!(own.context_of(id).trace_id(), root.as_uuid().as_u128());
        let above = Lineage::new(None, Some((root, root)), None);
        assert_eq!(own.parent_span(), Some(above.context_of(parent).span_id()));
        assert_eq!(above.kept_for(parent, true), None);
    }

    #[test]
    fn what_follows_from_no_id_is_kept() {
        let id = WorkflowId::new();
        assert_eq!(Lineage::default().kept_for(id, false), Some(Lineage::default().context_of(id)));
        let given: TraceContext =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".parse().unwrap();
        let given = given.with_tracestate("a=1");
        let own = Lineage::new(Some(given.clone()), None, None);
        let kept = own.kept_for(id, true).unwrap();
        assert_eq!(kept, own.context_of(id));
        assert_eq!((kept.trace_id(), kept.is_sampled()), (given.trace_id(), false));
        assert_eq!(kept.tracestate(), Some("a=1"));
        assert_eq!(own.parent_span(), Some(given.span_id()));
        let again = Lineage::new(None, None, at(7));
        assert_eq!(again.began_ms(id), Some(7_000));
        assert_eq!(again.kept_for(id, true), Some(again.context_of(id)));
    }

    #[test]
    fn a_run_has_another_span_each_time_it_is_brought_back() {
        let id = WorkflowId::new();
        let spans = [None, at(1), at(2)].map(|at| Lineage::new(None, None, at).context_of(id));
        assert!(spans.iter().all(|span| span.trace_id() == spans[0].trace_id()));
        let mut ids = spans.map(|span| span.span_id()).to_vec();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }
}
