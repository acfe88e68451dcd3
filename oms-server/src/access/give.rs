//! Tokens for keys.

use std::time::{Duration, Instant, SystemTime};

use super::{Access, NewSecret, TOKEN_GOOD_FOR, hash_of, is_of};
use crate::refusal::Refusal;

/// After so long a browser must sign in again, however much it is used.
const SIGNED_IN_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Before the moment of the sign-in, at the end of a browser's token.
const SINCE: char = '~';

impl Access {
    /// A token for who has the secret of a key. Without keys there is nothing to ask a token for.
    pub(crate) async fn give_token(&self, key_id: &str, secret: &str) -> Result<String, Refusal> {
        self.give(key_id, secret, "").await
    }

    /// As [`give_token`](Self::give_token), for a browser: the token says when it signed in.
    pub(crate) async fn sign_in(&self, key_id: &str, secret: &str) -> Result<String, Refusal> {
        self.give(key_id, secret, &format!("{SINCE}{}", now())).await
    }

    async fn give(&self, key_id: &str, secret: &str, end: &str) -> Result<String, Refusal> {
        let keys = self.keys().await?;
        if keys.is_empty() {
            return Err(Refusal::not_found("no token is needed: this server has no keys"));
        }
        let key = keys.get(key_id);
        // The same for an id that there is not and a secret that is wrong.
        let good = is_of(key.map_or(&[], |key| &key.secret_hash), secret);
        let key = key.filter(|_| good).ok_or_else(|| self.refuse("keyId or keySecret is wrong"))?;
        // The database knows best whether the key has been revoked meanwhile.
        let token = self.new_token(&key.id, end, TOKEN_GOOD_FOR).await?;
        token.ok_or_else(|| self.refuse("the key is revoked"))
    }

    /// A token in place of one that a request of a browser was admitted with, and how long it is good,
    /// where it is time for that. The other one stays good until it runs out: requests that are under
    /// way have it.
    pub(crate) async fn renewed(&self, token: &str) -> Result<Option<(String, Duration)>, Refusal> {
        let parts =
            token.split_once('.').and_then(|(id, rest)| Some((id, rest.split_once(SINCE)?)));
        let Some((key_id, (_, since))) = parts else { return Ok(None) };
        let (Ok(since), Some(known)) = (since.parse::<u64>(), self.known(&hash_of(token))) else {
            return Ok(None);
        };
        let left = known.until.saturating_duration_since(Instant::now());
        let signed_in = Duration::from_secs(now().saturating_sub(since));
        let Some(good_for) = renewal(left, signed_in) else { return Ok(None) };
        let token = self.new_token(key_id, &format!("{SINCE}{since}"), good_for).await?;
        Ok(token.map(|token| (token, good_for)))
    }

    /// Out: none where the key is revoked. The end of a token is covered by its hash as the rest is.
    async fn new_token(
        &self,
        key_id: &str,
        end: &str,
        good_for: Duration,
    ) -> Result<Option<String>, Refusal> {
        let drawn = NewSecret::draw();
        let drawn = drawn.map_err(|error| Refusal::busy(format!("no token: {error}")))?;
        let token = format!("{key_id}.{}{end}", drawn.0);
        let kept = self.engine.put_api_token(&hash_of(&token), key_id, good_for).await?;
        Ok(kept.then_some(token))
    }
}

/// For how long a token is good that takes the place of one which is good for `left` more; none where it is
/// too early for another, or whoever has it must sign in again.
fn renewal(left: Duration, signed_in: Duration) -> Option<Duration> {
    let good_for = SIGNED_IN_MAX.saturating_sub(signed_in).min(TOKEN_GOOD_FOR);
    (left < TOKEN_GOOD_FOR / 2 && good_for > left).then_some(good_for)
}

/// Seconds of this machine's clock. That of a server beside it may differ a little, which changes nothing
/// over hours.
#[expect(clippy::disallowed_methods, reason = "hours of a sign-in; nothing of a run hangs on them")]
fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_is_renewed_on_use_and_ends_after_half_a_day_all_the_same() {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        for (left, signed_in, good_for) in [
            (50, 10, None),
            (30, 30, None),
            (29, 31, Some(60)),
            (5, 600, Some(60)),
            (20, 690, Some(30)),
            (20, 700, None),
            (10, 800, None),
        ] {
            let found = renewal(minutes(left), minutes(signed_in));
            assert_eq!(found, good_for.map(minutes), "{left} left, {signed_in} after the sign-in");
        }
    }
}
