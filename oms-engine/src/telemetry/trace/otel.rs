//! The engine's spans in OpenTelemetry: where each stands in its trace, and what a span of `tracing`
//! cannot say of itself.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::TraceContext;

/// Puts a span below this place of its trace.
pub(super) fn adopt(span: &tracing::Span, below: &TraceContext) {
    if span.is_disabled() {
        return;
    }
    let state: TraceState =
        below.tracestate().and_then(|state| state.parse().ok()).unwrap_or_default();
    let below = SpanContext::new(
        TraceId::from(below.trace_id()),
        SpanId::from(below.span_id()),
        TraceFlags::new(below.flags()),
        true,
        state,
    );
    // Refused where no layer of OpenTelemetry listens: then there is nobody to tell.
    let _told = span.set_parent(Context::new().with_remote_span_context(below));
}

impl TraceContext {
    /// That of the span of `tracing` that the caller stands in. None outside of all, and where no layer of
    /// OpenTelemetry listens.
    #[must_use]
    pub fn current() -> Option<Self> {
        let context = tracing::Span::current().context();
        let span = context.span();
        let at = span.span_context();
        let trace_id = u128::from_be_bytes(at.trace_id().to_bytes());
        let span_id = u64::from_be_bytes(at.span_id().to_bytes());
        let own = Self::new(trace_id, span_id, at.trace_flags().to_u8())?;
        Some(own.with_tracestate(&at.trace_state().header()))
    }
}

/// Fields of the span of a run that are for this processor alone.
const SPAN_ID: &str = "oms.span_id";
const PARENT_SPAN_ID: &str = "oms.parent_span_id";
const BEGAN_MS: &str = "oms.began_ms";

/// Finishes the spans of engines on their way to an exporter, and passes on all others as they are.
///
/// The span of a run is made when the run has ended: this gives it the id that its tasks in all processes
/// know, and the time when the run began. Spans of runs and tasks get their definition's or step's name
/// into their own. Put it around the processor of the exporter:
///
/// ```
/// use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanExporter};
/// use oms_engine::telemetry::EngineSpans;
///
/// fn provider(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
///     let batches = BatchSpanProcessor::builder(exporter).build();
///     SdkTracerProvider::builder().with_span_processor(EngineSpans::new(batches)).build()
/// }
/// ```
#[derive(Debug)]
pub struct EngineSpans<P>(P);

impl<P: SpanProcessor> EngineSpans<P> {
    /// In front of another processor.
    pub const fn new(next: P) -> Self {
        Self(next)
    }
}

impl<P: SpanProcessor> SpanProcessor for EngineSpans<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.0.on_start(span, cx);
    }

    fn on_end(&self, mut span: SpanData) {
        finish(&mut span);
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn finish(span: &mut SpanData) {
    let own = take(span, SPAN_ID).and_then(|id| SpanId::from_hex(&id).ok());
    let above = take(span, PARENT_SPAN_ID).and_then(|id| SpanId::from_hex(&id).ok());
    let began = take(span, BEGAN_MS).and_then(|ms| ms.parse().ok());
    if let Some(own) = own {
        let at = &span.span_context;
        let (flags, state) = (at.trace_flags(), at.trace_state().clone());
        span.span_context = SpanContext::new(at.trace_id(), own, flags, false, state);
        span.parent_span_id = above.unwrap_or(SpanId::INVALID);
        span.parent_span_is_remote = above.is_some();
    }
    if let Some(began) = began.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms))) {
        span.start_time = began;
        // By another machine's clock than its end.
        span.end_time = span.end_time.max(began);
    }
    let of = match &*span.name {
        "workflow" => get(span, "workflow"),
        "task" => get(span, "task"),
        _ => return,
    };
    if let (Some(of), Some(_)) = (of, get(span, "workflow_id")) {
        span.name = format!("{} {of}", span.name).into();
    }
}

fn get(span: &SpanData, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
    Some(found.value.as_str().into_owned())
}

fn take(span: &mut SpanData, key: &str) -> Option<String> {
    let at = span.attributes.iter().position(|attribute| attribute.key.as_str() == key)?;
    Some(span.attributes.remove(at).value.as_str().into_owned())
}
