//! Where it is measured: the server, a database for each run, and what a run used of them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use oms_engine::embedded::{self, Postgres};
use oms_engine::tokio_postgres::{self, Client, NoTls};

use super::figures::figure;
use super::{Failure, Figures, statements, usage};

/// The server's settings, beside those of every server that the library starts. Durability is
/// PostgreSQL's own.
const SETTINGS: &[(&str, &str)] =
    &[("shared_buffers", "1GB"), ("max_wal_size", "16GB"), ("checkpoint_timeout", "30min")];
const STATED: &[&str] = &[
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "autovacuum",
];

pub(crate) struct Place {
    server: embedded::Database,
    admin: Client,
    databases: AtomicUsize,
}

/// A database for one run.
pub(crate) struct Database<'a> {
    place: &'a Place,
    name: String,
    url: String,
    client: Client,
    /// The server's process; none where it runs on another machine.
    postmaster: Option<u32>,
}

impl Place {
    pub(crate) async fn open() -> Result<Self, Failure> {
        let mut server = Postgres::builder().throwaway();
        for (name, value) in SETTINGS {
            server = server.setting(*name, *value);
        }
        // Not every server has the library that counts statements.
        let (library, name) = statements::LIBRARY;
        let counting = server.clone().setting(library, name).database().await;
        let server = match counting {
            Ok(server) => server,
            Err(_) => server.database().await?,
        };
        let admin = connect(server.url()).await?;
        Ok(Self { server, admin, databases: AtomicUsize::new(0) })
    }

    /// The machine, the server and its settings.
    pub(crate) async fn description(&self) -> Result<String, Failure> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = std::thread::available_parallelism()?;
        let mut text = format!(
            "{}, {cores} cores shared by engine, tasks and PostgreSQL; oms-engine {}",
            cpu.map_or("unknown processor", |(_, name)| name),
            env!("CARGO_PKG_VERSION"),
        );
        for name in STATED {
            let row = self.admin.query_one("SELECT current_setting($1)", &[name]).await?;
            let value: String = row.get(0);
            write!(text, "\n{name} = {value}")?;
        }
        Ok(text)
    }

    /// Transactions of a database so far; asked on a connection to another one.
    pub(crate) async fn transactions(&self, database: &Database<'_>) -> Result<f64, Failure> {
        let sql = "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database
                   WHERE datname = $1";
        Ok(self.admin.query_one(sql, &[&database.name]).await?.get(0))
    }

    /// A new database, empty.
    pub(crate) async fn database(&self) -> Result<Database<'_>, Failure> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("oms_bench_{}_{number}", std::process::id());
        self.admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        self.admin.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let url = with_database(self.server.url(), &name);
        let client = connect(&url).await?;
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let postmaster = usage::parent_of(u32::try_from(pid)?);
        statements::count(&client).await;
        Ok(Database { place: self, name, url, client, postmaster })
    }
}

impl Database<'_> {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn drop(self) -> Result<(), Failure> {
        drop(self.client);
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        Ok(self.place.admin.batch_execute(&sql).await?)
    }

    /// Begins to measure.
    pub(crate) async fn begin(&self) -> Result<Begun, Failure> {
        self.client.batch_execute("/* harness */ CHECKPOINT").await?;
        usage::forget_peak()?;
        let wal = self.wal_position().await?;
        let commits = self.commits().await?;
        let statements = statements::sent(&self.client).await;
        let (server_cpu, own_cpu) = (self.server_cpu()?, usage::own_cpu()?);
        Ok(Begun { at: Instant::now(), wal, commits, statements, server_cpu, own_cpu })
    }

    /// What was used since then, for each of so many tasks.
    pub(crate) async fn used(&self, begun: &Begun, tasks: f64) -> Result<Used, Failure> {
        let seconds = begun.at.elapsed().as_secs_f64();
        let own = usage::own_cpu()? - begun.own_cpu;
        let server = match (self.server_cpu()?, begun.server_cpu) {
            (Some(now), Some(then)) => Some(now - then),
            _ => None,
        };
        let peak = usage::peak_memory()?;
        let wal = self.wal_position().await? - begun.wal;
        let commits = self.commits().await? - begun.commits;
        let statements = match (statements::sent(&self.client).await, begun.statements) {
            (Some(now), Some(then)) => Some(now - then),
            _ => None,
        };
        Ok(Used { seconds, tasks, own, server, wal, commits, statements, peak })
    }

    async fn wal_position(&self) -> Result<f64, Failure> {
        let sql = "/* harness */ SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// Transactions that wrote, so far.
    async fn commits(&self) -> Result<f64, Failure> {
        let sql = "/* harness */ SELECT pg_snapshot_xmax(pg_current_snapshot())::text::float8";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    fn server_cpu(&self) -> Result<Option<f64>, Failure> {
        self.postmaster.map(usage::server_cpu).transpose()
    }
}

/// Where the counters stood.
#[derive(Debug)]
pub(crate) struct Begun {
    at: Instant,
    wal: f64,
    commits: f64,
    statements: Option<f64>,
    server_cpu: Option<f64>,
    own_cpu: f64,
}

/// What a measured piece of work used.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    pub(crate) tasks: f64,
    own: f64,
    server: Option<f64>,
    wal: f64,
    commits: f64,
    statements: Option<f64>,
    peak: f64,
}

impl Used {
    /// CPU of both, in microseconds for each task. None where the server is elsewhere.
    pub(crate) fn cpu_per_task(&self) -> Option<f64> {
        self.server.map(|server| (self.own + server) * 1e6 / self.tasks)
    }

    /// What was used, for each task.
    pub(crate) fn figures(&self) -> Figures {
        self.figures_of("task")
    }

    /// What was used, for each of what was counted.
    pub(crate) fn figures_of(&self, unit: &str) -> Figures {
        let each = |value: f64| value / self.tasks;
        let mut figures = vec![
            (figure(format!("{unit}s per second"), "/s"), self.tasks / self.seconds),
            (figure(format!("WAL per {unit}"), "B"), each(self.wal)),
            (figure(format!("writing transactions per {unit}"), ""), each(self.commits)),
            (figure(format!("CPU of this program, per {unit}"), "us"), each(self.own) * 1e6),
        ];
        if let Some(statements) = self.statements {
            figures.push((figure(format!("statements per {unit}"), ""), each(statements)));
        }
        if let Some(server) = self.server {
            figures
                .push((figure(format!("CPU of PostgreSQL, per {unit}"), "us"), each(server) * 1e6));
        }
        figures.push((figure("peak memory of this process", "MiB"), self.peak));
        figures
    }
}

pub(crate) async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with the client; what breaks it, the next statement says.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(client)
}

/// The same connection string with another database, for both forms that libpq has.
fn with_database(url: &str, database: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url} dbname={database}");
    };
    let (before, options) = rest
        .split_once('?')
        .map_or((rest, String::new()), |(before, options)| (before, format!("?{options}")));
    let host = before.split_once('/').map_or(before, |(host, _)| host);
    format!("{scheme}://{host}/{database}{options}")
}
