//! Requests to one server, over connections that are kept.
//!
//! HTTP/1.1 alone, no redirects, no proxies: a worker asks one server for JSON, and needs to know whether
//! a request was sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::Error;

const TOKEN: HeaderName = HeaderName::from_static("x-authorization");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("oms-conductor/", env!("CARGO_PKG_VERSION")));
/// Of one answer: a poll may bring many inputs.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Connections that are kept while nobody uses them.
const IDLE_MAX: usize = 64;

type Sender = SendRequest<Full<Bytes>>;

/// A server and the connections to it.
pub(crate) struct Http {
    /// As it was given, for messages.
    pub(crate) server: String,
    host: String,
    port: u16,
    authority: HeaderValue,
    /// What stands before `/api`.
    prefix: String,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
    idle: Mutex<Vec<Sender>>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Bytes>,
    pub(crate) deadline: Duration,
}

impl Ask {
    /// For messages: without the query.
    pub(crate) fn what(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Http {
    pub(crate) fn new(address: &str, ca_certs: &[u8]) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::Config(format!("{address:?} is no address of a Conductor server: {why}"))
        };
        let base = address.trim_end_matches('/');
        let base = base.strip_suffix("/api").unwrap_or(base);
        let uri: Uri = base.parse().map_err(|_| wrong("it cannot be read"))?;
        let (authority, is_tls) = match (uri.authority(), uri.scheme_str()) {
            (Some(authority), Some("http")) => (authority, false),
            (Some(authority), Some("https")) => (authority, true),
            _ => return Err(wrong("write http://HOST:PORT or https://HOST")),
        };
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong("leave out query and user"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if !is_tls && !ca_certs.is_empty() {
            return Err(wrong("certificates are of no use without https"));
        }
        #[cfg(not(feature = "tls"))]
        if is_tls {
            return Err(wrong("https needs the feature `tls`"));
        }
        Ok(Self {
            server: base.to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("its host"))?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            #[cfg(feature = "tls")]
            tls: is_tls.then(|| tls::Tls::new(&host, ca_certs)).transpose()?,
            host,
            idle: Mutex::default(),
        })
    }

    /// Whatever is answered, refusals too.
    ///
    /// Dropped, the request may have been sent or not; its connection is not used again.
    pub(crate) async fn send(
        &self,
        ask: &Ask,
        token: Option<HeaderValue>,
    ) -> Result<Answer, Error> {
        let answered = tokio::time::timeout(ask.deadline, self.exchange(ask, token)).await;
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => {
                Err(Error::Unreachable { what: ask.what(), server: self.server.clone(), source })
            }
            Err(_) => Err(Error::Deadline { what: ask.what(), after: ask.deadline }),
        }
    }

    async fn exchange(&self, ask: &Ask, token: Option<HeaderValue>) -> Result<Answer, Cause> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(format!("{}{}", self.prefix, ask.path))
            .header(HOST, &self.authority)
            .header(USER_AGENT, AGENT);
        if ask.body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            request = request.header(TOKEN, token);
        }
        let mut request = request.body(Full::new(ask.body.clone().unwrap_or_default()))?;
        loop {
            let kept = self.kept();
            let is_new = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
                    let body = body.collect().await?.to_bytes();
                    self.keep(sender);
                    return Ok(Answer { status, body });
                }
                // The server had closed it before this was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|sender| !sender.is_closed())
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender, Cause> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return greet(tls.connect(stream).await?).await;
        }
        greet(stream).await
    }
}

async fn greet(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Sender, Cause> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to Conductor ended");
        }
    });
    sender.ready().await?;
    Ok(sender)
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

    use crate::error::Error;

    /// Whom a server's certificate may lead to, and the name that it must have.
    pub(super) struct Tls {
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl Tls {
        pub(super) fn new(host: &str, ca_certs: &[u8]) -> Result<Self, Error> {
            let wrong = |why: String| Error::Config(format!("TLS to {host}: {why}"));
            let mut roots = RootCertStore::empty();
            // Those of the system may hold some that this cannot read.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca_certs).collect();
            let own = own.map_err(|error| wrong(error.to_string()))?;
            if own.is_empty() && !ca_certs.is_empty() {
                return Err(wrong("what is to be trusted holds no certificate".to_owned()));
            }
            for certificate in own {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            let provider = Arc::new(crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| wrong(error.to_string()))?
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| wrong(error.to_string()))?;
            Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
        }

        pub(super) async fn connect(
            &self,
            stream: TcpStream,
        ) -> std::io::Result<TlsStream<TcpStream>> {
            self.connector.connect(self.name.clone(), stream).await
        }
    }
}
