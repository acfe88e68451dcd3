//! A connection that is kept, for one request after the other.

use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::client::{Answered, Client};
use super::super::failure::Failure;

const TOKEN: HeaderName = HeaderName::from_static("x-authorization");

/// The server, as connections reach it.
pub(super) struct Target {
    client: Client,
    host: String,
    port: u16,
    authority: HeaderValue,
    /// What stands before `/api`.
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Mutex<Option<HeaderValue>>,
}

impl Target {
    pub(super) fn new(client: Client) -> Result<Self, Failure> {
        let base = client.base();
        let wrong =
            |why: &str| Failure::usage(format!("{base:?} is no address of a server: {why}"));
        let uri: Uri = base.parse().map_err(|_| wrong("it cannot be read"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match client.tls()? {
            Some(config) => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| wrong("its host is no name for TLS"))?;
                Some((TlsConnector::from(config), name))
            }
            None => None,
        };
        let usual = if tls.is_some() { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual);
        let said = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("its host"))?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let target =
            Self { host, port, authority: said, prefix, tls, token: Mutex::default(), client };
        target.renew(None)?;
        Ok(target)
    }

    fn token(&self) -> Option<HeaderValue> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for another token than this one, if nobody has done so before.
    fn renew(&self, old: Option<&HeaderValue>) -> Result<(), Failure> {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.as_ref() == old
            && let Some(new) = self.client.token(old.is_some())?
        {
            let wrong = |error| Failure::failed("the token cannot be sent", error);
            *token = Some(HeaderValue::from_str(&new).map_err(wrong)?);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let unreachable = |error: std::io::Error| self.client.unreachable(&error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        match &self.tls {
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await.map_err(unreachable)?;
                self.greet(stream).await
            }
            None => self.greet(stream).await,
        }
    }

    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let greeted = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = greeted.map_err(|error| self.client.unreachable(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(sender)
    }
}

/// One connection; it is made when it is needed, and again when the server has closed it.
pub(super) struct Connection {
    target: Arc<Target>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(super) const fn new(target: Arc<Target>) -> Self {
        Self { target, sender: None }
    }

    /// What is answered, other than a refusal.
    pub(super) async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(u16, Bytes), Failure> {
        let body = body.map(Bytes::from);
        let token = self.target.token();
        let mut answered = self.ask(method, path, body.clone(), token.clone()).await?;
        if answered.0 == 401 && token.is_some() {
            // It may have run out.
            self.target.renew(token.as_ref())?;
            answered = self.ask(method, path, body, self.target.token()).await?;
        }
        let (status, bytes) = answered;
        if (200..300).contains(&status) {
            return Ok((status, bytes));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Err(self.target.client.refusal(method.as_str(), path, &Answered { status, text }))
    }

    async fn ask(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<Bytes>,
        token: Option<HeaderValue>,
    ) -> Result<(u16, Bytes), Failure> {
        let target = self.target.clone();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", target.prefix))
            .header(HOST, target.authority.clone());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            request = request.header(TOKEN, token);
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let mut request =
            request.map_err(|error| Failure::failed("a request cannot be sent", error))?;
        loop {
            let (mut sender, is_new) = match self.sender.take() {
                Some(kept) => (kept, false),
                None => (target.connect().await?, true),
            };
            let unreachable = |error: hyper::Error| target.client.unreachable(&error);
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let bytes = answer.into_body().collect().await.map_err(unreachable)?.to_bytes();
                    self.sender = Some(sender);
                    return Ok((status, bytes));
                }
                // The server had closed it before this was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(unreachable(error.into_error())),
                },
            }
        }
    }
}
