//! Where the values of secrets come from.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use async_trait::async_trait;

use crate::error::Error;

/// Gives the values of secrets that definitions name: `${workflow.secrets.NAME}`.
///
/// It is asked each time that a task which names a secret is handed out; one that is slow to ask
/// keeps what it got for a while itself. The answer is waited for as long as
/// [`EngineBuilder::deadline`](crate::EngineBuilder::deadline) says.
///
/// ```
/// use oms_engine::{SecretValue, SecretsProvider};
///
/// struct Vault;
///
/// impl SecretsProvider for Vault {
///     async fn secret(
///         &self,
///         name: &str,
///     ) -> Result<Option<SecretValue>, Box<dyn std::error::Error + Send + Sync>> {
///         Ok((name == "card_key").then(|| SecretValue::new("k-1")))
///     }
/// }
/// ```
pub trait SecretsProvider: Send + Sync + 'static {
    /// The value of a secret; none where there is no such secret.
    ///
    /// # Errors
    /// The secret cannot be had now: the task is retried by its policy. The error's text is
    /// logged, so it must not hold a value.
    ///
    /// # Cancel safety
    /// The future is dropped when the time is up or the task is cancelled.
    fn secret(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<SecretValue>, Box<dyn StdError + Send + Sync>>> + Send;
}

/// The value of a secret. It is not shown by `Debug`, and cannot be written as JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Of a text. One that is JSON can be read at a path: `${workflow.secrets.NAME.path}`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Secrets in environment variables of this process: secret `NAME` is the variable of a prefix
/// and `NAME`.
///
/// ```
/// let secrets = oms_engine::EnvSecrets::with_prefix("SHOP_SECRET_")?;
/// # Ok::<(), oms_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EnvSecrets {
    prefix: String,
}

impl EnvSecrets {
    /// With a prefix, so that no definition can read other variables.
    ///
    /// # Errors
    /// [`Error::Config`] for a prefix that is empty or can begin no variable's name.
    pub fn with_prefix(prefix: impl Into<String>) -> Result<Self, Error> {
        let prefix = prefix.into();
        if prefix.is_empty() || prefix.contains(['=', '\0']) {
            return Err(Error::Config(format!(
                "prefix of secrets {prefix:?}: use one that no other variables begin with"
            )));
        }
        Ok(Self { prefix })
    }
}

impl SecretsProvider for EnvSecrets {
    async fn secret(
        &self,
        name: &str,
    ) -> Result<Option<SecretValue>, Box<dyn StdError + Send + Sync>> {
        if name.contains(['=', '\0']) {
            return Ok(None);
        }
        let variable = format!("{}{name}", self.prefix);
        match std::env::var_os(&variable).map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(SecretValue(text))),
            Some(Err(_)) => Err(format!("variable {variable} is no UTF-8 text").into()),
        }
    }
}

/// A provider without its type.
#[async_trait]
pub(crate) trait ErasedProvider: Send + Sync {
    async fn secret(
        &self,
        name: &str,
    ) -> Result<Option<SecretValue>, Box<dyn StdError + Send + Sync>>;
}

pub(crate) struct Provider<T>(pub(crate) T);

#[async_trait]
impl<T: SecretsProvider> ErasedProvider for Provider<T> {
    async fn secret(
        &self,
        name: &str,
    ) -> Result<Option<SecretValue>, Box<dyn StdError + Send + Sync>> {
        self.0.secret(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_shown() {
        assert_eq!(format!("{:?}", Some(SecretValue::new("hunter2"))), "Some(SecretValue(…))");
    }

    #[test]
    fn a_prefix_that_would_open_the_whole_environment_is_refused() {
        for prefix in ["", "A=", "A\0"] {
            assert!(matches!(EnvSecrets::with_prefix(prefix), Err(Error::Config(_))), "{prefix:?}");
        }
    }

    #[tokio::test]
    async fn variables_without_the_prefix_are_not_read() {
        let secrets = EnvSecrets::with_prefix("CARGO_PKG_").unwrap();
        let name = secrets.secret("NAME").await.unwrap();
        assert_eq!(name, Some(SecretValue::new("oms-engine")));
        for other in ["PATH", "CARGO_PKG_NAME", "", "=", "\0"] {
            assert_eq!(secrets.secret(other).await.unwrap(), None, "{other:?}");
        }
    }
}
