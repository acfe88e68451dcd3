//! A server that speaks Stripe's wire format and keeps its state: payment intents, refunds, idempotency
//! keys, a search that lags behind; and that fails on demand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

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

struct Call {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    form: BTreeMap<String, String>,
    body: String,
}

struct Kept {
    call: (String, String),
    answer: (u16, Value),
}

#[derive(Default)]
struct State {
    intents: BTreeMap<String, Value>,
    refunds: Vec<Value>,
    keys: HashMap<String, Kept>,
    faults: VecDeque<(String, Fault)>,
    /// Whether the search knows of anything yet.
    indexed: bool,
    page: usize,
    calls: Vec<String>,
}

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

type Said = (u16, Value);

fn error(status: u16, kind: &str, code: &str, message: &str) -> Said {
    (status, json!({"error": {"type": kind, "code": code, "message": message}}))
}

impl State {
    /// The answer, whether it is a replay, and what goes wrong with it.
    fn take(&mut self, call: &Call) -> ((u16, Value, bool), Option<Fault>) {
        self.calls.push(format!("{} {}", call.method, call.path));
        let new = |(status, body): Said| (status, body, false);
        if call.headers.get("authorization") != Some(&format!("Bearer {SECRET}")) {
            let said = error(401, "invalid_request_error", "api_key_invalid", "Invalid API Key");
            return (new(said), None);
        }
        assert!(call.headers.contains_key("stripe-version"), "the account's version is used");
        if call.method == "GET" {
            return (new(self.read(call)), None);
        }
        assert_eq!(call.headers["content-type"], "application/x-www-form-urlencoded");
        let key = call.headers["idempotency-key"].clone();
        let same = (call.path.clone(), call.body.clone());
        if let Some(kept) = self.keys.get(&key) {
            if kept.call != same {
                let text =
                    "Keys for idempotent requests can only be used with the same parameters.";
                return (
                    new(error(400, "idempotency_error", "idempotency_key_reused", text)),
                    None,
                );
            }
            let (status, body) = kept.answer.clone();
            return ((status, body, true), None);
        }
        let fault = match self.faults.front() {
            Some((end, fault)) if call.path.ends_with(end.as_str()) => {
                let fault = *fault;
                self.faults.pop_front();
                Some(fault)
            }
            _ => None,
        };
        let broken = error(500, "api_error", "", "Something went wrong on our end.");
        let (said, kept) = match fault {
            Some(Fault::ServerError | Fault::BadGateway) => (broken, false),
            Some(Fault::ServerErrorKept) => (broken, true),
            Some(Fault::ServerErrorAfterEffectKept) => {
                self.write(call);
                (broken, true)
            }
            Some(Fault::KeyInUse) => {
                (error(409, "idempotency_error", "idempotency_key_in_use", "In use."), false)
            }
            Some(Fault::RateLimit) => {
                (error(429, "invalid_request_error", "rate_limit", "Too many requests."), false)
            }
            _ => (self.write(call), true),
        };
        // What never began is not kept.
        if kept && said.1["error"]["type"] != "invalid_request_error" {
            self.keys.insert(key, Kept { call: same, answer: said.clone() });
        }
        (new(said), fault)
    }

    fn read(&self, call: &Call) -> Said {
        let form = |name: &str| call.form.get(name).cloned().unwrap_or_default();
        if call.path == "/v1/payment_intents/search" {
            let query = form("query");
            let key = query.strip_prefix("metadata['oms_key']:'").unwrap();
            let key = key.strip_suffix('\'').unwrap().replace("\\'", "'").replace("\\\\", "\\");
            let found =
                self.intents.values().filter(|intent| intent["metadata"]["oms_key"] == *key);
            let data: Vec<_> = found.filter(|_| self.indexed).cloned().collect();
            return (200, json!({"object": "search_result", "data": data, "has_more": false}));
        }
        if call.path == "/v1/refunds" {
            let of = form("payment_intent");
            let after = call.form.get("starting_after");
            let mut all: Vec<&Value> = self
                .refunds
                .iter()
                .rev()
                .filter(|refund| refund["payment_intent"] == *of)
                .collect();
            if let Some(after) = after {
                let at = all.iter().position(|refund| refund["id"] == **after).unwrap();
                all.drain(..=at);
            }
            let has_more = all.len() > self.page;
            all.truncate(self.page);
            return (200, json!({"object": "list", "data": all, "has_more": has_more}));
        }
        let id = call.path.strip_prefix("/v1/payment_intents/").unwrap();
        match self.intents.get(id) {
            Some(intent) => (200, intent.clone()),
            None => error(404, "invalid_request_error", "resource_missing", id),
        }
    }

    fn write(&mut self, call: &Call) -> Said {
        let parts: Vec<&str> = call.path.split('/').skip(2).collect();
        match *parts {
            ["payment_intents"] => self.create(&call.form),
            ["payment_intents", id, verb] => self.change(id, verb, &call.form),
            ["refunds"] => self.refund(&call.form),
            _ => error(404, "invalid_request_error", "", &call.path),
        }
    }

    fn create(&mut self, form: &BTreeMap<String, String>) -> Said {
        let id = format!("pi_{}", self.intents.len() + 1);
        let intent = json!({
            "id": id, "object": "payment_intent", "status": "requires_payment_method",
            "amount": form["amount"].parse::<i64>().unwrap(), "amount_received": 0,
            "currency": form["currency"], "capture_method": form["capture_method"],
            "metadata": {"oms_key": form["metadata[oms_key]"], "order_id": form["metadata[order_id]"]},
            "last_payment_error": null, "cancellation_reason": null, "holds": 0,
        });
        assert_eq!(form["payment_method_types[0]"], "card");
        self.intents.insert(id, intent.clone());
        (200, intent)
    }

    fn change(&mut self, id: &str, verb: &str, form: &BTreeMap<String, String>) -> Said {
        let Some(intent) = self.intents.get_mut(id) else {
            return error(404, "invalid_request_error", "resource_missing", id);
        };
        let status = intent["status"].as_str().unwrap().to_owned();
        let open = ["requires_payment_method", "requires_confirmation", "requires_action"];
        let may = match verb {
            "confirm" => open.contains(&status.as_str()),
            "capture" => status == "requires_capture",
            "cancel" => status == "requires_capture" || open.contains(&status.as_str()),
            _ => false,
        };
        if !may {
            let text = format!("This PaymentIntent could not be {verb}ed: it is {status}.");
            return error(400, "invalid_request_error", "payment_intent_unexpected_state", &text);
        }
        match verb {
            "confirm" => return confirm(intent, form),
            "capture" => {
                let amount: i64 = form["amount_to_capture"].parse().unwrap();
                assert!(amount <= intent["amount"].as_i64().unwrap());
                intent["amount_received"] = json!(amount);
                intent["status"] = json!("succeeded");
            }
            _ => {
                intent["status"] = json!("canceled");
                intent["cancellation_reason"] = json!("requested_by_customer");
            }
        }
        (200, intent.clone())
    }

    fn refund(&mut self, form: &BTreeMap<String, String>) -> Said {
        let id = &form["payment_intent"];
        let taken = self.intents[id]["amount_received"].as_i64().unwrap();
        let back: i64 = self
            .refunds
            .iter()
            .filter(|refund| refund["payment_intent"] == **id)
            .map(|refund| refund["amount"].as_i64().unwrap())
            .sum();
        let amount: i64 = form["amount"].parse().unwrap();
        if back + amount > taken {
            let text = "Refund amount is greater than unrefunded amount on charge.";
            return error(400, "invalid_request_error", "charge_already_refunded", text);
        }
        let refund = json!({
            "id": format!("re_{}", self.refunds.len() + 1), "object": "refund",
            "amount": amount, "payment_intent": id, "status": "succeeded",
            "metadata": {"oms_key": form["metadata[oms_key]"]},
        });
        self.refunds.push(refund.clone());
        (200, refund)
    }
}

/// As Stripe's test cards go.
fn confirm(intent: &mut Value, form: &BTreeMap<String, String>) -> Said {
    let card =
        form.get("payment_method").unwrap_or_else(|| &form["payment_method_data[card][token]"]);
    let declined = |code: &str, decline_code: &str| {
        json!({"type": "card_error", "code": code, "decline_code": decline_code,
               "message": "Your card was declined."})
    };
    let fault = match card.as_str() {
        "pm_card_visa" | "tok_visa" => {
            intent["holds"] = json!(intent["holds"].as_i64().unwrap() + 1);
            let manual = intent["capture_method"] == "manual";
            intent["status"] = json!(if manual { "requires_capture" } else { "succeeded" });
            if !manual {
                intent["amount_received"] = intent["amount"].clone();
            }
            return (200, intent.clone());
        }
        "pm_card_chargeDeclinedInsufficientFunds" => {
            declined("card_declined", "insufficient_funds")
        }
        "pm_card_authenticationRequired" => {
            assert_eq!(form["error_on_requires_action"], "true");
            declined("authentication_required", "authentication_required")
        }
        _ => declined("card_declined", "generic_decline"),
    };
    intent["last_payment_error"] = fault.clone();
    intent["status"] = json!("requires_payment_method");
    (402, json!({"error": fault}))
}
