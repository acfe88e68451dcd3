//! `oms`: the command line of oms-server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use oms_engine::embedded::{Database, Postgres};
use oms_engine::{Engine, HttpSettings};
use oms_server::{Limits, serve};
use tokio::signal::unix::{SignalKind, signal};

/// Workflows on PostgreSQL, with Conductor's API.
#[derive(Debug, Parser)]
#[command(name = "oms", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves Conductor's REST API.
    Server(ServerOptions),
}

#[derive(Args, Debug)]
struct ServerOptions {
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on. Whoever reaches it may use it.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The database. Without one, a PostgreSQL server of this machine is started, or downloaded.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where the data of a server that is started here is kept.
    #[arg(long, conflicts_with = "database_url")]
    data: Option<PathBuf>,
    /// The schema of the engine's tables.
    #[arg(long, default_value = "oms_engine")]
    schema: String,
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

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Command::Server(options) = options.command;
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&*error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the command's own message")]
fn say_error(error: &(dyn std::error::Error + Send + Sync)) {
    eprintln!("oms: {error}");
}

#[expect(clippy::print_stdout, reason = "the one line that says where it is")]
fn say_ready(address: SocketAddr) {
    use std::io::Write as _;
    println!("oms server listens on http://{address}");
    if let Err(error) = std::io::stdout().flush() {
        tracing::debug!(%error, "nobody reads where the server is");
    }
}

fn run(options: ServerOptions) -> Result<(), Failure> {
    // Definitions may be written on these, and tasks may stand deep in each other.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    runtime.block_on(server(options))
}

async fn server(options: ServerOptions) -> Result<(), Failure> {
    // From the first moment on, so that one that comes early is not lost.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
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
        () = &mut told => return Ok(()),
    };
    say_ready(server.address());
    told.await;
    server.stop(Duration::from_secs(options.grace)).await;
    Ok(())
}

async fn start(options: &ServerOptions) -> Result<(Option<Database>, oms_server::Server), Failure> {
    let (database, url) = match &options.database_url {
        Some(url) => (None, url.clone()),
        None => {
            let builder = match &options.data {
                Some(folder) => Postgres::builder().kept_in(folder),
                None => Postgres::builder().kept(),
            };
            let database = builder.database().await?;
            let url = database.url().to_owned();
            (Some(database), url)
        }
    };
    let name = format!("oms-server-{}", std::process::id());
    let builder = Engine::builder(&url).migrate().schema(&options.schema).name(&name);
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
