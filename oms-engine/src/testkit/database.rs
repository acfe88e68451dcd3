//! A database per test, cloned from a template that is filled once.

use std::error::Error;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::admin::{Seat, background, connect, doing};
use super::{TestkitError, rights};

/// Advisory lock class of the templates.
const TEMPLATE_LOCKS: i32 = 0x6f6d_7302;
const TEMPLATE_PREFIX: &str = "oms_tpl_";
const TEMPLATE_AGE_MAX_S: u32 = 7 * 24 * 3600;
const NOW_S: &str = "extract(epoch FROM statement_timestamp())::bigint";
/// How often a clone is tried while somebody, such as autovacuum, is in the template.
const IN_USE_TRIES: u32 = 100;
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// A database of its own for one test, on a server that all tests share.
///
/// The server is that of `DATABASE_URL` when it is set; otherwise one of our own, started by the
/// first test process and stopped seconds after the last. The database is dropped when this is.
#[must_use = "the database is dropped with this"]
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    owner_url: String,
}

impl TestDatabase {
    /// Makes a database by cloning the template of `key`.
    ///
    /// The first caller of a key fills the template: `fill` gets a client that is connected to an
    /// empty database. Put into `key` all that decides what `fill` does (the text of the
    /// migrations, say): another key makes another template.
    ///
    /// # Errors
    ///
    /// [`TestkitError`] when there is no server, or `fill` failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most a database that the next test run removes.
    pub async fn create<F, E>(key: &str, fill: F) -> Result<Self, TestkitError>
    where
        F: AsyncFnOnce(&Client) -> Result<(), E>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let seat = Seat::taken().await?;
        let template = template_name(key);
        if !exists(&seat.admin, &template).await? {
            make_template(seat, &template, fill).await?;
        }
        Self::cloned_from(seat, &template).await
    }

    /// Makes an empty database.
    ///
    /// # Errors
    ///
    /// [`TestkitError`] when there is no server.
    ///
    /// # Cancel safety
    ///
    /// As [`create`](Self::create).
    pub async fn empty() -> Result<Self, TestkitError> {
        Self::cloned_from(Seat::taken().await?, "template0").await
    }

    async fn cloned_from(seat: &'static Seat, template: &str) -> Result<Self, TestkitError> {
        let name = seat.new_name();
        // From here on the name is dropped, also when the clone fails half way.
        let url = seat.url_of(&name);
        let database = Self { owner_url: url.clone(), url, name };
        let sql = format!("CREATE DATABASE \"{}\" TEMPLATE \"{template}\"", database.name);
        while_in_use(&seat.admin, &sql).await?;
        Ok(database)
    }

    /// A database with the engine's tables in their default schema.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    ///
    /// # Cancel safety
    ///
    /// As [`create`](Self::create).
    pub async fn migrated() -> Result<Self, TestkitError> {
        let schema = crate::config::DEFAULT_SCHEMA;
        let sql = crate::store::migration_sql(schema).unwrap_or_default();
        let key = format!("engine {sql}");
        Self::create(&key, async |client: &Client| client.batch_execute(&sql).await).await
    }

    /// The same database, where [`url`](Self::url) is now of a user of its own, with the rights
    /// that [`roles_sql`](crate::roles_sql) gives an application, and all rights on what is and
    /// will be in the schema `public`. So a test shows that what it runs needs no more in
    /// production. [`connect`](Self::connect) and [`owner_url`](Self::owner_url) stay the owner's.
    ///
    /// The database has the engine's tables in their default schema. The user of `DATABASE_URL`
    /// may make roles; they go with the database.
    ///
    /// # Errors
    ///
    /// [`TestkitError`] when the roles could not be made.
    ///
    /// # Cancel safety
    ///
    /// As [`create`](Self::create).
    pub async fn as_application(mut self) -> Result<Self, TestkitError> {
        let password = rights::make_roles(&self.connect().await?, &self.name).await?;
        let [application, _] = rights::names_of(&self.name);
        self.url = rights::with_user(&self.owner_url, &application, &password);
        Ok(self)
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its owner connects.
    #[must_use]
    pub fn owner_url(&self) -> &str {
        &self.owner_url
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects to it as its owner. The connection lives on a runtime of the test kit's.
    ///
    /// # Errors
    ///
    /// [`TestkitError::Database`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(&self) -> Result<Client, TestkitError> {
        connect(&self.owner_url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let (done, finished) = std::sync::mpsc::channel::<()>();
        let work = async move {
            if let Ok(seat) = Seat::taken().await
                && let Err(error) = seat.drop_database(&name).await
            {
                tracing::warn!("{error}");
            }
            drop(done);
        };
        // Our own server goes with all that is on it. On somebody else's nothing may be left, so
        // the test waits; the work runs on another runtime, which this does not block.
        if background(work).is_some() && Seat::is_foreign() {
            finished.recv().unwrap_or_default();
        }
    }
}

fn template_name(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let digits: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("{TEMPLATE_PREFIX}{digits}")
}

async fn exists(admin: &Client, name: &str) -> Result<bool, TestkitError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    let row = admin.query_one(sql, &[&name]).await;
    row.map(|row| row.get(0)).map_err(|source| doing("looking for a template", source))
}

/// A template appears under its name when it is complete; who finds the lock taken waits.
async fn make_template<F, E>(seat: &Seat, template: &str, fill: F) -> Result<(), TestkitError>
where
    F: AsyncFnOnce(&Client) -> Result<(), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // A connection of its own: the lock goes with it, also when the future is dropped, and two
    // tests of one process exclude each other.
    let turn = connect(seat.url()).await?;
    turn.execute("SELECT pg_advisory_lock($1, hashtext($2))", &[&TEMPLATE_LOCKS, &template])
        .await
        .map_err(|source| doing("waiting for the template", source))?;
    if exists(&turn, template).await? {
        return Ok(());
    }
    let draft = format!("{template}_draft");
    seat.drop_database(&draft).await?;
    while_in_use(&turn, &format!("CREATE DATABASE \"{draft}\" TEMPLATE template0")).await?;
    let client = connect(&seat.url_of(&draft)).await?;
    fill(&client).await.map_err(|error| TestkitError::Fill {
        template: template.to_owned(),
        source: error.into(),
    })?;
    drop(client);
    while_in_use(&turn, &format!("ALTER DATABASE \"{draft}\" RENAME TO \"{template}\"")).await?;
    // Nobody may be in a database that is being cloned.
    let closed = format!(
        "ALTER DATABASE \"{template}\" ALLOW_CONNECTIONS false;
         DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE \"{template}\" IS %L', {NOW_S}); END $$"
    );
    turn.batch_execute(&closed).await.map_err(|source| doing("closing the template", source))
}

/// Drops templates that were made long ago: of migrations that have changed since, most likely. A
/// server of ours never gets that old.
pub(super) async fn drop_old_templates(admin: &Client) -> Result<(), TestkitError> {
    let sql = format!(
        "SELECT datname::text FROM (
             SELECT datname, shobj_description(oid, 'pg_database') AS made_at_s
             FROM pg_database WHERE starts_with(datname::text, '{TEMPLATE_PREFIX}')
         ) AS templates
         WHERE made_at_s ~ '^[0-9]+$' AND made_at_s::bigint < {NOW_S} - {TEMPLATE_AGE_MAX_S}"
    );
    let old = admin.query(&sql, &[]).await;
    for row in old.map_err(|source| doing("looking for old templates", source))? {
        let name: String = row.get(0);
        // One that is being cloned right now is in use, and dropped another time.
        if let Err(error) =
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\"")).await
        {
            tracing::warn!("{}", doing(&format!("dropping {name}"), error));
        }
    }
    Ok(())
}

async fn while_in_use(admin: &Client, sql: &str) -> Result<(), TestkitError> {
    for _ in 0..IN_USE_TRIES {
        match admin.batch_execute(sql).await {
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(IN_USE_PAUSE).await;
            }
            other => return other.map_err(|source| doing(sql, source)),
        }
    }
    admin.batch_execute(sql).await.map_err(|source| doing(sql, source))
}
