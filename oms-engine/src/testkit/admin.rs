//! This process's seat on the test server: which databases are its own, and the work on them.
//!
//! Each process draws a number, holds an advisory lock on it as long as it lives, and puts it into
//! the names of its databases. So a database whose number is not locked belongs to a run that is
//! over, and is dropped by the next one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::TestkitError;
use super::database::drop_old_templates;
use super::rights::names_of;
use crate::embedded::env::Env;
use crate::embedded::folder::random_hex;
use crate::embedded::{Database, Postgres};

/// Advisory lock class of the processes' numbers.
const PROCESS_LOCKS: i32 = 0x6f6d_7301;
pub(super) const TEST_PREFIX: &str = "oms_test_";

/// Connections outlive the runtime of the test that made them, so they get one of their own.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("oms-testkit")
        .enable_all()
        .build()
        .ok()
});
static SEAT: OnceCell<Seat> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(super) struct Seat {
    server: Database,
    /// Holds the lock on `number` and does the administration.
    pub(super) admin: Client,
    number: i32,
}

/// Runs a future on the test kit's own runtime; returns at once.
pub(super) fn background<F>(work: F) -> Option<tokio::task::JoinHandle<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.as_ref().map(|runtime| runtime.spawn(work))
}

/// Connects; the connection lives on the test kit's runtime.
pub(super) async fn connect(url: &str) -> Result<Client, TestkitError> {
    let failed = |source| TestkitError::Database { doing: format!("connecting to {url}"), source };
    let url = url.to_owned();
    let connecting = background(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    });
    match connecting {
        Some(task) => task.await.map_err(|error| lost(&error))?.map_err(failed),
        None => Err(TestkitError::Signal("the test kit has no runtime".to_owned())),
    }
}

fn lost(error: &tokio::task::JoinError) -> TestkitError {
    TestkitError::Signal(format!("the test kit's runtime stopped: {error}"))
}

impl Seat {
    pub(super) async fn taken() -> Result<&'static Self, TestkitError> {
        SEAT.get_or_try_init(Self::take).await
    }

    async fn take() -> Result<Self, TestkitError> {
        // Its data goes with it, so nothing needs to outlive the machine; and each database that a
        // test drops would wait until all others are on disk.
        let server = Postgres::builder().shared(shared_name());
        let server = server.setting("fsync", "off").setting("full_page_writes", "off");
        // Tests wait more than they work, so many run side by side, each with engines of its own.
        let server = server.setting("max_connections", "500");
        let server = server.database().await?;
        let admin = connect(server.url()).await?;
        let failed = |source| doing("taking a seat on the test server", source);
        let number = loop {
            let number = draw_number()?;
            let row = admin
                .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&PROCESS_LOCKS, &number])
                .await
                .map_err(failed)?;
            if row.get(0) {
                break number;
            }
        };
        let seat = Self { server, admin, number };
        seat.drop_leftovers().await?;
        drop_old_templates(&seat.admin).await?;
        Ok(seat)
    }

    /// The URL of a database of this server.
    pub(super) fn url_of(&self, database: &str) -> String {
        with_database(self.server.url(), database)
    }

    /// The URL that administration goes through; advisory locks hold within its database.
    pub(super) fn url(&self) -> &str {
        self.server.url()
    }

    pub(super) fn new_name(&self) -> String {
        let serial = DATABASES.fetch_add(1, Ordering::Relaxed);
        format!("{TEST_PREFIX}{}_{serial}", self.number)
    }

    async fn drop_leftovers(&self) -> Result<(), TestkitError> {
        let failed = |source| doing("dropping databases of earlier runs", source);
        let names = self
            .admin
            .query(
                "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, $1)",
                &[&TEST_PREFIX],
            )
            .await
            .map_err(failed)?;
        for row in names {
            let name: String = row.get(0);
            let Some(number) = owner_of(&name).filter(|number| *number != self.number) else {
                continue;
            };
            let row = self
                .admin
                .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&PROCESS_LOCKS, &number])
                .await
                .map_err(failed)?;
            if row.get(0) {
                self.drop_database(&name).await?;
                self.admin
                    .execute("SELECT pg_advisory_unlock($1, $2)", &[&PROCESS_LOCKS, &number])
                    .await
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    pub(super) async fn drop_database(&self, name: &str) -> Result<(), TestkitError> {
        self.admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))
            .await
            .map_err(|source| doing(&format!("dropping {name}"), source))?;
        self.drop_roles(name).await
    }

    /// Nothing is left that they could own. Who may make none has none to drop.
    async fn drop_roles(&self, database: &str) -> Result<(), TestkitError> {
        let failed = |source| doing("dropping the roles of a database", source);
        let names = names_of(database);
        let sql = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1::text[])";
        for row in self.admin.query(sql, &[&names.as_slice()]).await.map_err(failed)? {
            let sql = format!("DROP ROLE IF EXISTS \"{}\"", row.get::<_, &str>(0));
            self.admin.batch_execute(&sql).await.map_err(failed)?;
        }
        Ok(())
    }
}

pub(super) fn doing(what: &str, source: tokio_postgres::Error) -> TestkitError {
    TestkitError::Database { doing: what.to_owned(), source }
}

/// Per user, so that two of them do not meet.
fn shared_name() -> String {
    format!("oms-tests-{}", nix::unistd::geteuid())
}

fn draw_number() -> Result<i32, TestkitError> {
    let drawn = random_hex().map_err(|error| TestkitError::Signal(error.to_string()))?;
    let digits = drawn.get(..7).unwrap_or_default();
    i32::from_str_radix(digits, 16).map_err(|error| TestkitError::Signal(error.to_string()))
}

/// The number of the process in `oms_test_<number>_<serial>`.
fn owner_of(name: &str) -> Option<i32> {
    name.strip_prefix(TEST_PREFIX)?.split_once('_')?.0.parse().ok()
}

/// The same connection string with another database, for both forms that libpq has.
fn with_database(url: &str, database: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url} dbname={database}");
    };
    let (before, options) = match rest.split_once('?') {
        Some((before, options)) => (before, format!("?{options}")),
        None => (rest, String::new()),
    };
    let host = before.split_once('/').map_or(before, |(host, _)| host);
    format!("{scheme}://{host}/{database}{options}")
}

impl Seat {
    /// Whether tests run on the server of `DATABASE_URL`.
    pub(super) fn is_foreign() -> bool {
        Env::read().database_url.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{owner_of, with_database};

    #[test]
    fn another_database_of_the_same_server_keeps_all_else() {
        for (given, wanted) in [
            (
                "postgres://u:p@h:5432/old?sslmode=disable",
                "postgres://u:p@h:5432/new?sslmode=disable",
            ),
            ("postgresql://oms@%2Ftmp%2Fx:5432/postgres", "postgresql://oms@%2Ftmp%2Fx:5432/new"),
            ("postgres://h", "postgres://h/new"),
            ("postgres://h?connect_timeout=3", "postgres://h/new?connect_timeout=3"),
            ("host=h user=u dbname=old", "host=h user=u dbname=old dbname=new"),
        ] {
            assert_eq!(with_database(given, "new"), wanted);
        }
    }

    #[test]
    fn a_test_database_names_its_process() {
        assert_eq!(owner_of("oms_test_77_3"), Some(77));
        assert_eq!(owner_of("oms_tpl_77"), None);
    }
}
