//! The spans of the engine: one for each attempt of a task while it runs, and one for a run once it has
//! ended. Their names and fields are a contract, which `docs/traces.md` tells.

use std::fmt;
use std::sync::Arc;

use tracing::Span;
use tracing::field::Empty;

#[cfg(feature = "otel")]
use super::otel::adopt;
use super::{Lineage, TraceContext};
use crate::ids::WorkflowId;
use crate::telemetry::Ran;

/// What a span of an attempt tells.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) workflow_id: WorkflowId,
    pub(crate) task: &'a str,
    pub(crate) attempt: i16,
    pub(crate) workflow: &'a str,
    pub(crate) queue: &'a str,
    pub(crate) worker: &'a str,
    pub(crate) trace: &'a TraceContext,
}

/// Around all that a task says while it runs. Where nobody listens it costs nothing.
pub(crate) fn attempt(of: &Attempt<'_>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "task",
        otel.kind = "consumer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        workflow_id = %of.workflow_id,
        workflow = of.workflow,
        task = of.task,
        queue = of.queue,
        attempt = of.attempt,
        worker = of.worker,
        trace_id = %TraceIdOf(of.trace),
        outcome = Empty,
    );
    adopt(&span, of.trace);
    span
}

/// Notes on the span of an attempt how that went.
pub(crate) fn went(span: &Span, how: Ran, reason: Option<&str>) {
    span.record("outcome", how.as_str());
    if matches!(how, Ran::Failed | Ran::Terminal) {
        span.record("otel.status_code", "error");
        span.record("otel.status_description", reason.unwrap_or_default());
    }
}

/// Around what a task says that does many at once: it follows from the spans of all of them.
pub(crate) fn batch<'a>(queue: &str, spans: impl ExactSizeIterator<Item = &'a Span>) -> Span {
    let tasks = spans.len();
    let span = tracing::info_span!(parent: None, "batch", otel.kind = "consumer", queue, tasks);
    spans.for_each(|one| {
        span.follows_from(one.id());
    });
    span
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) id: WorkflowId,
    pub(crate) workflow: Arc<str>,
    pub(crate) status: &'static str,
    /// Why, of one that did not complete.
    pub(crate) reason: Option<String>,
    pub(crate) lineage: Lineage,
}

impl Ended {
    /// Tells of the run by a span, which opens and closes now: nobody has held one open for as long as
    /// the run took. When it began, and its ids, are fields of it.
    pub(crate) fn tell(&self) {
        let context = self.lineage.context_of(self.id);
        let span = tracing::info_span!(
            parent: None,
            "workflow",
            otel.kind = "internal",
            otel.status_code = self.reason.as_ref().map(|_| "error"),
            otel.status_description = self.reason,
            workflow_id = %self.id,
            workflow = &*self.workflow,
            status = self.status,
            trace_id = %TraceIdOf(&context),
            oms.span_id = %SpanId(context.span_id()),
            oms.parent_span_id = self.lineage.parent_span().map(SpanId).map(tracing::field::display),
            oms.began_ms = self.lineage.began_ms(self.id),
        );
        adopt(&span, &context);
    }
}

/// As tracing systems write it.
struct TraceIdOf<'a>(&'a TraceContext);

impl fmt::Display for TraceIdOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.trace_id())
    }
}

struct SpanId(u64);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Only OpenTelemetry asks.
#[cfg(not(feature = "otel"))]
const fn adopt(_: &Span, _: &TraceContext) {}
