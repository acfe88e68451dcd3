//! Who may do what: keys, the tokens that clients are given for them, and the role that each
//! endpoint needs.
//!
//! While the database has no key nobody is asked; from the first key on everybody is, also when
//! all keys are revoked.

mod give;
mod refusals;
mod roles;
mod scrape;
mod secret;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use oms_engine::{ApiKey, ApiRole, Engine};

pub use refusals::Refusals;
pub(crate) use roles::{Needs, needs};
pub(crate) use secret::{Hash, NewSecret, hash_of, is_of};

use crate::refusal::Refusal;
use refusals::Counts;

/// For so long a server goes by what it has read of the keys: a key that is made or revoked
/// counts after this at the latest.
const SEEN_FOR: Duration = Duration::from_secs(5);
/// Clients ask for a new token every 45 minutes or so.
pub(crate) const TOKEN_GOOD_FOR: Duration = Duration::from_secs(60 * 60);
/// Tokens that are known without asking the database.
const TOKENS_MAX: usize = 10_000;
/// Where clients put their token.
pub(crate) const HEADER: &str = "x-authorization";

/// What SDKs understand: they ask for a new token.
const EXPIRED: &str = "EXPIRED_TOKEN";
const INVALID: &str = "INVALID_TOKEN";

type Keys = HashMap<String, ApiKey>;

/// Asks who is there.
#[derive(Debug)]
pub(crate) struct Access {
    engine: Engine,
    seen: RwLock<Option<(Instant, Arc<Keys>)>>,
    /// One at a time reads the keys; the rest wait for what it finds.
    reading: tokio::sync::Mutex<()>,
    tokens: Mutex<HashMap<Hash, Known>>,
    counts: Counts,
}

/// Whose key a request came with.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    key_id: String,
    name: String,
    pub(crate) role: ApiRole,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (key {})", self.name, self.key_id)
    }
}

/// A token that the database had.
#[derive(Clone, Debug)]
struct Known {
    key_id: String,
    until: Instant,
}

impl Access {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            seen: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
            tokens: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn count_foreign(&self) {
        self.counts.foreign();
    }

    pub(crate) fn refusals(&self) -> Refusals {
        self.counts.so_far()
    }

    /// Of credentials that are wrong.
    pub(crate) fn refuse(&self, why: &str) -> Refusal {
        self.counts.unknown();
        Refusal::unknown(why, Some(INVALID))
    }

    /// The keys as they were at most [`SEEN_FOR`] ago.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, Refusal> {
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        let _reading = self.reading.lock().await;
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        let asked = Instant::now();
        // Boxed: every request would have to be given the room for it.
        let keys = Box::pin(self.engine.api_keys()).await?;
        let keys: Keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        let keys = Arc::new(keys);
        let seen = Some((asked, keys.clone()));
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(keys)
    }

    fn fresh(&self) -> Option<Arc<Keys>> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.as_ref().filter(|(at, _)| at.elapsed() < SEEN_FOR);
        fresh.map(|(_, keys)| keys.clone())
    }

    /// Lets a request pass whose token is of a key with the role, and any while there is no key.
    pub(crate) async fn admit(&self, headers: &HeaderMap, needed: ApiRole) -> Result<(), Refusal> {
        let keys = self.keys().await?;
        self.admitted(&keys, headers.get(HEADER), needed).await.map(drop)
    }

    /// As [`admit`](Self::admit), wherever the token came from. Out: whose it is; none while there
    /// is no key.
    pub(crate) async fn admit_token(
        &self,
        token: Option<&HeaderValue>,
        needed: ApiRole,
    ) -> Result<Option<Caller>, Refusal> {
        let keys = self.keys().await?;
        let key = self.admitted(&keys, token, needed).await?;
        Ok(key.map(|key| Caller { key_id: key.id.clone(), name: key.name.clone(), role: key.role }))
    }

    async fn admitted<'a>(
        &self,
        keys: &'a Keys,
        token: Option<&HeaderValue>,
        needed: ApiRole,
    ) -> Result<Option<&'a ApiKey>, Refusal> {
        if keys.is_empty() {
            return Ok(None);
        }
        let key = match self.key(token, keys).await {
            Ok(key) => key,
            Err(refusal) => {
                if refusal.status == axum::http::StatusCode::UNAUTHORIZED {
                    self.counts.unknown();
                }
                return Err(refusal);
            }
        };
        if key.role >= needed {
            return Ok(Some(key));
        }
        self.counts.forbidden();
        let text = format!(
            "key {} has the role {}, this needs {}",
            key.id,
            key.role.as_str(),
            needed.as_str()
        );
        Err(Refusal::forbidden(text))
    }

    async fn key<'a>(
        &self,
        token: Option<&HeaderValue>,
        keys: &'a Keys,
    ) -> Result<&'a ApiKey, Refusal> {
        let Some(token) = token else {
            let text = "a token is missing: POST the keyId and keySecret of a key to /api/token, \
                        and send the token as X-Authorization";
            return Err(Refusal::unknown(text, None));
        };
        let invalid = || Refusal::unknown("the token is not one of this server", Some(INVALID));
        let expired = || Refusal::unknown("the token has expired: ask for another", Some(EXPIRED));
        // The database is asked only of what looks like a token of a key that there is.
        let token = token.to_str().map_err(|_| invalid())?;
        let id = token.split_once('.').map(|(id, _)| id).ok_or_else(invalid)?;
        let key = keys.get(id).ok_or_else(invalid)?;
        if key.revoked_at.is_some() {
            return Err(Refusal::unknown("the token's key is revoked", Some(INVALID)));
        }
        let hash = hash_of(token);
        let known = match self.known(&hash) {
            Some(known) => known,
            None => {
                let found = Box::pin(self.engine.api_token(&hash)).await?;
                let (key_id, left) = found.ok_or_else(invalid)?;
                let known = Known { key_id, until: Instant::now() + left };
                self.remember(hash, known.clone());
                known
            }
        };
        if known.key_id != key.id {
            return Err(invalid());
        }
        if known.until <= Instant::now() {
            return Err(expired());
        }
        Ok(key)
    }

    fn known(&self, hash: &Hash) -> Option<Known> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn remember(&self, hash: Hash, known: Known) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            let now = Instant::now();
            tokens.retain(|_, known| known.until > now);
            if tokens.len() >= TOKENS_MAX {
                tokens.clear();
            }
        }
        tokens.insert(hash, known);
    }
}
