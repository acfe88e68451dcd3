//! HTTP tasks of definitions, run by the engine itself: a task like a user's, under the queue
//! `HTTP`, outside of any transaction.
//!
//! A definition is data and must not become a way into the network of whoever runs it: only hosts
//! of a list are called, at each redirect again, and at addresses that are looked at before they
//! are connected to.

mod allow;
mod call;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::allow::Allowed;
use self::call::{Caller, Failure};
use super::{Task, TaskContext, TaskError};
use crate::definition::{HttpEnd, HttpRequest, call_failed, end_of};

/// How long a call may take in all, with its redirects.
const DEADLINE: Duration = Duration::from_secs(60);

/// Which hosts HTTP tasks may call. See [`EngineBuilder::http`](crate::EngineBuilder::http).
///
/// ```
/// use oms_engine::HttpSettings;
///
/// let http = HttpSettings::allow(["api.example.com", "*.example.org", "orders.internal:8080"])
///     .also(["10.1.0.0/16"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpSettings {
    entries: Vec<String>,
    deadline: Duration,
}

impl HttpSettings {
    /// Allows these hosts: `name`, or `*.name` for all names below it; the port of the scheme, or
    /// `name:8080`, or `name:*` for any.
    ///
    /// Addresses of this machine, of private networks and of special purposes are called only
    /// where an entry names them: an address (`127.0.0.1:8080`, `[::1]`) or a network
    /// (`10.1.0.0/16`). This counts also for what an allowed name resolves to.
    pub fn allow<T: Into<String>>(hosts: impl IntoIterator<Item = T>) -> Self {
        Self { entries: hosts.into_iter().map(Into::into).collect(), deadline: DEADLINE }
    }

    /// Allows these, too.
    pub fn also<T: Into<String>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        self.entries.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// How long a call may take in all, with its redirects (default 60 s), whatever
    /// `connectionTimeOut` and `readTimeOut` of the task say.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// The worker of HTTP tasks.
pub(crate) struct HttpTask {
    caller: Caller,
    deadline: Duration,
}

impl HttpTask {
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, String> {
        let mut allowed = Allowed::default();
        for entry in &settings.entries {
            allowed.add(entry)?;
        }
        Ok(Self { caller: Caller::new(Arc::new(allowed))?, deadline: settings.deadline })
    }
}

impl Task for HttpTask {
    const NAME: &'static str = "HTTP";
    type Input = Value;
    type Output = Value;

    async fn run(&self, cx: &TaskContext, input: Value) -> Result<Value, TaskError> {
        let mut request = HttpRequest::read(&input).map_err(TaskError::retry)?;
        let waits = request.async_complete.unwrap_or_else(|| cx.async_complete());
        identify(&mut request, cx.idempotency_key());
        let call = tokio::time::timeout(self.deadline, self.caller.call(&request));
        let end = match call.await {
            Ok(Ok(answer)) => end_of(answer, waits),
            Ok(Err(Failure::Call(why))) => call_failed(&why),
            Ok(Err(Failure::Refused(why))) => return Err(TaskError::terminal(why)),
            Err(_) => call_failed(&format!("no answer within {} s", self.deadline.as_secs_f64())),
        };
        // A server may send back what it was sent.
        let hidden = cx.hidden();
        match end {
            HttpEnd::Completed(output) => Ok(hidden.out_of_value(output)),
            HttpEnd::Waits(output) => {
                Err(TaskError::waits().with_output(hidden.out_of_value(output)))
            }
            HttpEnd::Failed { reason, output } => {
                Err(TaskError::retry(reason).with_output(hidden.out_of_value(output)))
            }
        }
    }
}

/// Gives a request that is not safe to repeat the key under which its effect must happen once.
fn identify(request: &mut HttpRequest, key: &str) {
    const NAME: &str = "idempotency-key";
    let given = request.headers.iter().any(|(name, _)| name == NAME);
    if matches!(request.method.as_str(), "POST" | "PATCH") && !given {
        request.headers.push((NAME.to_owned(), key.to_owned()));
    }
}
