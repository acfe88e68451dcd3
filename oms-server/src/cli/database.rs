//! Commands that go to the database.

use std::path::PathBuf;

use clap::Args;
use oms_engine::embedded::{Database, Postgres, Progress};

use super::failure::{Exit, Failure};
use super::out::Out;

#[derive(Args, Debug)]
pub(super) struct DatabaseOptions {
    /// The database; `sslmode=require` in it asks for TLS with a verified certificate. Without
    /// one, a PostgreSQL server of this machine is started, or downloaded.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Where the data of a server that is started here is kept.
    #[arg(long, global = true, conflicts_with = "database_url", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The schema of the engine's tables.
    #[arg(long, global = true, default_value = "oms_engine")]
    pub(super) schema: String,
}

impl DatabaseOptions {
    /// The URL, and the server that it is of if it was started here; keep that.
    pub(super) async fn open(&self, out: Out) -> Result<(Option<Database>, String), Failure> {
        if let Some(url) = &self.database_url {
            return Ok((None, url.clone()));
        }
        let builder = match &self.data {
            Some(folder) => Postgres::builder().kept_in(folder),
            None => Postgres::builder().kept(),
        };
        let bar = out.progress(0, "PostgreSQL");
        let shown = bar.clone();
        let told = builder.on_progress(move |progress| match progress {
            Progress::Downloading { received, total } => {
                shown.set_message("downloading PostgreSQL");
                shown.set_length(total.unwrap_or(received));
                shown.set_position(received);
            }
            other => shown.set_message(match other {
                Progress::Unpacking => "unpacking PostgreSQL",
                Progress::Initializing => "making a database",
                _ => "starting PostgreSQL",
            }),
        });
        let begun = told.database().await;
        bar.finish_and_clear();
        let database = begun.map_err(|error| {
            Failure::new(Exit::Unreachable, error.to_string())
                .hint("name a database with --database-url or DATABASE_URL")
        })?;
        let url = database.url().to_owned();
        Ok((Some(database), url))
    }
}

/// Runs what needs the database on threads of its own.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot begin", error))?;
    runtime.block_on(work)
}
