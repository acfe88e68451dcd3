//! `oms server`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use clap::Args;
use oms_engine::embedded::Database;
use oms_engine::{Engine, HttpSettings, Retention, connection_pool};
use oms_tasks::orders::Orders;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Ended;
use super::database::DatabaseOptions;
use super::failure::{Exit, Failure};
use super::out::Out;
use crate::{Recorder, ServerError, Settings, Tls, serve};

#[derive(Args, Debug)]
pub(super) struct ServerOptions {
    #[command(flatten)]
    database: DatabaseOptions,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on. One that others reach is refused while there is no key.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// A host that HTTP tasks of definitions may call (`name`, `*.name`, `name:port`, a network);
    /// can be given more than once. Without it definitions with HTTP tasks are refused.
    #[arg(long = "http-allow", value_name = "HOST")]
    http_allow: Vec<String>,
    /// Listens where others reach it although there is no key: whoever reaches it may use it.
    #[arg(long)]
    without_keys: bool,
    /// The server's certificate, with those that lead to its root (PEM); then clients come by
    /// https. It and its key are read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A field whose value is shown as `***` in runs, tasks and schedules, at any depth; can be given more
    /// than once. Workers get it as it is.
    #[arg(long = "mask-field", value_name = "NAME")]
    mask_fields: Vec<String>,
    /// An origin whose web pages may call this server, such as `https://ops.example.com`; can be given
    /// more than once.
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_parser = origin)]
    cors_origins: Vec<HeaderValue>,
    /// Removes workflows that ended so long ago, with their families: a number with `s`, `m`, `h` or `d`.
    /// Without it all are kept.
    #[arg(long, value_name = "AGE", value_parser = super::purge::age)]
    keep_ended: Option<Duration>,
    /// Writes workflows to this file before they are removed: appended, one a line, payloads and all.
    #[arg(long, value_name = "FILE", requires = "keep_ended")]
    export_ended: Option<PathBuf>,
    /// Sends spans of runs and tasks to the OpenTelemetry collector at this address, such as
    /// `http://127.0.0.1:4318`, by OTLP over HTTP. `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_SERVICE_NAME`
    /// count.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// How many seconds requests under way are given when it is told to stop.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    grace: u64,
}

impl ServerOptions {
    pub(super) fn otlp_endpoint(&self) -> Option<&str> {
        self.otlp_endpoint.as_deref()
    }
}

/// For the page's view of orders.
const ORDER_CONNECTIONS: usize = 2;

/// Of each thread that answers requests; what is not used costs nothing.
const STACK_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn run(options: ServerOptions, out: Out) -> Ended {
    // Definitions may be written on these, and tasks may stand deep in each other.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot begin", error))?;
    runtime.block_on(server(options, out))
}

async fn server(options: ServerOptions, out: Out) -> Ended {
    // From the first moment on, so that one that comes early is not lost.
    let listen = |kind| signal(kind).map_err(|error| Failure::failed("cannot hear signals", error));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let told = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    tokio::pin!(told);
    let starting = Box::pin(start(&options, out));
    // Kept until the engine is gone: the database may be ours.
    let (_database, server) = tokio::select! {
        started = starting => started?,
        () = &mut told => return Ok(Exit::Done),
    };
    let scheme = if options.tls_cert.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", server.address());
    out.answer(&json!({ "url": url }), |out| out.line(&format!("oms server listens on {url}")));
    told.await;
    server.stop(Duration::from_secs(options.grace)).await;
    Ok(Exit::Done)
}

async fn start(
    options: &ServerOptions,
    out: Out,
) -> Result<(Option<Database>, crate::Server), Failure> {
    let mut settings = settings(options)?;
    let recorder = Recorder::install();
    settings.recorder = Some(recorder.map_err(|error| Failure::failed("no metrics", error))?);
    let (database, url) = options.database.open(out).await?;
    let name = format!("oms-server-{}", std::process::id());
    let builder = Engine::builder(&url).migrate().schema(&options.database.schema).name(&name);
    let retention = options.keep_ended.map(Retention::of);
    let builder = match (retention, &options.export_ended) {
        (None, _) => builder,
        (Some(kept), None) => builder.retention(kept),
        (Some(kept), Some(file)) => builder.retention(kept.export_to(file)),
    };
    let builder = match options.http_allow.as_slice() {
        [] => builder,
        hosts => builder.http(HttpSettings::allow(hosts.iter().cloned())),
    };
    let engine = builder.build().await?;
    if !options.bind.is_loopback() {
        check_exposed(options, &engine).await?;
    }
    let pool = connection_pool(&url, ORDER_CONNECTIONS)?;
    settings.orders = Some(Orders::new(engine.clone(), pool));
    let address = SocketAddr::new(options.bind, options.port);
    Ok((database, serve(engine, address, settings).await?))
}

/// Others than this machine's users reach it.
async fn check_exposed(options: &ServerOptions, engine: &Engine) -> Result<(), Failure> {
    if engine.api_keys().await?.is_empty() && !options.without_keys {
        let text = format!("--bind {}: others would reach a server without keys", options.bind);
        return Err(Failure::new(Exit::Refused, text).hint(
            "make a key with `oms key create`, or say --without-keys where a proxy asks who is there",
        ));
    }
    if options.tls_cert.is_none() {
        tracing::warn!(address = %options.bind, "without TLS others may read keys and answers");
    }
    Ok(())
}

fn settings(options: &ServerOptions) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    if let Some((certificates, key)) = options.tls_cert.as_ref().zip(options.tls_key.as_ref()) {
        let tls = Tls::from_files(certificates, key);
        settings.tls = Some(tls.map_err(|error| Failure::new(Exit::Refused, error.to_string()))?);
    }
    settings.masked = options.mask_fields.iter().cloned().collect();
    settings.origins.clone_from(&options.cors_origins);
    Ok(settings)
}

/// `scheme://host[:port]`, as browsers send it.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', '?', '#', ' '])) {
        return Err("write https://HOST or https://HOST:PORT; there are no wildcards".to_owned());
    }
    text.parse().map_err(|_| "is no origin".to_owned())
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let hint = match &error {
            ServerError::Listen { .. } => {
                "name another --port or --bind; --port 0 takes a free port"
            }
        };
        Self::new(Exit::Failed, error.to_string()).hint(hint)
    }
}
