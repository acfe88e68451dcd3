//! Traces to an OpenTelemetry collector: OTLP over HTTP, in protobuf.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use oms_engine::telemetry::EngineSpans;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const PATH: &str = "/v1/traces";
/// One request of a batch.
const EXPORT_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What is left is given so long in the end.
const STOP_MAX: Duration = Duration::from_secs(3);
/// What the environment does not name is called so.
const SERVICE: &str = "oms-server";

/// The spans of this process on their way to a collector. A collector that is away, or slow, holds up
/// nobody: spans wait in a queue of bounded length and are lost beyond it.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracesError {
    /// The address is none of a collector.
    #[error("{0:?} is no address of a collector: write http://HOST:4318")]
    Endpoint(String),
    /// The exporter was set up wrongly.
    #[error("the exporter of traces: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl Traces {
    /// To the collector at this address, `/v1/traces` below it unless it has a path; `instance` tells this process
    /// from others. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS`
    /// count.
    ///
    /// # Errors
    /// [`TracesError::Endpoint`] for what is no address.
    pub fn to(endpoint: &str, instance: &str) -> Result<Self, TracesError> {
        let url = url_of(endpoint).ok_or_else(|| TracesError::Endpoint(endpoint.to_owned()))?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Sender { agent: agent(&url) })
            .with_endpoint(&url)
            .with_timeout(EXPORT_MAX)
            .build()?;
        let exporter = Telling { exporter, url, away: AtomicBool::new(false) };
        let processor = EngineSpans::new(BatchSpanProcessor::builder(exporter).build());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(instance))
            .with_span_processor(processor)
            .build();
        Ok(Self { provider })
    }

    /// Takes the spans of engines and servers, for the subscriber of this process.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let own = Targets::new().with_target("oms_", LevelFilter::INFO);
        let layer = tracing_opentelemetry::layer().with_tracer(self.provider.tracer("oms"));
        let layer = layer.with_location(false).with_threads(false).with_target(false);
        layer.with_tracked_inactivity(false).with_filter(own)
    }

    /// Sends what is left, and no more after that. It blocks for three seconds at most.
    pub fn stop(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(STOP_MAX) {
            tracing::warn!(%error, "the last spans may not have been exported");
        }
    }
}

fn url_of(endpoint: &str) -> Option<String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| endpoint.strip_prefix(scheme))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = !host.is_empty() && !rest.contains(['?', '#', ' ']);
    let base = endpoint.trim_end_matches('/');
    fits.then(|| if path.is_empty() { format!("{base}{PATH}") } else { base.to_owned() })
}

/// Certificates must lead to those that the system trusts.
fn agent(url: &str) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_global(Some(EXPORT_MAX))
        .user_agent(concat!("oms/", env!("CARGO_PKG_VERSION")));
    if url.starts_with("https://") {
        let found = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<_> =
            found.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let roots = RootCerts::new_with_certs(&roots);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    config.build().into()
}

fn resource(instance: &str) -> Resource {
    let name = Key::new("service.name");
    // With what the environment says.
    let found = Resource::builder().build();
    let named = found.get(&name).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut own = vec![KeyValue::new("service.instance.id", instance.to_owned())];
    if !named {
        own.push(KeyValue::new(name, Value::from(SERVICE)));
    }
    Resource::builder().with_attributes(own).build()
}

/// Sends a batch from the thread of the exporter, which may wait.
#[derive(Debug)]
struct Sender {
    agent: Agent,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

/// Tells once that the collector is away, and once that it is there again.
#[derive(Debug)]
struct Telling {
    exporter: opentelemetry_otlp::SpanExporter,
    url: String,
    away: AtomicBool,
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let done = self.exporter.export(batch).await;
        let url = &*self.url;
        match &done {
            Err(error) if !self.away.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, url, "spans cannot be exported; they are lost until they can");
            }
            Ok(()) if self.away.swap(false, Ordering::Relaxed) => {
                tracing::warn!(url, "spans are exported again");
            }
            _ => {}
        }
        done
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_that_of_traces() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces")),
            ("https://otlp.example.com/", Some("https://otlp.example.com/v1/traces")),
            (
                "https://otlp.example.com/otlp/v1/traces",
                Some("https://otlp.example.com/otlp/v1/traces"),
            ),
            ("127.0.0.1:4318", None),
            ("grpc://127.0.0.1:4317", None),
            ("http://", None),
            ("http:///v1/traces", None),
            ("http://host:4318?x", None),
            ("", None),
        ] {
            assert_eq!(url_of(endpoint).as_deref(), url, "{endpoint}");
        }
    }
}
