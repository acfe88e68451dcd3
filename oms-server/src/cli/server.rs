//! `oms server`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use oms_engine::embedded::Database;
use oms_engine::{Engine, HttpSettings};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Ended;
use super::database::DatabaseOptions;
use super::failure::{Exit, Failure};
use super::out::Out;
use crate::{Limits, ServerError, serve};

#[derive(Args, Debug)]
pub(super) struct ServerOptions {
    #[command(flatten)]
    database: DatabaseOptions,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on. Whoever reaches it may use it.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// A host that HTTP tasks of definitions may call (`name`, `*.name`, `name:port`, a network);
    /// can be given more than once. Without it definitions with HTTP tasks are refused.
    #[arg(long = "http-allow", value_name = "HOST")]
    http_allow: Vec<String>,
    /// How many seconds requests under way are given when it is told to stop.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    grace: u64,
}

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
    let starting = Box::pin(start(&options));
    // Kept until the engine is gone: the database may be ours.
    let (_database, server) = tokio::select! {
        started = starting => started?,
        () = &mut told => return Ok(Exit::Done),
    };
    let url = format!("http://{}", server.address());
    out.answer(&json!({ "url": url }), |out| out.line(&format!("oms server listens on {url}")));
    told.await;
    server.stop(Duration::from_secs(options.grace)).await;
    Ok(Exit::Done)
}

async fn start(options: &ServerOptions) -> Result<(Option<Database>, crate::Server), Failure> {
    let (database, url) = options.database.open().await?;
    let name = format!("oms-server-{}", std::process::id());
    let builder = Engine::builder(&url).migrate().schema(&options.database.schema).name(&name);
    let builder = match options.http_allow.as_slice() {
        [] => builder,
        hosts => builder.http(HttpSettings::allow(hosts.iter().cloned())),
    };
    let engine = builder.build().await?;
    if !options.bind.is_loopback() {
        tracing::warn!(address = %options.bind, "whoever reaches this address may use the server");
    }
    let address = SocketAddr::new(options.bind, options.port);
    Ok((database, serve(engine, address, Limits::default()).await?))
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
