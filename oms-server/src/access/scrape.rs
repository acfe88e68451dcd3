//! Who scrapes: Prometheus asks for no tokens, but sends a name and a password.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oms_engine::ApiRole;

use super::{Access, is_of};
use crate::refusal::Refusal;

impl Access {
    /// Lets a request pass that has a token of a key that may read, or that key's id and secret as
    /// HTTP's basic authentication; any while there is no key.
    pub(crate) async fn admit_scrape(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(given) = given.and_then(|text| text.strip_prefix("Basic ")) else {
            return self.admit(headers, ApiRole::Read).await;
        };
        let keys = self.keys().await?;
        if keys.is_empty() {
            return Ok(());
        }
        let given =
            STANDARD.decode(given.trim()).ok().and_then(|text| String::from_utf8(text).ok());
        let (id, secret) =
            given.as_deref().and_then(|text| text.split_once(':')).unwrap_or_default();
        let key = keys.get(id);
        // The same for an id that there is not and a secret that is wrong.
        let good = is_of(key.map_or(&[], |key| &key.secret_hash), secret);
        // Every role may read.
        if key.is_some_and(|key| good && key.revoked_at.is_none() && key.role >= ApiRole::Read) {
            return Ok(());
        }
        Err(self.refuse("the key's id or secret is wrong, or it is revoked"))
    }
}
