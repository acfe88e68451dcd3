//! TLS for clients.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A certificate and its key, as the files have them: they are read again when they change.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    /// As they were when they were read last.
    seen: Mutex<Option<Seen>>,
    acceptor: RwLock<TlsAcceptor>,
}

struct Files {
    certificates: PathBuf,
    key: PathBuf,
}

/// When each was changed, and its length.
type Seen = [(SystemTime, u64); 2];

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// The two do not belong together, or cannot be used.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
}

impl Files {
    /// None where one is not there, as while it is replaced.
    fn look(&self) -> Option<Seen> {
        let of = |file: &Path| {
            let found = std::fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        Some([of(&self.certificates)?, of(&self.key)?])
    }

    fn read(&self) -> Result<TlsAcceptor, TlsError> {
        let Self { certificates, key } = self;
        let wrong = |file: &Path, reason: String| TlsError::File {
            file: file.display().to_string(),
            reason,
        };
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(certificates, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(certificates, "holds no certificate".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Tls {
    /// Reads a certificate with those that lead to its root, and its private key, as PEM. While a
    /// server runs with them the files are looked at every five seconds: what has changed is read
    /// and holds for new connections; while the two cannot be used together, the old ones hold.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificates: certificates.to_owned(), key: key.to_owned() };
        let seen = Mutex::new(files.look());
        let acceptor = RwLock::new(files.read()?);
        Ok(Self(Arc::new(Inner { files, seen, acceptor })))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again whenever they have changed.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let tls = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || tls.look()).await {
                tracing::warn!(%error, "the certificate's files were not looked at");
            }
        }
    }

    fn look(&self) {
        let Inner { files, seen, acceptor } = &*self.0;
        let Some(found) = files.look() else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == Some(found) {
            return;
        }
        match files.read() {
            Ok(new) => {
                *acceptor.write().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!("the certificate was read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate has changed and cannot be used: the old one stays");
            }
        }
        *seen = Some(found);
    }
}
