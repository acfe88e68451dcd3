//! Calls to the API: forms out, JSON back.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::StripeOptions;
use super::wire::{Envelope, Fault};
use crate::error::Error;
use crate::ports::PortError;

/// The version of the API that the wire format here is of.
const API_VERSION: &str = "2024-06-20";
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longer than any object or page of a list.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How often a call goes under another key, since a failure was kept under the one before.
pub(super) const KEYS_MAX: u32 = 8;

/// Names and values, as forms and queries have them.
pub(super) type Form<'a> = Vec<(&'a str, String)>;

pub(super) struct Http {
    agent: Agent,
    base: String,
    authorization: String,
}

/// An answer of the API.
#[derive(Debug)]
pub(super) struct Answered {
    status: u16,
    /// Whether it is the answer that this key was given before.
    replayed: bool,
    body: Value,
}

/// Why a call has no object as its answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Stripe's word on this call.
    Said { status: u16, fault: Fault },
    /// As it goes to whoever asked.
    Port(PortError),
}

impl From<PortError> for Refusal {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl Refusal {
    /// For a call whose refusals mean nothing to whoever made it.
    pub(super) fn into_port(self) -> PortError {
        match self {
            Self::Port(error) => error,
            Self::Said { status, fault } => {
                PortError::Invalid(format!("{status} {}", fault.text()))
            }
        }
    }
}

impl Answered {
    /// Whether a server error was kept under the key, and will be the answer as long as it lasts.
    fn is_kept_failure(&self) -> bool {
        self.status >= 500 && self.replayed
    }

    fn read<T: DeserializeOwned>(self, key: &str) -> Result<T, Refusal> {
        let unavailable = |text: String| Refusal::Port(PortError::Unavailable(text));
        let Self { status, body, .. } = self;
        if (200..300).contains(&status) {
            let read = serde_json::from_value(body);
            return read.map_err(|error| unavailable(format!("an answer of Stripe: {error}")));
        }
        let fault = serde_json::from_value::<Envelope>(body).map(|envelope| envelope.error);
        let fault = fault.unwrap_or_default();
        match status {
            400 if fault.kind == "idempotency_error" => {
                Err(Refusal::Port(PortError::KeyReused(key.to_owned())))
            }
            // Of a key to the API that is not good: that is ours to mend, and no fault of the order.
            401 | 403 | 409 | 429 | 500.. => {
                Err(unavailable(format!("Stripe says {status} {}", fault.text())))
            }
            _ => Err(Refusal::Said { status, fault }),
        }
    }
}

impl Http {
    pub(super) fn new(secret: &str, options: &StripeOptions) -> Result<Self, Error> {
        let refused = |reason: String| Error::Config { what: "Stripe", reason };
        let base = options.base_url.trim_end_matches('/').to_owned();
        if !base.starts_with("https://") && !is_loopback(&base) {
            return Err(refused(format!(
                "{base:?}: use https://, except on the loopback interface"
            )));
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) || secret.is_empty() {
            return Err(refused(
                "the secret key is empty or has other than printed letters".into(),
            ));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect of a payment is nothing to follow.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(options.deadline))
            .user_agent(concat!("oms-tasks/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &options.trusted_pem {
            let certificates = certificates(pem).map_err(refused)?;
            let roots = RootCerts::new_with_certs(&certificates);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        let authorization = format!("Bearer {secret}");
        Ok(Self { agent: config.build().into(), base, authorization })
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Form<'_>,
    ) -> Result<T, Refusal> {
        let query = encoded(query);
        let separator = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{path}{separator}{query}", self.base);
        let request = self.request("GET", &uri).body(()).map_err(|e| invalid(&e))?;
        let agent = self.agent.clone();
        self.answer(move || agent.run(request)).await?.read("")
    }

    /// Posts a call whose repeat the API itself makes harmless: where a server error is kept under its
    /// key, it goes again under the next one.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form<'_>,
        key: &str,
    ) -> Result<T, Refusal> {
        for n in 0..KEYS_MAX {
            if let Some(answer) = self.post_nth(path, form, key, n).await? {
                return Ok(answer);
            }
        }
        Err(used_up(path).into())
    }

    /// Posts a call under the n-th key that is made of this one; none where a server error is kept
    /// under it.
    pub(super) async fn post_nth<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form<'_>,
        key: &str,
        n: u32,
    ) -> Result<Option<T>, Refusal> {
        let answered = self.post_once(path, form, &nth_key(key, n)).await?;
        if answered.is_kept_failure() { Ok(None) } else { answered.read(key).map(Some) }
    }

    async fn post_once(&self, path: &str, form: &Form<'_>, key: &str) -> Result<Answered, Refusal> {
        let request = self
            .request("POST", &format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("idempotency-key", key)
            .body(encoded(form))
            .map_err(|error| invalid(&error))?;
        let agent = self.agent.clone();
        self.answer(move || agent.run(request)).await
    }

    fn request(&self, method: &str, uri: &str) -> ureq::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", &self.authorization)
            .header("stripe-version", API_VERSION)
    }

    /// The client blocks; a call that nobody waits for any more goes on to its deadline.
    async fn answer(
        &self,
        call: impl FnOnce() -> Result<Response<Body>, ureq::Error> + Send + 'static,
    ) -> Result<Answered, Refusal> {
        let called = tokio::task::spawn_blocking(move || {
            let mut response = call()?;
            let text =
                response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
            let replayed = response.headers().get("idempotent-replayed");
            let replayed = replayed.is_some_and(|value| value == "true");
            Ok::<_, ureq::Error>((response.status().as_u16(), replayed, text))
        });
        let unavailable = |text: String| Refusal::Port(PortError::Unavailable(text));
        let called = called.await.map_err(|error| unavailable(error.to_string()))?;
        let (status, replayed, text) =
            called.map_err(|error| unavailable(format!("{}: {error}", self.base)))?;
        let body = serde_json::from_str(&text);
        let body = match body {
            Ok(body) => body,
            // A proxy on the way says its errors in other ways.
            Err(_) if status >= 400 => Value::Null,
            Err(error) => return Err(unavailable(format!("an answer of Stripe: {error}"))),
        };
        Ok(Answered { status, replayed, body })
    }
}

fn nth_key(key: &str, n: u32) -> String {
    if n == 0 { key.to_owned() } else { format!("{key}/again{n}") }
}

pub(super) fn used_up(path: &str) -> PortError {
    PortError::Unavailable(format!("Stripe keeps server errors of {path} under {KEYS_MAX} keys"))
}

fn invalid(error: &ureq::http::Error) -> Refusal {
    Refusal::Port(PortError::Invalid(format!("a request to Stripe: {error}")))
}

fn encoded(form: &Form<'_>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

fn is_loopback(base: &str) -> bool {
    let Some(authority) = base.strip_prefix("http://") else { return false };
    let authority = authority.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>, String> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err("the trusted PEM holds no certificate".to_owned());
    }
    Ok(certificates)
}
