//! The engine's tables without an engine: for tools that make or look at them.

use std::sync::Arc;
use std::time::Duration;

use crate::advance::{Core, Plans, Sweep, Swept};
use crate::config::Retention;
use crate::error::Error;
use crate::store::{ApiKey, ApiRole, Connector, Migration, Store};

/// While an engine removes old runs.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The tables of the engine in one database. No work is done through it.
#[derive(Debug)]
pub struct Tables {
    pub(super) connector: Connector,
    pub(super) store: Store,
    deadline: Duration,
}

impl Tables {
    /// The tables of a schema in the database of this URL; it is connected to by each call.
    ///
    /// # Errors
    /// [`Error::Config`] for the URL or the schema's name.
    pub fn new(database_url: &str, schema: &str, deadline: Duration) -> Result<Self, Error> {
        Ok(Self {
            connector: Connector::new(database_url, deadline)?,
            store: Store::new(schema, deadline)?,
            deadline,
        })
    }

    /// Host, port and database, for messages: never the password.
    #[must_use]
    pub fn target(&self) -> String {
        self.connector.target()
    }

    /// All migrations that this library knows, by version, each with when it was applied.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; [`Error::SchemaVersion`] when the tables are newer than this library.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn migrations(&self) -> Result<Vec<Migration>, Error> {
        let mut client = self.connect().await?;
        self.store.migrations(&mut client).await
    }

    /// Brings the tables to this library's version, in one transaction: two at once do it once.
    ///
    /// # Errors
    /// As [`migrations`](Self::migrations).
    ///
    /// # Cancel safety
    /// Dropped, all of it was done or nothing.
    pub async fn migrate(&self) -> Result<(), Error> {
        let mut client = self.connect().await?;
        self.store.migrate(&mut client).await
    }

    /// Removes all runs that ended longer ago than that, by whole families of parents and children.
    /// Out: how many.
    ///
    /// # Errors
    /// As [`create_api_key`](Self::create_api_key); [`Error::Export`]. What was removed before
    /// stays so.
    ///
    /// # Cancel safety
    /// Dropped, it was done in part: each family is there or gone.
    pub async fn purge(&self, retention: &Retention) -> Result<usize, Error> {
        let mut client = self.ready().await?;
        let store = Store::new(self.store.schema(), self.deadline)?;
        let core = Core { store, plans: Plans::new(Arc::default()) };
        let mut sweep = Sweep::new(retention);
        let mut removed = 0;
        loop {
            match sweep.step(&core, &mut client).await? {
                Swept::Removed(runs) => removed += runs,
                Swept::Busy => tokio::time::sleep(ASK_AGAIN).await,
                Swept::All => return Ok(removed),
            }
        }
    }

    /// Keeps a key for clients of a server, with the hash of its secret.
    ///
    /// # Errors
    /// As [`migrations`](Self::migrations); [`Error::SchemaVersion`] also where the tables are older;
    /// [`Error::Database`] for an id that there is.
    ///
    /// # Cancel safety
    /// Dropped, it was kept or not.
    pub async fn create_api_key(
        &self,
        id: &str,
        name: &str,
        role: ApiRole,
        secret_hash: &[u8],
    ) -> Result<(), Error> {
        let client = self.ready().await?;
        self.store.insert_api_key(&client, (id, name), role, secret_hash).await
    }

    /// All keys, the oldest first, also those that were revoked.
    ///
    /// # Errors
    /// As [`create_api_key`](Self::create_api_key).
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, Error> {
        let client = self.ready().await?;
        self.store.list_api_keys(&client).await
    }

    /// Makes a key good for nothing. Out: whether there is one.
    ///
    /// # Errors
    /// As [`create_api_key`](Self::create_api_key).
    ///
    /// # Cancel safety
    /// Dropped, it was revoked or not.
    pub async fn revoke_api_key(&self, id: &str) -> Result<bool, Error> {
        let client = self.ready().await?;
        self.store.revoke_api_key(&client, id).await
    }

    /// A connection to tables of this version.
    async fn ready(&self) -> Result<deadpool_postgres::ClientWrapper, Error> {
        let mut client = self.connect().await?;
        self.store.check_schema(&mut client).await?;
        Ok(client)
    }

    pub(super) async fn connect(&self) -> Result<deadpool_postgres::ClientWrapper, Error> {
        let connected = self.connector.connect().await;
        Ok(connected.map_err(|error| error.unreachable(self.connector.target()))?.0)
    }
}
