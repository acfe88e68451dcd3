//! What Stripe keeps of an account, and how its calls change that.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Value, json};

use super::stand_in::{Fault, SECRET};

pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) form: BTreeMap<String, String>,
    pub(super) body: String,
}

pub(super) struct Kept {
    call: (String, String),
    answer: (u16, Value),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) intents: BTreeMap<String, Value>,
    pub(super) refunds: Vec<Value>,
    pub(super) keys: HashMap<String, Kept>,
    pub(super) faults: VecDeque<(String, Fault)>,
    /// Whether the search knows of anything yet.
    pub(super) indexed: bool,
    pub(super) page: usize,
    pub(super) calls: Vec<String>,
}

type Said = (u16, Value);

fn error(status: u16, kind: &str, code: &str, message: &str) -> Said {
    (status, json!({"error": {"type": kind, "code": code, "message": message}}))
}

impl State {
    /// The answer, whether it is a replay, and what goes wrong with it.
    pub(super) fn take(&mut self, call: &Call) -> ((u16, Value, bool), Option<Fault>) {
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
