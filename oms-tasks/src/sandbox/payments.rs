//! Payments that are authorised, captured, voided and given back in parts.

use serde::Serialize;

use super::ledger::{Entry, Request};
use super::rules::{Behaviour, Known, Reply, Rules, lost, name_of};
use crate::ports::{
    AuthoriseAnswer, CaptureAnswer, CaptureRequest, ChargeRequest, FindRequest, GatewayPayment,
    PartRefundAnswer, PartRefundRequest, PaymentState, PortError, VoidAnswer, VoidRequest,
};

/// A payment that was authorised, whatever became of it.
struct Authorised<'a> {
    known: &'a Known,
    payment_id: &'a str,
    amount_minor: i64,
}

impl Authorised<'_> {
    /// Minor units that were captured and not given back.
    fn left(&self) -> i64 {
        let back: i64 = self.known.refunds.iter().map(|refund| refund.amount_minor).sum();
        self.known.captured.unwrap_or(0) - back
    }
}

pub(super) fn authorise(ask: &ChargeRequest, behaviour: Behaviour) -> Entry {
    let (key, order_id) = (ask.key.clone(), ask.order_id.clone());
    if let Behaviour::Decline(code) = behaviour {
        return Entry::Declined { key, order_id, code: code.to_owned() };
    }
    Entry::Authorised {
        key,
        order_id,
        amount_minor: ask.amount_minor,
        currency: ask.currency.clone(),
        payment_id: name_of("pi_", &ask.key),
    }
}

impl Rules {
    pub(super) fn capture(&self, ask: &CaptureRequest, behaviour: Behaviour) -> Option<Entry> {
        let payment = self.payment(&ask.payment_key)?;
        let known = payment.known;
        let open = known.undone.is_none() && known.captured.is_none();
        let may = open && (1..=payment.amount_minor).contains(&ask.amount_minor);
        (may && !matches!(behaviour, Behaviour::Decline(_))).then(|| Entry::Captured {
            key: ask.key.clone(),
            payment_key: ask.payment_key.clone(),
            order_id: ask.order_id.clone(),
            amount_minor: ask.amount_minor,
        })
    }

    pub(super) fn void(&self, ask: &VoidRequest) -> Option<Entry> {
        let known = self.keys.get(&ask.payment_key);
        if known.is_none_or(|known| known.done.is_none()) {
            return self.close(&ask.payment_key, ask.order_id.clone());
        }
        let known = self.payment(&ask.payment_key)?.known;
        (known.undone.is_none() && known.captured.is_none()).then(|| Entry::Voided {
            key: ask.key.clone(),
            payment_key: ask.payment_key.clone(),
            order_id: ask.order_id.clone(),
        })
    }

    pub(super) fn refund_part(
        &self,
        ask: &PartRefundRequest,
        behaviour: Behaviour,
    ) -> Option<Entry> {
        let may = (1..=self.payment(&ask.payment_key)?.left()).contains(&ask.amount_minor);
        (may && !matches!(behaviour, Behaviour::Decline(_))).then(|| Entry::PartRefunded {
            key: ask.key.clone(),
            payment_key: ask.payment_key.clone(),
            order_id: ask.order_id.clone(),
            amount_minor: ask.amount_minor,
            refund_id: name_of("re_", &ask.key),
        })
    }

    pub(super) fn authorised(&self, key: &str) -> Reply {
        reply(match self.keys.get(key).and_then(|known| known.done.clone()) {
            Some(Entry::Authorised { payment_id, .. }) => {
                AuthoriseAnswer::Authorised { payment_id }
            }
            Some(Entry::Declined { code, .. }) => AuthoriseAnswer::Declined { code },
            _ => return Err(lost(key)),
        })
    }

    pub(super) fn captured(&self, ask: &CaptureRequest) -> Reply {
        let captured = self.payment(&ask.payment_key).and_then(|payment| payment.known.captured);
        reply(match captured {
            Some(captured_minor) => CaptureAnswer::Captured { captured_minor },
            None => CaptureAnswer::Refused { code: "not_authorised".to_owned() },
        })
    }

    pub(super) fn voided(&self, ask: &VoidRequest) -> Reply {
        let payment = self.payment(&ask.payment_key);
        reply(
            match payment.and_then(|payment| Some((payment.known.captured?, payment.payment_id))) {
                Some((captured_minor, payment_id)) => {
                    VoidAnswer::Captured { payment_id: payment_id.to_owned(), captured_minor }
                }
                None => VoidAnswer::Voided,
            },
        )
    }

    pub(super) fn part_refunded(&self, ask: &PartRefundRequest) -> Reply {
        let payment = self.payment(&ask.payment_key);
        let mut refunds = payment.iter().flat_map(|payment| &payment.known.refunds);
        reply(match refunds.find(|refund| refund.key == ask.key) {
            Some(made) => PartRefundAnswer::Refunded { refund_id: made.refund_id.clone() },
            None => PartRefundAnswer::Refused { code: "not_refundable".to_owned() },
        })
    }

    pub(super) fn found(&self, ask: &FindRequest) -> Reply {
        let known = self.keys.get(&ask.payment_key);
        let asked = known.is_some_and(|known| matches!(known.first, Some(Request::Authorise(_))));
        let Some(known) = known.filter(|known| known.closed || asked) else {
            return reply(None::<GatewayPayment>);
        };
        let state = match &known.done {
            _ if known.closed || known.undone.is_some() => PaymentState::Voided,
            Some(Entry::Authorised { .. }) if known.captured.is_some() => PaymentState::Captured,
            Some(Entry::Authorised { .. }) => PaymentState::Authorised,
            Some(Entry::Declined { code, .. }) => PaymentState::Declined { code: code.clone() },
            _ => PaymentState::Open,
        };
        reply(Some(GatewayPayment {
            payment_id: name_of("pi_", &ask.payment_key),
            state,
            captured_minor: known.captured.unwrap_or(0),
            refunds: known.refunds.clone(),
        }))
    }

    fn payment(&self, key: &str) -> Option<Authorised<'_>> {
        let known = self.keys.get(key)?;
        let Some(Entry::Authorised { payment_id, amount_minor, .. }) = &known.done else {
            return None;
        };
        Some(Authorised { known, payment_id, amount_minor: *amount_minor })
    }
}

fn reply(answer: impl Serialize) -> Reply {
    serde_json::to_value(answer).map_err(|error| PortError::Unavailable(error.to_string()))
}
