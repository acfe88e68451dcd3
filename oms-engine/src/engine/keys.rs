//! Keys and tokens of a server's clients. Who may do what is the server's business.

use std::time::Duration;

use super::{Engine, connection};
use crate::error::Error;
use crate::store::ApiKey;

impl Engine {
    /// All keys, the oldest first, also those that were revoked. [`Tables`](crate::Tables) makes
    /// and revokes them.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, Error> {
        let engine = self.clone();
        self.on_own_threads(async move {
            let mut client = connection(&engine.inner.pool).await?;
            let done = engine.inner.shared.core.store.list_api_keys(client.client()?).await;
            client.settle(done)
        })
        .await
    }

    /// Keeps the hash of a token for a key. Out: whether there is such a key, and it is not
    /// revoked.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn put_api_token(
        &self,
        hash: &[u8],
        key_id: &str,
        good_for: Duration,
    ) -> Result<bool, Error> {
        let (engine, hash, key_id) = (self.clone(), hash.to_vec(), key_id.to_owned());
        self.on_own_threads(async move {
            let store = &engine.inner.shared.core.store;
            let mut client = connection(&engine.inner.pool).await?;
            let done = store.insert_api_token(client.client()?, &hash, &key_id, good_for).await;
            client.settle(done)
        })
        .await
    }

    /// The key that a token is for, and how long it still is good: zero for one that has run out.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn api_token(&self, hash: &[u8]) -> Result<Option<(String, Duration)>, Error> {
        let (engine, hash) = (self.clone(), hash.to_vec());
        self.on_own_threads(async move {
            let mut client = connection(&engine.inner.pool).await?;
            let done = engine.inner.shared.core.store.find_api_token(client.client()?, &hash).await;
            client.settle(done)
        })
        .await
    }
}
