//! What this process says: its log on stderr, and its spans to a collector where that is asked for.

#[cfg(not(feature = "otel"))]
use tracing_subscriber::layer::Identity;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

#[cfg(not(feature = "otel"))]
use super::failure::Exit;
use super::failure::Failure;

/// Where spans go.
#[cfg(feature = "otel")]
pub(super) type Spans = crate::Traces;

/// There are none: this program cannot export any.
#[cfg(not(feature = "otel"))]
#[derive(Debug)]
pub(super) enum Spans {}

#[cfg(not(feature = "otel"))]
impl Spans {
    const fn layer(&self) -> Identity {
        match *self {}
    }

    pub(super) const fn stop(self) {
        match self {}
    }
}

/// From now on `RUST_LOG` says what is logged; warnings without it.
pub(super) fn listen(spans: Option<&Spans>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    registry().with(log).with(spans.map(Spans::layer)).init();
}

#[cfg(feature = "otel")]
pub(super) fn spans_to(endpoint: &str) -> Result<Spans, Failure> {
    let instance = format!("oms-server-{}", std::process::id());
    crate::Traces::to(endpoint, &instance).map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(not(feature = "otel"))]
pub(super) fn spans_to(endpoint: &str) -> Result<Spans, Failure> {
    let text = format!("--otlp-endpoint {endpoint}: this oms was built without the feature `otel`");
    let hint = "build it with `--features otel`, or leave the option out";
    Err(Failure::new(Exit::Refused, text).hint(hint))
}
