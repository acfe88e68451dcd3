//! What is not shown of orders. The tables hold under other names what was masked in the input of the
//! run that wrote them.

use std::collections::BTreeSet;

use oms_engine::chrono::{DateTime, Utc};
use oms_tasks::money::{Currency, Money};

use super::super::text::{moment, short};
use crate::mask::MASK;

/// What a field of an order's input is called in the tables.
const ALSO: [(&str, &[&str]); 6] = [
    ("customer", &["customer_name", "customer_email", "recipient"]),
    ("email", &["customer_email", "recipient"]),
    ("customer_email", &["recipient"]),
    ("name", &["customer_name"]),
    ("payment", &["authorisation", "refunds"]),
    ("lines", &["items"]),
];

/// Names of fields whose values are not shown.
#[derive(Debug)]
pub(super) struct Veil(pub(super) BTreeSet<String>);

impl Veil {
    pub(super) fn of(masked: &BTreeSet<String>) -> Self {
        let mut names = masked.clone();
        for (name, others) in ALSO {
            if masked.contains(name) {
                names.extend(others.iter().map(|&other| other.to_owned()));
            }
        }
        Self(names)
    }

    pub(super) fn hides(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The value of a field as it is shown; nothing where there is none.
    fn shown<T>(&self, name: &str, value: Option<T>, write: impl FnOnce(T) -> String) -> String {
        match value {
            None => String::new(),
            Some(_) if self.hides(name) => MASK.to_owned(),
            Some(value) => write(value),
        }
    }

    pub(super) fn text<'a>(&self, name: &str, value: impl Into<Option<&'a str>>) -> String {
        self.shown(name, value.into(), |text| short(text, 300))
    }

    pub(super) fn money(&self, name: &str, minor: Option<i64>, currency: Option<&str>) -> String {
        self.shown(name, minor, |minor| {
            let currency = currency.filter(|_| !self.hides("currency")).unwrap_or_default();
            let money =
                Currency::try_from(currency).and_then(|currency| Money::new(minor, currency));
            money.map_or_else(|_| format!("{minor} minor units"), Money::written)
        })
    }

    pub(super) fn time(&self, name: &str, time: Option<DateTime<Utc>>) -> String {
        self.shown(name, time, moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_in_an_order_s_input_is_masked_in_what_its_tables_hold() {
        let veil = Veil::of(&BTreeSet::from(["email".to_owned(), "payment".to_owned()]));
        for hidden in ["email", "customer_email", "recipient", "payment", "authorisation"] {
            assert!(veil.hides(hidden), "{hidden}");
        }
        assert!(!veil.hides("customer_name"));
        assert_eq!(veil.text("recipient", "ann@example.com"), "***");
        assert_eq!(veil.text("recipient", None), "");
        assert_eq!(veil.money("total_minor", Some(2_499), Some("EUR")), "24.99 EUR");
        assert_eq!(veil.money("total_minor", Some(2_499), None), "2499 minor units");
    }
}
