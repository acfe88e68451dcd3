//! A Conductor server, as workers and callers ask it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use oms_engine::{TaskDef, WorkflowDef};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::http::{Answer, Ask, Http};
use crate::wire::PolledTask;

const DEADLINE: Duration = Duration::from_secs(10);
/// Tokens of a managed Conductor live for hours; a new one is asked for long before.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Of what a server said.
const MESSAGE_CHARS_MAX: usize = 500;

/// A Conductor server. Cheap to clone: clones share connections and the token.
#[derive(Clone)]
pub struct Conductor {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    key: Option<(String, String)>,
    token: Mutex<Token>,
    deadline: Duration,
    /// Whether it has `update-v2`, as far as is known.
    goes_straight_on: AtomicBool,
}

#[derive(Default)]
struct Token {
    value: Option<HeaderValue>,
    /// When it was asked for; none: never.
    asked: Option<Instant>,
}

impl fmt::Debug for Conductor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conductor").field("server", &self.inner.http.server).finish_non_exhaustive()
    }
}

/// Makes a [`Conductor`]. See [`Conductor::builder`].
#[must_use]
pub struct ConductorBuilder {
    address: String,
    key: Option<(String, String)>,
    ca_certs: Vec<u8>,
    deadline: Duration,
}

impl fmt::Debug for ConductorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConductorBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ConductorBuilder {
    /// The key to come with (default none): `POST /api/token` gives a token for it, which is renewed. A
    /// server that has no such endpoint is asked without one.
    pub fn key(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.key = Some((id.into(), secret.into()));
        self
    }

    /// Certificates (PEM) to trust beside those of the system.
    pub fn ca_certs(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certs = pem.into();
        self
    }

    /// For each answer, beside the wait of a poll (default 10 s).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] where the address, the deadline or a certificate is of no use.
    pub fn build(self) -> Result<Conductor, Error> {
        if self.deadline.is_zero() {
            return Err(Error::Config("a deadline of 0 leaves no time for an answer".to_owned()));
        }
        let inner = Inner {
            http: Http::new(&self.address, &self.ca_certs)?,
            key: self.key,
            token: Mutex::default(),
            deadline: self.deadline,
            goes_straight_on: AtomicBool::new(true),
        };
        Ok(Conductor { inner: Arc::new(inner) })
    }
}

impl Conductor {
    /// A server at `http://HOST:PORT` or `https://HOST`, with or without `/api`.
    pub fn builder(address: impl Into<String>) -> ConductorBuilder {
        ConductorBuilder {
            address: address.into(),
            key: None,
            ca_certs: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Registers definitions, task definitions first; what is there under the same name and version is
    /// replaced.
    ///
    /// # Errors
    /// What the server refuses; what stands before it in the lists is registered then.
    ///
    /// # Cancel safety
    /// Dropped, some may be registered.
    pub async fn register(
        &self,
        tasks: &[TaskDef],
        workflows: &[WorkflowDef],
    ) -> Result<(), Error> {
        if !tasks.is_empty() {
            self.send(Method::POST, "/api/metadata/taskdefs", Some(json!(tasks))).await?;
        }
        for workflow in workflows {
            let text = workflow.to_json().map_err(|faults| Error::Config(faults.to_string()))?;
            let body = Bytes::from(text.get().to_owned());
            let path = "/api/metadata/workflow?overwrite=true";
            self.ask(self.ask_for(Method::POST, path.to_owned(), Some(body))).await?;
        }
        Ok(())
    }

    /// Starts a run; out: its id. Conductor OSS has no idempotency keys for starts: repeated, there are two
    /// runs.
    ///
    /// # Errors
    /// What the server refuses. Where it did not answer, there may be a run.
    ///
    /// # Cancel safety
    /// Dropped, there may be a run.
    pub async fn start(
        &self,
        workflow: &str,
        version: Option<i32>,
        input: &Value,
        correlation_id: Option<&str>,
    ) -> Result<String, Error> {
        let body = json!({
            "name": workflow, "version": version, "input": input, "correlationId": correlation_id,
        });
        let answer = self.send(Method::POST, "/api/workflow", Some(body)).await?;
        // Bare, or as a JSON string.
        let text = String::from_utf8_lossy(&answer.body);
        Ok(serde_json::from_str(&text).unwrap_or_else(|_| text.trim().to_owned()))
    }

    /// A run as the server shows it, with its tasks.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is none.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn workflow(&self, id: &str) -> Result<Value, Error> {
        let path = format!("/api/workflow/{}?includeTasks=true", segment(id));
        let answer = self.send(Method::GET, &path, None).await?;
        read(&answer, || format!("GET {path}"))
    }

    /// Up to `count` tasks of a type, after up to `wait`.
    pub(crate) async fn poll(
        &self,
        (task, domain): (&str, Option<&str>),
        worker: &str,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<PolledTask>, Error> {
        let mut path = format!(
            "/api/tasks/poll/batch/{}?count={count}&timeout={}&workerid={}",
            segment(task),
            wait.as_millis(),
            segment(worker)
        );
        if let Some(domain) = domain {
            path.push_str("&domain=");
            path.push_str(&segment(domain));
        }
        let mut ask = self.ask_for(Method::GET, path, None);
        ask.deadline += wait;
        let what = ask.what();
        let answer = self.ask(ask).await?;
        if answer.body.is_empty() {
            return Ok(Vec::new());
        }
        let tasks: Vec<Box<RawValue>> = read(&answer, || what)?;
        let each = |task: Box<RawValue>| match serde_json::from_str(task.get()) {
            Ok(task) => Some(task),
            Err(error) => {
                // Its server hands it out again when it has not heard of it.
                let text: String = task.get().chars().take(MESSAGE_CHARS_MAX).collect();
                tracing::error!(%error, text, "a task cannot be read; it is left");
                None
            }
        };
        Ok(tasks.into_iter().filter_map(each).collect())
    }

    /// Reports a result. Out: the next task of that type, if it is asked for and there is one.
    pub(crate) async fn update(
        &self,
        result: &Bytes,
        straight_on: bool,
    ) -> Result<Option<PolledTask>, Error> {
        let ask = |path: &str| self.ask_for(Method::POST, path.to_owned(), Some(result.clone()));
        if straight_on && self.inner.goes_straight_on.load(Ordering::Relaxed) {
            let path = "/api/tasks/update-v2";
            match self.ask(ask(path)).await {
                Ok(answer) if answer.body.is_empty() || answer.status == 204 => return Ok(None),
                Ok(answer) => {
                    // It has the result, whatever it answers.
                    let next = read(&answer, || format!("POST {path}"));
                    return Ok(next.unwrap_or_else(|error: Error| {
                        tracing::error!(
                            error = error.in_full(),
                            "a task cannot be read; it is left"
                        );
                        None
                    }));
                }
                // Either there is no such endpoint, or no such task: the other endpoint tells.
                Err(Error::Refused { status: 404 | 405 | 501, .. }) => {
                    self.ask(ask("/api/tasks")).await?;
                    self.inner.goes_straight_on.store(false, Ordering::Relaxed);
                    tracing::info!(
                        "the server has no update-v2: each result is followed by a poll"
                    );
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        self.ask(ask("/api/tasks")).await.map(|_| None)
    }

    /// Whether a task is open still.
    pub(crate) async fn is_open(&self, task_id: &str) -> Result<bool, Error> {
        let path = format!("/api/tasks/{}", segment(task_id));
        match self.send(Method::GET, &path, None).await {
            Ok(answer) => {
                let task: Value = read(&answer, || format!("GET {path}"))?;
                let status = task.get("status").and_then(Value::as_str).unwrap_or_default();
                Ok(matches!(status, "IN_PROGRESS" | "SCHEDULED"))
            }
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Error> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        self.ask(self.ask_for(method, path.to_owned(), body)).await
    }

    fn ask_for(&self, method: Method, path: String, body: Option<Bytes>) -> Ask {
        Ask { method, path, body, deadline: self.inner.deadline }
    }

    /// What is answered, other than a refusal.
    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        let token = self.token(None).await?;
        let mut answer = self.inner.http.send(&ask, token.clone()).await?;
        if answer.status == 401 && self.inner.key.is_some() {
            // It may have run out.
            let token = self.token(Some(token)).await?;
            answer = self.inner.http.send(&ask, token).await?;
        }
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(refused(&ask, &answer)) }
    }

    /// The token for the key, another one than `refused`. Asked for once, whoever else waits for it.
    async fn token(
        &self,
        refused: Option<Option<HeaderValue>>,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some((id, secret)) = &self.inner.key else { return Ok(None) };
        let waited = tokio::time::timeout(self.inner.deadline, self.inner.token.lock()).await;
        let mut token = waited.map_err(|_| Error::Deadline {
            what: "waiting for a token".to_owned(),
            after: self.inner.deadline,
        })?;
        let is_young = token.asked.is_some_and(|asked| asked.elapsed() < TOKEN_AGE_MAX);
        if is_young && refused.is_none_or(|refused| refused != token.value) {
            return Ok(token.value.clone());
        }
        let body = Bytes::from(json!({ "keyId": id, "keySecret": secret }).to_string());
        let ask = self.ask_for(Method::POST, "/api/token".to_owned(), Some(body));
        let answer = self.inner.http.send(&ask, None).await?;
        let value = match answer.status {
            200..300 => {
                let given: Value = read(&answer, || ask.what())?;
                let given = given.get("token").and_then(Value::as_str).map(HeaderValue::from_str);
                given.transpose().map_err(|_| Error::Config("the token cannot be sent".into()))?
            }
            404 => {
                tracing::warn!("the server has no keys: it is asked without a token");
                None
            }
            _ => return Err(self::refused(&ask, &answer)),
        };
        *token = Token { value: value.clone(), asked: Some(Instant::now()) };
        Ok(value)
    }
}

fn refused(ask: &Ask, answer: &Answer) -> Error {
    let text = String::from_utf8_lossy(&answer.body);
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let said = body.get("message").and_then(Value::as_str);
    let message = said.unwrap_or_else(|| text.trim()).chars().take(MESSAGE_CHARS_MAX).collect();
    let (what, status, by_conductor) = (ask.what(), answer.status, said.is_some());
    Error::Refused { what, status, message, by_conductor }
}

fn read<T: serde::de::DeserializeOwned>(
    answer: &Answer,
    what: impl FnOnce() -> String,
) -> Result<T, Error> {
    serde_json::from_slice(&answer.body)
        .map_err(|source| Error::Unreadable { what: what(), source })
}

/// A text as a part of a path or query.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
