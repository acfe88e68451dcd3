//! Tokens for keys.

use super::{Access, NewSecret, TOKEN_GOOD_FOR, hash_of, is_of};
use crate::refusal::Refusal;

impl Access {
    /// A token for who has the secret of a key. Without keys there is nothing to ask a token for.
    pub(crate) async fn give_token(&self, key_id: &str, secret: &str) -> Result<String, Refusal> {
        let keys = self.keys().await?;
        if keys.is_empty() {
            return Err(Refusal::not_found("no token is needed: this server has no keys"));
        }
        let key = keys.get(key_id);
        // The same for an id that there is not and a secret that is wrong.
        let good = is_of(key.map_or(&[], |key| &key.secret_hash), secret);
        let key = key.filter(|_| good).ok_or_else(|| self.refuse("keyId or keySecret is wrong"))?;
        let drawn = NewSecret::draw();
        let drawn = drawn.map_err(|error| Refusal::busy(format!("no token: {error}")))?;
        let token = format!("{}.{}", key.id, drawn.0);
        // The database knows best whether the key has been revoked meanwhile.
        if !self.engine.put_api_token(&hash_of(&token), &key.id, TOKEN_GOOD_FOR).await? {
            return Err(self.refuse("the key is revoked"));
        }
        Ok(token)
    }
}
