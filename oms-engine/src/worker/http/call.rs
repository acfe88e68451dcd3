//! One call: find the host, look at its addresses, connect, ask, follow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::allow::{Allowed, literal};
use crate::definition::{HttpAnswer, HttpRequest, TASK_PAYLOAD_MAX_BYTES};

const REDIRECTS_MAX: usize = 10;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be there at another time.
    Call(String),
    /// No repeat can change it.
    Refused(String),
}

/// Makes calls.
pub(super) struct Caller {
    allowed: Arc<Allowed>,
    tls: TlsConnector,
}

/// Where a call goes.
struct Target {
    uri: Uri,
    host: String,
    port: u16,
    secure: bool,
}

impl Target {
    fn is_default_port(&self) -> bool {
        self.port == if self.secure { 443 } else { 80 }
    }

    fn same_origin(&self, other: &Self) -> bool {
        (&self.host, self.port, self.secure) == (&other.host, other.port, other.secure)
    }
}

impl Caller {
    pub(super) fn new(allowed: Arc<Allowed>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (_, unread) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if unread > 0 {
            tracing::debug!(unread, "certificates of this machine that cannot be read");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { allowed, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Calls, and follows redirects.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub(super) async fn call(&self, request: &HttpRequest) -> Result<HttpAnswer, Failure> {
        let mut request = request.clone();
        let mut target = target(&request.uri)?;
        for _ in 0..=REDIRECTS_MAX {
            self.check(&target)?;
            let response = self.ask(&target, &request).await?;
            let Some(next) = redirect(&target, &response) else {
                return answer(response, request.read_max).await;
            };
            let next = next?;
            turn(&mut request, response.status(), target.same_origin(&next));
            target = next;
        }
        Err(Failure::Call(format!("more than {REDIRECTS_MAX} redirects")))
    }

    fn check(&self, target: &Target) -> Result<(), Failure> {
        let Target { host, port, .. } = target;
        if self.allowed.host(host, *port, target.is_default_port()) {
            return Ok(());
        }
        Err(Failure::Refused(format!("{host}:{port} is not among the hosts that may be called")))
    }

    async fn ask(&self, target: &Target, request: &HttpRequest) -> Result<Answering, Failure> {
        let failed = |error: hyper::Error| Failure::Call(with_causes(&error));
        let within = "connectionTimeOut";
        let stream = limited(request.connect_max, within, self.connect(target)).await??;
        let (mut sender, driver) = match stream {
            Stream::Plain(stream) => {
                let (sender, driver) =
                    http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
                (sender, AbortOnDropHandle::new(tokio::spawn(drive(driver))))
            }
            Stream::Tls(stream) => {
                let (sender, driver) =
                    http1::handshake(TokioIo::new(*stream)).await.map_err(failed)?;
                (sender, AbortOnDropHandle::new(tokio::spawn(drive(driver))))
            }
        };
        let message = message(target, request)?;
        let sent = limited(request.read_max, "readTimeOut", sender.send_request(message)).await?;
        Ok(Answering { response: sent.map_err(failed)?, _driver: driver })
    }

    /// Connects to an address of the host that may be called: the one that was looked at.
    async fn connect(&self, target: &Target) -> Result<Stream, Failure> {
        let addresses = self.addresses(target).await?;
        let mut last = None;
        let mut connected = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => last = Some(format!("{address}: {error}")),
            }
        }
        let Some(stream) = connected else {
            return Err(Failure::Call(last.unwrap_or_else(|| "it has no address".to_owned())));
        };
        // Late segments cost time and nothing else.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        if !target.secure {
            return Ok(Stream::Plain(stream));
        }
        let name = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name)
            .map_err(|error| Failure::Refused(format!("{}: {error}", target.host)))?;
        let stream = self.tls.connect(name, stream).await;
        stream
            .map(|stream| Stream::Tls(Box::new(stream)))
            .map_err(|error| Failure::Call(format!("TLS with {}: {error}", target.host)))
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Failure> {
        let found: Vec<SocketAddr> = match literal(&target.host) {
            Some(address) => vec![SocketAddr::new(address, target.port)],
            None => lookup_host((target.host.as_str(), target.port))
                .await
                .map_err(|error| Failure::Call(format!("{}: {error}", target.host)))?
                .collect(),
        };
        let (default, n) = (target.is_default_port(), found.len());
        let may = |address: &SocketAddr| self.allowed.address(address.ip(), target.port, default);
        let allowed: Vec<SocketAddr> = found.into_iter().filter(may).collect();
        if allowed.is_empty() && n > 0 {
            let host = &target.host;
            return Err(Failure::Refused(format!(
                "{host} has no public address, and its own is not among those that may be called"
            )));
        }
        Ok(allowed)
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// An answer whose body is still to come.
struct Answering {
    response: Response<Incoming>,
    /// Reads and writes the connection; it ends with this.
    _driver: AbortOnDropHandle<()>,
}

impl Answering {
    fn status(&self) -> StatusCode {
        self.response.status()
    }
}

async fn drive(driver: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = driver.await {
        // Whoever waits for the answer is told of it.
        tracing::trace!(%error, "a connection ended");
    }
}

async fn limited<T>(
    limit: Option<Duration>,
    name: &str,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return Ok(work.await) };
    let late = |_| Failure::Call(format!("{name}: nothing within {} ms", limit.as_millis()));
    tokio::time::timeout(limit, work).await.map_err(late)
}

fn target(uri: &str) -> Result<Target, Failure> {
    let refused = |why: &str| Failure::Refused(format!("{uri:?} cannot be called: {why}"));
    let uri: Uri = encoded(uri).parse().map_err(|error| refused(&format!("{error}")))?;
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(refused("write http:// or https://")),
    };
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(refused("a name and password go into a header"));
    }
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return Err(refused("it has no host"));
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok(Target { host: host.to_lowercase(), port, secure, uri: uri.clone() })
}

/// A URI in which what may not stand there is written with percent signs.
fn encoded(uri: &str) -> String {
    let mut text = String::with_capacity(uri.len());
    let uri = uri.split('#').next().unwrap_or_default();
    for byte in uri.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn message(target: &Target, request: &HttpRequest) -> Result<Request<Full<Bytes>>, Failure> {
    let refused = |error: hyper::http::Error| Failure::Refused(format!("the request: {error}"));
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|e| refused(e.into()))?;
    let host = if target.is_default_port() {
        target.host.clone()
    } else {
        format!("{}:{}", target.host, target.port)
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut message = Request::builder().method(method).uri(path).header("host", host);
    for (name, value) in &request.headers {
        message = message.header(name, value);
    }
    let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
    message.body(body).map_err(refused)
}

/// Where an answer sends the call; none where it is the end.
fn redirect(from: &Target, answering: &Answering) -> Option<Result<Target, Failure>> {
    let status = answering.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answering.response.headers().get("location")?;
    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
    Some(target(&resolved(from, &location)))
}

/// A location, seen from where it was told.
fn resolved(from: &Target, location: &str) -> String {
    let scheme = if from.secure { "https" } else { "http" };
    let authority = from.uri.authority().map_or("", |authority| authority.as_str());
    let path = from.uri.path();
    if location.contains("://") && !location.starts_with(['/', '?']) {
        return location.to_owned();
    }
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    if location.starts_with('?') {
        return format!("{scheme}://{authority}{path}{location}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{authority}{folder}/{location}")
}

/// What is asked after a redirect: as browsers and Conductor's client do it.
fn turn(request: &mut HttpRequest, status: StatusCode, same_origin: bool) {
    let becomes_get = match status.as_u16() {
        303 => request.method != "HEAD",
        301 | 302 => request.method == "POST",
        _ => false,
    };
    if becomes_get {
        "GET".clone_into(&mut request.method);
        request.body = None;
        request.headers.retain(|(name, _)| name != "content-type" && name != "idempotency-key");
    }
    if !same_origin {
        request.headers.retain(|(name, _)| name != "authorization" && name != "cookie");
    }
}

async fn answer(answering: Answering, read_max: Option<Duration>) -> Result<HttpAnswer, Failure> {
    let Answering { response, _driver } = answering;
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = limited(read_max, "readTimeOut", incoming.frame()).await? {
        let frame = frame.map_err(|error| Failure::Call(with_causes(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if body.len() + data.len() > TASK_PAYLOAD_MAX_BYTES {
            return Err(Failure::Refused(format!(
                "the answer is larger than {TASK_PAYLOAD_MAX_BYTES} bytes"
            )));
        }
        body.extend_from_slice(data);
    }
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let reason = head.extensions.get::<hyper::ext::ReasonPhrase>();
    let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let known = head.status.canonical_reason().unwrap_or_default();
    Ok(HttpAnswer {
        status: head.status.as_u16(),
        reason: reason.unwrap_or_else(|| known.to_owned()),
        headers: headers.collect(),
        body,
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
