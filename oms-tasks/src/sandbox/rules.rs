//! What the sandbox does with a request.
//!
//! The state is what the entries of the ledger add up to, while it runs as after a restart.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use chrono::{Days, NaiveDate};
use serde_json::Value;

use super::ledger::{Entry, LedgerFile, Request};
use super::payments::authorise;
use crate::error::Error;
use crate::ports::{
    BookingAnswer, BookingRequest, CancelAnswer, CancelRequest, ChargeAnswer, ChargeRequest,
    GatewayRefund, PortError, RefundAnswer, RefundRequest,
};
use crate::shipping::{SERIALS, TrackingNumber};

/// From the booking to the delivery.
const DELIVERY_TIME: Days = Days::new(2);

/// Tokens of cards that are good, and whose later calls go wrong.
const LATER: [&str; 9] = [
    "tok_capture_refused",
    "tok_capture_timeout",
    "tok_capture_timeout_after",
    "tok_capture_fail_once",
    "tok_void_timeout_after",
    "tok_void_fail_once",
    "tok_refund_refused",
    "tok_refund_timeout_after",
    "tok_refund_fail_once",
];

/// What goes back on the line.
pub(super) type Reply = Result<Value, PortError>;

/// What the test tokens and postal codes ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Do,
    Decline(&'static str),
    SilentBefore,
    SilentAfter,
    FailOnce,
    /// Deliver as soon as can be, whatever was asked for.
    Elsewhen,
}

/// What became of a key.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) first: Option<Request>,
    calls: u32,
    pub(super) closed: bool,
    pub(super) done: Option<Entry>,
    /// The refund, void or cancellation of a charge, authorisation or booking.
    pub(super) undone: Option<Entry>,
    /// Minor units taken of an authorisation.
    pub(super) captured: Option<i64>,
    /// What was given back of them.
    pub(super) refunds: Vec<GatewayRefund>,
}

#[derive(Debug)]
pub(super) struct Rules {
    ledger: LedgerFile,
    pub(super) keys: HashMap<String, Known>,
    /// Tracking numbers that were given.
    numbers: HashSet<String>,
}

impl Rules {
    pub(super) fn open(ledger: &Path) -> Result<Self, Error> {
        let (ledger, entries) = LedgerFile::open(ledger)?;
        let mut rules = Self { ledger, keys: HashMap::new(), numbers: HashSet::new() };
        for entry in entries {
            rules.apply(&entry);
        }
        Ok(rules)
    }

    /// Handles a request; none is the silence that some tokens ask for. The ledger has all of it
    /// when this returns.
    pub(super) fn handle(&mut self, request: &Request) -> Option<Reply> {
        if let Request::Find(ask) = request {
            let written = self.write(vec![Entry::Call { request: request.clone() }]);
            return Some(written.and_then(|()| self.found(ask)));
        }
        let first_call = self.keys.get(request.key()).is_none_or(|known| known.calls == 0);
        let reused = self
            .keys
            .get(request.key())
            .is_some_and(|known| known.first.as_ref().is_some_and(|first| first != request));
        let key = request.key().to_owned();
        let behaviour = self.behaviour(request);
        let mut entries = vec![Entry::Call { request: request.clone() }];
        if reused {
            return Some(self.write(entries).and(Err(PortError::KeyReused(key))));
        }
        if self.keys.get(&key).is_some_and(|known| known.closed) {
            return Some(self.write(entries).and(Err(PortError::KeyClosed(key))));
        }
        let known = self.keys.get(&key).is_some_and(|known| known.done.is_some());
        if !known {
            match behaviour {
                Behaviour::SilentBefore if first_call => {
                    return self.write(entries).err().map(Err);
                }
                Behaviour::FailOnce if first_call => {
                    let failed = PortError::Unavailable("503: try again".to_owned());
                    return Some(self.write(entries).and(Err(failed)));
                }
                _ => entries.extend(self.effect(request, behaviour)),
            }
        }
        if let Err(error) = self.write(entries) {
            return Some(Err(error));
        }
        if behaviour == Behaviour::SilentAfter && first_call {
            return None;
        }
        Some(self.answer(request))
    }

    fn effect(&self, request: &Request, behaviour: Behaviour) -> Option<Entry> {
        match request {
            Request::Charge(ask) => Some(self.charge(ask, behaviour)),
            Request::Authorise(ask) => Some(authorise(ask, behaviour)),
            Request::Capture(ask) => self.capture(ask, behaviour),
            Request::Void(ask) => self.void(ask),
            Request::RefundPart(ask) => self.refund_part(ask, behaviour),
            Request::Find(_) => None,
            Request::Refund(ask) => self.refund(ask),
            Request::Book(ask) => Some(self.book(ask, behaviour)),
            Request::Cancel(ask) => self.cancel(ask),
        }
    }

    fn charge(&self, ask: &ChargeRequest, behaviour: Behaviour) -> Entry {
        let (key, order_id) = (ask.key.clone(), ask.order_id.clone());
        if let Behaviour::Decline(code) = behaviour {
            return Entry::Declined { key, order_id, code: code.to_owned() };
        }
        Entry::Charged {
            key,
            order_id,
            amount_minor: ask.amount_minor,
            currency: ask.currency.clone(),
            charge_id: name_of("ch_", &ask.key),
        }
    }

    /// Of the charge, if it is there and not refunded yet, whatever the request's amount.
    fn refund(&self, ask: &RefundRequest) -> Option<Entry> {
        let known = self.keys.get(&ask.charge_key);
        let order_id = ask.order_id.clone();
        match known.and_then(|known| known.done.as_ref()) {
            Some(Entry::Charged { amount_minor, currency, charge_id, .. }) => {
                known.is_some_and(|known| known.undone.is_none()).then(|| Entry::Refunded {
                    key: ask.key.clone(),
                    charge_key: ask.charge_key.clone(),
                    order_id,
                    amount_minor: *amount_minor,
                    currency: currency.clone(),
                    refund_id: name_of("re_", &ask.key),
                    charge_id: charge_id.clone(),
                })
            }
            Some(_) => None,
            None => self.close(&ask.charge_key, order_id),
        }
    }

    fn book(&self, ask: &BookingRequest, behaviour: Behaviour) -> Entry {
        let (key, order_id) = (ask.key.clone(), ask.order_id.clone());
        if let Behaviour::Decline(code) = behaviour {
            return Entry::Refused { key, order_id, code: code.to_owned() };
        }
        let soonest = today().checked_add_days(DELIVERY_TIME).unwrap_or_default();
        let asked = ask.window.filter(|_| behaviour != Behaviour::Elsewhen);
        let delivery_date = asked.map_or(soonest, |window| window.from.max(soonest));
        if asked.is_some_and(|window| window.to < delivery_date) {
            return Entry::Refused { key, order_id, code: "no_slot_in_window".to_owned() };
        }
        let tracking_number = self.tracking_number(&ask.key);
        Entry::Booked { key, order_id, tracking_number, delivery_date }
    }

    /// One that this carrier has not given before; drawn from the key, so that another ledger is not likely
    /// to have given it either.
    fn tracking_number(&self, key: &str) -> String {
        let mut drawn = (0_u32..).map(|n| s10(hash_of(&format!("{key}/{n}"))));
        let free = drawn.find(|number| !self.numbers.contains(number));
        free.unwrap_or_default()
    }

    fn cancel(&self, ask: &CancelRequest) -> Option<Entry> {
        let known = self.keys.get(&ask.booking_key);
        let order_id = ask.order_id.clone();
        match known.and_then(|known| known.done.as_ref()) {
            Some(Entry::Booked { tracking_number, .. }) => {
                known.is_some_and(|known| known.undone.is_none()).then(|| Entry::Cancelled {
                    key: ask.key.clone(),
                    booking_key: ask.booking_key.clone(),
                    order_id,
                    tracking_number: tracking_number.clone(),
                })
            }
            Some(_) => None,
            None => self.close(&ask.booking_key, order_id),
        }
    }

    pub(super) fn close(&self, key: &str, order_id: String) -> Option<Entry> {
        let closed = self.keys.get(key).is_some_and(|known| known.closed);
        (!closed).then(|| Entry::KeyClosed { key: key.to_owned(), order_id })
    }

    fn answer(&self, request: &Request) -> Reply {
        let done = |key: &str| self.keys.get(key).and_then(|known| known.done.clone());
        let undone = |key: &str| self.keys.get(key).and_then(|known| known.undone.clone());
        let answer = match request {
            Request::Authorise(ask) => return self.authorised(&ask.key),
            Request::Capture(ask) => return self.captured(ask),
            Request::Void(ask) => return self.voided(ask),
            Request::RefundPart(ask) => return self.part_refunded(ask),
            Request::Find(ask) => return self.found(ask),
            Request::Charge(ask) => match done(&ask.key) {
                Some(Entry::Charged { charge_id, .. }) => {
                    serde_json::to_value(ChargeAnswer::Charged { charge_id })
                }
                Some(Entry::Declined { code, .. }) => {
                    serde_json::to_value(ChargeAnswer::Declined { code })
                }
                _ => return Err(lost(&ask.key)),
            },
            Request::Refund(ask) => serde_json::to_value(match undone(&ask.charge_key) {
                Some(Entry::Refunded { refund_id, charge_id, .. }) => {
                    RefundAnswer::Refunded { refund_id, charge_id }
                }
                _ => RefundAnswer::NothingCharged,
            }),
            Request::Book(ask) => match done(&ask.key) {
                Some(Entry::Booked { tracking_number, delivery_date, .. }) => {
                    serde_json::to_value(BookingAnswer::Booked { tracking_number, delivery_date })
                }
                Some(Entry::Refused { code, .. }) => {
                    serde_json::to_value(BookingAnswer::Refused { code })
                }
                _ => return Err(lost(&ask.key)),
            },
            Request::Cancel(ask) => serde_json::to_value(match undone(&ask.booking_key) {
                Some(Entry::Cancelled { .. }) => CancelAnswer::Cancelled,
                _ => CancelAnswer::NothingBooked,
            }),
        };
        answer.map_err(|error| PortError::Unavailable(error.to_string()))
    }

    /// First the file, then the state.
    fn write(&mut self, entries: Vec<Entry>) -> Result<(), PortError> {
        self.ledger
            .append(&entries)
            .map_err(|error| PortError::Unavailable(format!("ledger: {error}")))?;
        for entry in entries {
            self.apply(&entry);
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) {
        if let Entry::Booked { tracking_number, .. } = entry {
            self.numbers.insert(tracking_number.clone());
        }
        match entry {
            // A question is nothing that is done under a key.
            Entry::Call { request: Request::Find(_) } => {}
            Entry::Call { request } => {
                let known = self.keys.entry(request.key().to_owned()).or_default();
                known.calls += 1;
                known.first.get_or_insert_with(|| request.clone());
            }
            Entry::KeyClosed { key, .. } => {
                self.keys.entry(key.clone()).or_default().closed = true;
            }
            Entry::Captured { key, payment_key, amount_minor, .. } => {
                self.keys.entry(payment_key.clone()).or_default().captured = Some(*amount_minor);
                self.keys.entry(key.clone()).or_default().done = Some(entry.clone());
            }
            Entry::PartRefunded { key, payment_key, amount_minor, refund_id, .. } => {
                let made = GatewayRefund {
                    key: key.clone(),
                    refund_id: refund_id.clone(),
                    amount_minor: *amount_minor,
                };
                self.keys.entry(payment_key.clone()).or_default().refunds.push(made);
                self.keys.entry(key.clone()).or_default().done = Some(entry.clone());
            }
            Entry::Refunded { charge_key: undone, .. }
            | Entry::Voided { payment_key: undone, .. }
            | Entry::Cancelled { booking_key: undone, .. } => {
                self.keys.entry(undone.clone()).or_default().undone = Some(entry.clone());
            }
            Entry::Charged { key, .. }
            | Entry::Authorised { key, .. }
            | Entry::Declined { key, .. }
            | Entry::Booked { key, .. }
            | Entry::Refused { key, .. } => {
                self.keys.entry(key.clone()).or_default().done = Some(entry.clone());
            }
        }
    }
}

/// A name for what was done under a key, the same whichever sandbox does it (FNV-1a): a new ledger
/// gives no name again that an older one gave to another key.
pub(super) fn name_of(prefix: &str, key: &str) -> String {
    format!("{prefix}{:016X}", hash_of(key))
}

fn hash_of(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A tracking number of the post's, with a service of the carrier's choice.
fn s10(hash: u64) -> String {
    let letter = |n: u64| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
    let services = ['C', 'E', 'L', 'R', 'V'];
    let kind = services.iter().cycle().nth(usize::try_from(hash % 5).unwrap_or(0));
    let service: String = kind.into_iter().copied().chain([letter(hash / 5)]).collect();
    let serial = u32::try_from(hash / 130 % u64::from(SERIALS)).unwrap_or(0);
    TrackingNumber::new(&service, serial, "GB").map(|number| number.to_string()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a carrier outside of the system has its own clock")]
fn today() -> NaiveDate {
    chrono::Utc::now().date_naive()
}

pub(super) fn lost(key: &str) -> PortError {
    PortError::Unavailable(format!("the sandbox lost what became of {key}"))
}

impl Rules {
    fn behaviour(&self, request: &Request) -> Behaviour {
        match request {
            Request::Charge(ask) | Request::Authorise(ask) if ask.method != "card" => {
                Behaviour::Decline("unsupported_method")
            }
            Request::Charge(ask) | Request::Authorise(ask) => of_token(ask.token.as_str()),
            Request::Capture(ask) => self.later("tok_capture_", &ask.payment_key),
            Request::Void(ask) => self.later("tok_void_", &ask.payment_key),
            Request::RefundPart(ask) => self.later("tok_refund_", &ask.payment_key),
            Request::Book(ask) => match ask.ship_to.postal_code.as_str() {
                "test_refused" => Behaviour::Decline("address_not_served"),
                "test_timeout" => Behaviour::SilentBefore,
                "test_timeout_after_booking" => Behaviour::SilentAfter,
                "test_fail_once" => Behaviour::FailOnce,
                "test_elsewhen" => Behaviour::Elsewhen,
                other if other.strip_prefix("test_refused_from_") == Some(&*ask.warehouse) => {
                    Behaviour::Decline("warehouse_not_served")
                }
                _ => Behaviour::Do,
            },
            Request::Refund(_) | Request::Find(_) | Request::Cancel(_) => Behaviour::Do,
        }
    }

    /// What the token of an authorisation asks for at a later call.
    fn later(&self, prefix: &str, payment_key: &str) -> Behaviour {
        let first = self.keys.get(payment_key).and_then(|known| known.first.as_ref());
        let Some(Request::Authorise(ask)) = first else { return Behaviour::Do };
        match ask.token.as_str().strip_prefix(prefix) {
            Some("refused") => Behaviour::Decline("not_now_or_ever"),
            Some("timeout") => Behaviour::SilentBefore,
            Some("timeout_after") => Behaviour::SilentAfter,
            Some("fail_once") => Behaviour::FailOnce,
            _ => Behaviour::Do,
        }
    }
}

fn of_token(token: &str) -> Behaviour {
    match token {
        "tok_visa" | "tok_slow" => Behaviour::Do,
        "tok_declined" => Behaviour::Decline("card_declined"),
        "tok_timeout" => Behaviour::SilentBefore,
        "tok_timeout_after_charge" => Behaviour::SilentAfter,
        "tok_fail_once" => Behaviour::FailOnce,
        later if LATER.contains(&later) => Behaviour::Do,
        _ => Behaviour::Decline("unknown_token"),
    }
}

/// Whether a request is looked at only some time after it came.
pub(super) fn is_slow(request: &Request) -> bool {
    match request {
        Request::Charge(ask) | Request::Authorise(ask) => ask.token.as_str() == "tok_slow",
        Request::Book(ask) => ask.ship_to.postal_code == "test_slow",
        _ => false,
    }
}
