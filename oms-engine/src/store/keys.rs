//! Keys and tokens of a server's clients.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::rows::get;
use super::{Executor, Store};
use crate::error::Error;

/// What a key may do; each role may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiRole {
    /// Look.
    Read,
    /// Start workflows, and do what workers do.
    Work,
    /// Everything.
    Admin,
}

impl ApiRole {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Work, Self::Admin];

    /// Its name: `read`, `work` or `admin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Work => "work",
            Self::Admin => "admin",
        }
    }
}

/// A key that clients of a server come with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// Whose it is, for people.
    pub name: String,
    /// What it may do.
    pub role: ApiRole,
    /// The hash of its secret, which is kept nowhere.
    pub secret_hash: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it is good for nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Store {
    pub(crate) async fn insert_api_key(
        &self,
        db: &impl Executor,
        (id, name): (&str, &str),
        role: ApiRole,
        secret_hash: &[u8],
    ) -> Result<(), Error> {
        let role = role.as_str();
        let sql = &self.sql.insert_api_key;
        self.rows(db, sql, &[&id, &name, &role, &secret_hash], "making a key").await?;
        Ok(())
    }

    pub(crate) async fn list_api_keys(&self, db: &impl Executor) -> Result<Vec<ApiKey>, Error> {
        let rows = self.rows(db, &self.sql.list_api_keys, &[], "reading the keys").await?;
        rows.iter().map(key).collect()
    }

    /// Out: whether there is one.
    pub(crate) async fn revoke_api_key(&self, db: &impl Executor, id: &str) -> Result<bool, Error> {
        let rows = self.rows(db, &self.sql.revoke_api_key, &[&id], "revoking a key").await?;
        Ok(!rows.is_empty())
    }

    /// Out: whether the key is one that may have it.
    pub(crate) async fn insert_api_token(
        &self,
        db: &impl Executor,
        hash: &[u8],
        key_id: &str,
        good_for: Duration,
    ) -> Result<bool, Error> {
        let ms = i64::try_from(good_for.as_millis()).unwrap_or(i64::MAX);
        let sql = &self.sql.insert_api_token;
        let rows = self.rows(db, sql, &[&hash, &key_id, &ms], "making a token").await?;
        Ok(!rows.is_empty())
    }

    /// Out: the key's id, and how long it still is good; zero for one that has run out.
    pub(crate) async fn find_api_token(
        &self,
        db: &impl Executor,
        hash: &[u8],
    ) -> Result<Option<(String, Duration)>, Error> {
        let rows = self.rows(db, &self.sql.find_api_token, &[&hash], "reading a token").await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let left = u64::try_from(get::<i64>(row, 1)?).unwrap_or(0);
        Ok(Some((get(row, 0)?, Duration::from_millis(left))))
    }
}

fn key(row: &Row) -> Result<ApiKey, Error> {
    let role: String = get(row, 2)?;
    let found = ApiRole::ALL.into_iter().find(|known| known.as_str() == role);
    let unknown = || Error::Invariant { workflow_id: None, what: format!("a key's role {role:?}") };
    Ok(ApiKey {
        id: get(row, 0)?,
        name: get(row, 1)?,
        role: found.ok_or_else(unknown)?,
        secret_hash: get(row, 3)?,
        created_at: get(row, 4)?,
        revoked_at: get(row, 5)?,
    })
}
