//! The objects of the API, as far as they are read, and amounts as it writes them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ports::{PaymentState, PortError};

/// Where the idempotency key of a payment or refund stands in its object.
pub(super) const KEY: &str = "oms_key";

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) amount_received: i64,
    #[serde(default)]
    pub(super) last_payment_error: Option<Fault>,
    #[serde(default)]
    pub(super) cancellation_reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    pub(super) amount: i64,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) failure_reason: Option<String>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Envelope {
    pub(super) error: Fault,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Fault {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Fault {
    /// For people.
    pub(super) fn text(&self) -> String {
        let parts = [Some(&self.kind), self.code.as_ref(), self.message.as_ref()];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        parts.join(" ").trim().to_owned()
    }

    /// The code of a decline: the issuer's where it gave one.
    pub(super) fn decline(&self) -> String {
        let code = self.decline_code.as_ref().or(self.code.as_ref());
        code.cloned().unwrap_or_else(|| "card_declined".to_owned())
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl Intent {
    /// How far it has got; an error while Stripe has not decided.
    pub(super) fn state(&self) -> Result<PaymentState, PortError> {
        Ok(match (&*self.status, &self.last_payment_error) {
            ("succeeded", _) => PaymentState::Captured,
            ("requires_capture", _) => PaymentState::Authorised,
            ("canceled", _) => PaymentState::Voided,
            ("requires_payment_method", Some(fault)) => {
                PaymentState::Declined { code: fault.decline() }
            }
            ("requires_payment_method" | "requires_confirmation", _) => PaymentState::Open,
            // Nobody is there who could act; a void sees to it that nobody does later.
            ("requires_action", _) => {
                PaymentState::Declined { code: "authentication_required".to_owned() }
            }
            (status, _) => {
                let text = format!("{} is {status}", self.id);
                return Err(PortError::Unavailable(text));
            }
        })
    }
}

impl Refund {
    /// Whether the money is on its way back.
    pub(super) fn is_made(&self) -> bool {
        !matches!(self.status.as_deref(), Some("failed" | "canceled"))
    }
}

/// Currencies whose ISO 4217 minor unit is the whole one, but that Stripe writes with two decimals.
const WITH_TWO_MORE: [&str; 2] = ["ISK", "UGX"];
/// Currencies of three decimals, of which Stripe takes no last one but 0.
const OF_THREE: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// Minor units as Stripe writes them.
pub(super) fn to_wire(minor: i64, currency: &str) -> Result<i64, PortError> {
    let refused = |why: &str| PortError::Invalid(format!("{minor} minor units {currency}: {why}"));
    if OF_THREE.contains(&currency) && minor % 10 != 0 {
        return Err(refused("Stripe takes three decimals only with a last one of 0"));
    }
    if WITH_TWO_MORE.contains(&currency) {
        return minor.checked_mul(100).ok_or_else(|| refused("too large"));
    }
    Ok(minor)
}

/// Minor units as ISO 4217 has them.
pub(super) fn from_wire(amount: i64, currency: &str) -> i64 {
    if WITH_TWO_MORE.contains(&currency) { amount / 100 } else { amount }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_written_as_stripe_counts_them() {
        for (minor, currency, wire) in
            [(1_999, "EUR", 1_999), (500, "JPY", 500), (500, "ISK", 50_000), (1_230, "KWD", 1_230)]
        {
            assert_eq!(to_wire(minor, currency).unwrap(), wire, "{currency}");
        }
        for (minor, currency) in [(1_234, "KWD"), (i64::MAX, "UGX")] {
            assert!(matches!(to_wire(minor, currency), Err(PortError::Invalid(_))), "{currency}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(minor in 0..1_000_000_000_i64, n in 0..4_usize) {
            let currency = ["EUR", "JPY", "ISK", "KWD"][n];
            if let Ok(wire) = to_wire(minor, currency) {
                prop_assert_eq!(from_wire(wire, currency), minor);
            }
        }
    }
}
