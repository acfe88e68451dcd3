//! A server that speaks Stripe's wire format, keeps an account (payment intents, refunds, idempotency
//! keys, a search that lags behind), and fails on demand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::account::{Call, State};

pub(crate) const SECRET: &str = "sk_test_of_the_stand_in";

/// What goes wrong with a call, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done, and nothing is answered.
    TimeOutAfterEffect,
    /// It is done, and the connection is closed in the middle of the answer.
    CloseInAnswer,
    /// It is not done; the error is not kept.
    ServerError,
    /// It is not done; the error is kept under the key.
    ServerErrorKept,
    /// It is done, but a server error is the answer, and kept under the key.
    ServerErrorAfterEffectKept,
    /// Another call has the key at this moment.
    KeyInUse,
    /// Too many calls.
    RateLimit,
    /// A proxy on the way says so, in HTML.
    BadGateway,
}

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::TimeOutAfterEffect,
    Fault::CloseInAnswer,
    Fault::ServerError,
    Fault::ServerErrorKept,
    Fault::ServerErrorAfterEffectKept,
    Fault::KeyInUse,
    Fault::RateLimit,
    Fault::BadGateway,
];

#[derive(Clone)]
pub(crate) struct StandIn {
    state: Arc<Mutex<State>>,
    pub(crate) url: String,
    /// Of its certificate, where it speaks TLS.
    pub(crate) pem: Option<String>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    pub(crate) async fn start_with_tls() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(
            made.signing_key.serialize_der(),
        )
        .unwrap();
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(Arc::new(
            tokio_rustls::rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
        Self::listen(Some((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))).await
    }

    async fn listen(tls: Option<(TlsAcceptor, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { indexed: true, page: 100, ..State::default() }));
        let (acceptor, pem) = tls.unzip();
        let url = match acceptor {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let here = Self { state, url, pem };
        let serving = here.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (here, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        // A client that does not trust us goes.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                here.converse(stream).await;
                            }
                        }
                        None => here.converse(stream).await,
                    }
                });
            }
        });
        here
    }

    /// The next call whose path ends so goes wrong.
    pub(crate) fn fail_next(&self, path_end: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push_back((path_end.to_owned(), fault));
    }

    pub(crate) fn index(&self, knows: bool) {
        self.state.lock().unwrap().indexed = knows;
    }

    /// So many refunds on a page.
    pub(crate) fn page(&self, length: usize) {
        self.state.lock().unwrap().page = length;
    }

    /// A day is over: no idempotency key is known any more.
    pub(crate) fn forget_keys(&self) {
        self.state.lock().unwrap().keys.clear();
    }

    /// Faults that nothing has met.
    pub(crate) fn faults_left(&self) -> usize {
        self.state.lock().unwrap().faults.len()
    }

    /// Method and path of each call.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    pub(crate) fn intents(&self) -> Vec<Value> {
        self.state.lock().unwrap().intents.values().cloned().collect()
    }

    /// Minor units taken, and given back.
    pub(crate) fn money(&self) -> (i64, i64) {
        let state = self.state.lock().unwrap();
        let sum = |values: &mut dyn Iterator<Item = &Value>, field: &str| -> i64 {
            values.map(|value| value[field].as_i64().unwrap()).sum()
        };
        (
            sum(&mut state.intents.values(), "amount_received"),
            sum(&mut state.refunds.iter(), "amount"),
        )
    }

    /// Times that an authorisation was made.
    pub(crate) fn holds(&self) -> i64 {
        self.intents().iter().map(|intent| intent["holds"].as_i64().unwrap()).sum()
    }

    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Some(call) = read(&mut stream).await else { return };
        let (answer, fault) = self.state.lock().unwrap().take(&call);
        let (status, body, replayed) = answer;
        let (kind, body) = match fault {
            Some(Fault::BadGateway) => ("text/html", "<h1>Bad gateway</h1>".to_owned()),
            _ => ("application/json", body.to_string()),
        };
        let replayed = if replayed { "Idempotent-Replayed: true\r\n" } else { "" };
        let text = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\n{replayed}Connection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match fault {
            Some(Fault::TimeOutAfterEffect) => {
                // Silent until the client gives up.
                while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                return;
            }
            Some(Fault::CloseInAnswer) => {
                let half = text.len() - body.len() / 2;
                stream.write_all(&text.as_bytes()[..half]).await.unwrap_or_default();
            }
            _ => stream.write_all(text.as_bytes()).await.unwrap_or_default(),
        }
        stream.shutdown().await.unwrap_or_default();
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Call> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut more = [0; 1024];
        let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&more[..read]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: HashMap<String, String> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        let mut more = [0; 1024];
        let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
        body.extend_from_slice(&more[..read]);
    }
    let body = String::from_utf8(body).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let fields = if method == "GET" { query } else { &body };
    let form = form_urlencoded::parse(fields.as_bytes()).into_owned().collect();
    Some(Call { method, path: path.to_owned(), headers, form, body })
}
