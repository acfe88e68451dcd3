//! Commands that go to a server: one that speaks Conductor's REST API.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::failure::{Exit, Failure};

/// One answer may take so long: a poll's wait, and what a server takes for a large run.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A server's list of all definitions may be long.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

#[derive(Args, Clone, Debug)]
pub(super) struct Remote {
    /// The server: its address, with or without `/api`.
    #[arg(
        long,
        global = true,
        env = "OMS_SERVER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    server: String,
    /// The id of the key to come with.
    #[arg(
        long,
        global = true,
        env = "OMS_KEY_ID",
        hide_env_values = true,
        value_name = "ID",
        requires = "key_secret"
    )]
    key_id: Option<String>,
    /// The secret of the key; others on this machine see what stands on the command line, so
    /// rather set the variable.
    #[arg(
        long,
        global = true,
        env = "OMS_KEY_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        requires = "key_id"
    )]
    key_secret: Option<String>,
    /// A file with certificates (PEM) to trust beside those of the system.
    #[arg(long, global = true, env = "OMS_CA_CERT", hide_env_values = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

impl Remote {
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let key = self.key_id.clone().zip(self.key_secret.clone());
        Client::new(&self.server, key, self.ca_cert.as_deref())
    }
}

/// A client of one server. Connections are kept.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    /// The address without `/api`.
    base: String,
    key: Option<(String, String)>,
    token: Mutex<Option<String>>,
    /// Whom a server's certificate may lead to; none without TLS.
    trusted: Option<Vec<Certificate<'static>>>,
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Answered {
    /// Without a body, null.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        if self.text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.text)
            .map_err(|error| Failure::failed("the answer is no JSON; is this a Conductor?", error))
    }

    /// An answer that is an id: bare, or as a JSON string.
    pub(super) fn id(&self) -> String {
        serde_json::from_str(&self.text).unwrap_or_else(|_| self.text.trim().to_owned())
    }
}

impl Client {
    pub(super) fn new(
        server: &str,
        key: Option<(String, String)>,
        ca_cert: Option<&Path>,
    ) -> Result<Self, Failure> {
        let base = server.trim_end_matches('/');
        let base = base.strip_suffix("/api").unwrap_or(base).to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            let text = format!("{server:?} is no address of a server: write http://HOST:PORT");
            return Err(Failure::usage(text));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(ANSWER_MAX))
            .user_agent(concat!("oms/", env!("CARGO_PKG_VERSION")));
        let mut roots = None;
        if base.starts_with("https://") {
            let trusted = roots.insert(trusted(ca_cert)?);
            let roots = RootCerts::new_with_certs(trusted);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        } else if let Some(file) = ca_cert {
            let text = format!("{}: certificates are of no use for {base}", file.display());
            return Err(Failure::usage(text));
        }
        let agent = config.build().into();
        Ok(Self { agent, base, key, token: Mutex::default(), trusted: roots })
    }

    /// The same for connections that are not made here; none without TLS.
    pub(super) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, Failure> {
        let Some(trusted) = &self.trusted else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        // Those of the system may hold some that this cannot read.
        roots.add_parsable_certificates(trusted.iter().map(|root| root.der().to_vec().into()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed("TLS", error))?;
        Ok(Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(&Method::GET, path, None)?.json()
    }

    pub(super) fn delete(&self, path: &str) -> Result<Answered, Failure> {
        self.send(&Method::DELETE, path, None)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Answered, Failure> {
        self.send(&Method::POST, path, Some(&body.to_string()))
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Answered, Failure> {
        self.send(&Method::PUT, path, Some(&body.to_string()))
    }

    /// A failure is also an answer that refuses.
    pub(super) fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Answered, Failure> {
        let mut answered = self.ask(method, path, body, self.token(false)?)?;
        if answered.status == 401 && self.key.is_some() {
            // The token may have run out.
            answered = self.ask(method, path, body, self.token(true)?)?;
        }
        if (200..300).contains(&answered.status) {
            return Ok(answered);
        }
        Err(self.refusal(method.as_str(), path, &answered))
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&str>,
        token: Option<String>,
    ) -> Result<Answered, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.header("x-authorization", token);
        }
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                request.body(body.as_bytes()).map(|request| self.agent.run(request))
            }
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let response = response.map_err(|error| Failure::usage(format!("{}: {error}", self.base)));
        self.read(response?.map_err(|error| self.unreachable(&error))?)
    }

    fn read(&self, mut response: Response<Body>) -> Result<Answered, Failure> {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = body.map_err(|error| self.unreachable(&error))?;
        Ok(Answered { status: response.status().as_u16(), text })
    }

    pub(super) fn unreachable(&self, error: &impl std::fmt::Display) -> Failure {
        let text = format!("cannot reach the server at {}: {error}", self.base);
        Failure::new(Exit::Unreachable, text)
            .hint("start one with `oms server`, or name another one with --server or OMS_SERVER")
    }

    pub(super) fn refusal(&self, method: &str, path: &str, answered: &Answered) -> Failure {
        let path = path.split('?').next().unwrap_or(path);
        let body: Value = serde_json::from_str(&answered.text).unwrap_or_default();
        let mut message = match body.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => format!("{method} {path}: {} {}", answered.status, answered.text.trim()),
        };
        for fault in body.get("validationErrors").and_then(Value::as_array).into_iter().flatten() {
            let (at, why) = (super::out::text(fault, "path"), super::out::text(fault, "message"));
            if !message.contains(&why) {
                message.push_str(&format!("\n     {at}: {why}"));
            }
        }
        let mut failure = Failure::new(Exit::of_status(answered.status), message);
        failure.status = Some(answered.status);
        match answered.status {
            401 => failure.hint("set OMS_KEY_ID and OMS_KEY_SECRET; `oms key create` makes a key"),
            403 => failure.hint("come with a key of a higher role; `oms key create` makes one"),
            404 if body.get("message").is_none() => {
                failure.hint(format!("is {} a Conductor?", self.base))
            }
            503 => failure.hint("try again later"),
            _ => failure,
        }
    }

    /// The token for the key; without a key none.
    pub(super) fn token(&self, anew: bool) -> Result<Option<String>, Failure> {
        let Some((id, secret)) = &self.key else { return Ok(None) };
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.is_none() || anew {
            let body = json!({ "keyId": id, "keySecret": secret }).to_string();
            let answered = self.ask(&Method::POST, "/api/token", Some(&body), None)?;
            if answered.status != 200 {
                return Err(self.refusal("POST", "/api/token", &answered));
            }
            *token = answered.json()?.get("token").and_then(Value::as_str).map(str::to_owned);
        }
        Ok(token.clone())
    }
}

fn trusted(ca_cert: Option<&Path>) -> Result<Vec<Certificate<'static>>, Failure> {
    let mut certificates: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .map(|certificate| Certificate::from_der(&certificate).to_owned())
        .collect();
    if let Some(path) = ca_cert {
        let text = super::input::file(path)?;
        let wrong = |why: &str| Failure::usage(format!("{}: {why}", path.display()));
        let before = certificates.len();
        for item in parse_pem(text.as_bytes()) {
            if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(&e.to_string()))? {
                certificates.push(certificate);
            }
        }
        if certificates.len() == before {
            return Err(wrong("holds no certificate"));
        }
    }
    Ok(certificates)
}
