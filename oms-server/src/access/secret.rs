//! Secrets of keys, and tokens.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What is kept of a secret or a token.
///
/// Plain SHA-256 and none of the slow hashes for passwords: these are 256 random bits that we
/// drew, so nobody finds one by trying, however fast; a slow hash would only make every request for
/// a token a way to keep the server busy.
pub(crate) type Hash = [u8; 32];

pub(crate) fn hash_of(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// In a time that says nothing of where they differ.
pub(crate) fn is_of(hash: &[u8], text: &str) -> bool {
    hash.ct_eq(&hash_of(text)).into()
}

/// A text that nobody can guess. It is shown once; say it nowhere else.
pub(crate) struct NewSecret(pub(crate) String);

impl NewSecret {
    /// # Errors
    /// The system has no randomness to give.
    pub(crate) fn draw() -> Result<Self, getrandom::Error> {
        random_hex::<32>().map(Self)
    }

    /// A short text of the same kind, for an id.
    pub(crate) fn draw_id() -> Result<String, getrandom::Error> {
        random_hex::<8>()
    }
}

fn random_hex<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_again_by_its_hash_alone() {
        let secrets = [NewSecret::draw().unwrap().0, NewSecret::draw().unwrap().0];
        assert_eq!(secrets[0].len(), 64);
        assert!(is_of(&hash_of(&secrets[0]), &secrets[0]));
        assert!(!is_of(&hash_of(&secrets[0]), &secrets[1]));
        assert!(!is_of(&[], &secrets[0]));
    }
}
