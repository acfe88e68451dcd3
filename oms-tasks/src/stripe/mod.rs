//! Stripe as the payment gateway: `PaymentIntents` over HTTPS.
//!
//! **Never used with the real service.** It is tested over HTTP with a stand-in that speaks Stripe's
//! wire format.
//!
//! A `PaymentIntent` is made without being confirmed, which moves no money, and carries our idempotency
//! key in its metadata; then it is confirmed. From then on it is its own guard: Stripe confirms,
//! captures and cancels an intent once, whatever becomes of idempotency keys, which last a day. An
//! intent whose id was lost is searched for by its metadata, and where the search does not know it yet,
//! made under the same key once more, which gives the same one. A key is closed by making its intent
//! and cancelling it.
//!
//! Stripe keeps server errors under a key like any answer: such a key is of no more use, and the call
//! goes under the next one, for a refund only once Stripe's list does not have it.
//!
//! A customer whose bank wants to see them is declined with `authentication_required`: nobody is
//! there. A refund that fails at the bank after Stripe took it is told by webhooks, which are not read.

mod gateway;
mod http;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::http::{Form, Http, KEYS_MAX, Refusal, used_up};
use self::wire::{Intent, KEY, List, Refund, to_wire};
use crate::error::Error;
use crate::ports::{ChargeRequest, PartRefundAnswer, PaymentState, PortError};

/// Pages of a list that are read.
const PAGES_MAX: usize = 20;
const UNEXPECTED: &str = "payment_intent_unexpected_state";

/// How Stripe is reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StripeOptions {
    /// `https://api.stripe.com`; plain `http://` only on the loopback interface.
    pub base_url: String,
    /// How long a call may take, with the connection.
    pub deadline: Duration,
    /// Certificates to trust instead of the web's, in PEM.
    pub trusted_pem: Option<String>,
}

impl Default for StripeOptions {
    fn default() -> Self {
        Self {
            base_url: "https://api.stripe.com".to_owned(),
            deadline: Duration::from_secs(20),
            trusted_pem: None,
        }
    }
}

/// Takes cards through Stripe. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    http: Arc<Http>,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stripe(…)")
    }
}

/// A payment as the port's requests name it.
#[derive(Clone, Copy, Debug)]
struct Named<'a> {
    key: &'a str,
    payment_id: Option<&'a str>,
    order_id: &'a str,
    amount_minor: i64,
    currency: &'a str,
    /// `manual`, or `automatic`: the money is taken by the confirmation.
    capture_method: &'static str,
}

impl Stripe {
    /// Makes the adapter with the account's secret key (`sk_…`, `rk_…`); nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] for an address, key or certificate that cannot be used.
    pub fn new(secret_key: &str, options: &StripeOptions) -> Result<Self, Error> {
        Ok(Self { http: Arc::new(Http::new(secret_key, options)?) })
    }

    async fn intent(&self, id: &str) -> Result<Intent, PortError> {
        let intent = self.http.get(&format!("/v1/payment_intents/{id}"), &Form::new()).await;
        intent.map_err(Refusal::into_port)
    }

    /// Makes the intent of a key, or gives the one that was made, as it was then.
    async fn create(&self, named: Named<'_>) -> Result<Intent, PortError> {
        let metadata = format!("metadata[{KEY}]");
        let form = vec![
            ("amount", to_wire(named.amount_minor, named.currency)?.to_string()),
            ("currency", named.currency.to_ascii_lowercase()),
            ("capture_method", named.capture_method.to_owned()),
            ("payment_method_types[0]", "card".to_owned()),
            ("metadata[order_id]", named.order_id.to_owned()),
            (metadata.as_str(), named.key.to_owned()),
        ];
        let made = self.http.post("/v1/payment_intents", &form, named.key).await;
        made.map_err(Refusal::into_port)
    }

    /// The intents of a key, as they are now: one, but for what was made again after a day.
    async fn intents(&self, named: Named<'_>) -> Result<Vec<Intent>, PortError> {
        if let Some(id) = named.payment_id {
            return Ok(vec![self.intent(id).await?]);
        }
        let key = named.key.replace('\\', "\\\\").replace('\'', "\\'");
        let query = vec![("query", format!("metadata['{KEY}']:'{key}'"))];
        let found: Result<List<Intent>, _> =
            self.http.get("/v1/payment_intents/search", &query).await;
        let mut found = found.map_err(Refusal::into_port)?.data;
        if found.is_empty() {
            found.push(self.create(named).await?);
        }
        let mut now = Vec::with_capacity(found.len());
        for intent in found {
            now.push(self.intent(&intent.id).await?);
        }
        Ok(now)
    }

    async fn authorise_intent(&self, named: Named<'_>, ask: &ChargeRequest) -> Confirmed {
        if ask.method != "card" {
            return Ok(Err("unsupported_method".to_owned()));
        }
        let intent = self.create(named).await?;
        let mut form = vec![("error_on_requires_action", "true".to_owned())];
        let token = ask.token.as_str().to_owned();
        if token.starts_with("tok_") {
            form.push(("payment_method_data[type]", "card".to_owned()));
            form.push(("payment_method_data[card][token]", token));
        } else {
            form.push(("payment_method", token));
        }
        let path = format!("/v1/payment_intents/{}/confirm", intent.id);
        let key = format!("{}/confirm", named.key);
        match self.http.post::<Intent>(&path, &form, &key).await {
            Ok(confirmed) => settled(confirmed, named.key),
            Err(Refusal::Said { status: 402, fault }) => Ok(Err(fault.decline())),
            // It was confirmed or cancelled before.
            Err(Refusal::Said { fault, .. }) if fault.is(UNEXPECTED) => {
                settled(self.intent(&intent.id).await?, named.key)
            }
            Err(other) => Err(other.into_port()),
        }
    }

    async fn cancel(&self, id: &str, key: &str) -> Result<Intent, PortError> {
        let path = format!("/v1/payment_intents/{id}/cancel");
        match self.http.post(&path, &Form::new(), &format!("{key}/{id}")).await {
            Ok(cancelled) => Ok(cancelled),
            Err(Refusal::Said { fault, .. }) if fault.is(UNEXPECTED) => self.intent(id).await,
            Err(other) => Err(other.into_port()),
        }
    }

    /// Cancels the intents of a key; gives one that was captured before.
    async fn close(&self, named: Named<'_>, key: &str) -> Result<Option<Intent>, PortError> {
        let mut captured = None;
        for intent in self.intents(named).await? {
            let intent = match &*intent.status {
                "succeeded" | "canceled" => intent,
                _ => self.cancel(&intent.id, key).await?,
            };
            match &*intent.status {
                "succeeded" => captured = Some(intent),
                "canceled" => {}
                status => {
                    let text = format!("{} cannot be cancelled while it is {status}", intent.id);
                    return Err(PortError::Unavailable(text));
                }
            }
        }
        Ok(captured)
    }

    /// All refunds of an intent, also those that failed.
    async fn refunds(&self, id: &str) -> Result<Vec<Refund>, Refusal> {
        let mut all: Vec<Refund> = Vec::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![("payment_intent", id.to_owned()), ("limit", "100".to_owned())];
            if let Some(last) = all.last() {
                query.push(("starting_after", last.id.clone()));
            }
            let page: List<Refund> = self.http.get("/v1/refunds", &query).await?;
            let ends = page.data.is_empty() || !page.has_more;
            all.extend(page.data);
            if ends {
                return Ok(all);
            }
        }
        Err(PortError::Unavailable(format!("{id} has more refunds than are read")).into())
    }

    /// Posts a refund. Where a server error is kept under its key, Stripe's list is asked whether it was
    /// made all the same, before it goes under another one.
    async fn post_refund(&self, id: &str, form: &Form<'_>, key: &str) -> Result<Refund, Refusal> {
        let path = "/v1/refunds";
        for n in 0..KEYS_MAX {
            if let Some(refund) = self.http.post_nth(path, form, key, n).await? {
                return Ok(refund);
            }
            let of_key = |refund: &Refund| refund.metadata.get(KEY).is_some_and(|k| k == key);
            if let Some(made) = self.refunds(id).await?.into_iter().find(of_key) {
                return Ok(made);
            }
        }
        Err(used_up(path).into())
    }

    /// Gives an amount back, as Stripe writes it.
    async fn give_back(
        &self,
        id: &str,
        amount: i64,
        order_id: &str,
        key: &str,
    ) -> Result<PartRefundAnswer, PortError> {
        let metadata = format!("metadata[{KEY}]");
        let form = vec![
            ("payment_intent", id.to_owned()),
            ("amount", amount.to_string()),
            ("metadata[order_id]", order_id.to_owned()),
            (metadata.as_str(), key.to_owned()),
        ];
        match self.post_refund(id, &form, key).await {
            Ok(refund) if refund.is_made() => {
                Ok(PartRefundAnswer::Refunded { refund_id: refund.id })
            }
            Ok(refund) => {
                let code = refund.failure_reason.unwrap_or_else(|| "refund_failed".to_owned());
                Ok(PartRefundAnswer::Refused { code })
            }
            Err(Refusal::Said { fault, .. }) => {
                let code = fault.code.clone().unwrap_or_else(|| fault.text());
                Ok(PartRefundAnswer::Refused { code })
            }
            Err(Refusal::Port(error)) => Err(error),
        }
    }
}

/// The intent, or the code it was declined with.
type Confirmed = Result<Result<Intent, String>, PortError>;

fn settled(intent: Intent, key: &str) -> Confirmed {
    match intent.state()? {
        PaymentState::Authorised | PaymentState::Captured => Ok(Ok(intent)),
        PaymentState::Declined { code } => Ok(Err(code)),
        PaymentState::Voided => Err(PortError::KeyClosed(key.to_owned())),
        PaymentState::Open => {
            Err(PortError::Unavailable(format!("{} is not confirmed", intent.id)))
        }
    }
}

/// Of several intents of a key the one that counts: the one that got furthest.
fn rank(intent: &Intent) -> u8 {
    match &*intent.status {
        "succeeded" => 5,
        "requires_capture" => 4,
        "processing" => 3,
        "requires_action" => 2,
        "canceled" => 0,
        _ => 1,
    }
}

fn of_charge<'a>(ask: &'a ChargeRequest, capture_method: &'static str) -> Named<'a> {
    Named {
        key: &ask.key,
        payment_id: None,
        order_id: &ask.order_id,
        amount_minor: ask.amount_minor,
        currency: &ask.currency,
        capture_method,
    }
}
