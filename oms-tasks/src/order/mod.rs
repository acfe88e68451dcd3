//! What an order is, as the input of `order_fulfilment` says it.

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Lines that an order may have.
pub const LINES_MAX: usize = 1_000;
/// Pieces that a line may have.
pub const QUANTITY_MAX: i32 = 1_000_000;
const NAME_MAX: usize = 200;
const ID_MAX: usize = 100;
const EMAIL_MAX: usize = 254;

/// The input of `order_fulfilment`. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Chosen by the caller, unique: 1 to 100 characters.
    pub order_id: String,
    /// Who ordered.
    pub customer: Customer,
    /// What was ordered: 1 to [`LINES_MAX`] lines.
    pub lines: Vec<Line>,
    /// How it is paid.
    pub payment: Payment,
    /// Where it goes.
    pub ship_to: Address,
    /// ISO 4217; the articles must be priced in it.
    pub currency: String,
    /// When it is to be delivered; whenever the carrier can, unless this says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_window: Option<DeliveryWindow>,
}

/// The days between which an order is to be delivered, both included. An order that cannot be delivered
/// then fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryWindow {
    /// The first day.
    pub from: NaiveDate,
    /// The last day; not before the first, nor, when the order is placed, in the past (by UTC).
    pub to: NaiveDate,
}

impl DeliveryWindow {
    /// What is wrong with a window that is over.
    pub(crate) fn past(&self) -> Error {
        let fault = format!("$.delivery_window.to: {} is past", self.to);
        Error::InvalidOrder { faults: vec![fault] }
    }
}

/// Who ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// 1 to 200 characters.
    pub name: String,
    /// Where notifications go.
    pub email: String,
}

/// Pieces of one article.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The article: 1 to 100 characters.
    pub sku: String,
    /// 1 to [`QUANTITY_MAX`].
    pub quantity: i32,
}

/// How an order is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Such as `card`; the gateway decides what it takes.
    pub method: String,
    /// What the gateway knows the means of payment by. It is not written to the tables.
    pub token: CardToken,
}

/// A gateway's token, kept out of debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CardToken(String);

impl CardToken {
    /// Takes the gateway's text.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The gateway's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CardToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardToken(…)")
    }
}

/// Where an order goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// With the house's number.
    pub street: String,
    /// The town.
    pub city: String,
    /// As the country writes it.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

impl Order {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`Error::InvalidOrder`] with every fault and its JSON path.
    pub fn check(&self) -> Result<(), Error> {
        let mut faults = Vec::new();
        let mut text = |path: &str, value: &str, max: usize| {
            if !is_text(value, max) {
                faults.push(format!("$.{path}: use 1 to {max} characters, no control characters"));
            }
        };
        text("order_id", &self.order_id, ID_MAX);
        text("customer.name", &self.customer.name, NAME_MAX);
        text("payment.method", &self.payment.method, ID_MAX);
        text("payment.token", self.payment.token.as_str(), NAME_MAX);
        text("ship_to.street", &self.ship_to.street, NAME_MAX);
        text("ship_to.city", &self.ship_to.city, NAME_MAX);
        text("ship_to.postal_code", &self.ship_to.postal_code, ID_MAX);
        for (i, line) in self.lines.iter().enumerate().take(LINES_MAX) {
            text(&format!("lines[{i}].sku"), &line.sku, ID_MAX);
        }
        let mut hold = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        hold(self.customer.has_email(), "$.customer.email: use an address such as a@example.com");
        hold(is_code(&self.ship_to.country, 2), "$.ship_to.country: use two letters A-Z");
        hold(is_code(&self.currency, 3), "$.currency: use three letters A-Z");
        hold(
            (1..=LINES_MAX).contains(&self.lines.len()),
            &format!("$.lines: use 1 to {LINES_MAX} lines"),
        );
        hold(
            self.delivery_window.is_none_or(|window| window.from <= window.to),
            "$.delivery_window.to: use a day that is not before $.delivery_window.from",
        );
        for (i, line) in self.lines.iter().enumerate().take(LINES_MAX) {
            hold(
                (1..=QUANTITY_MAX).contains(&line.quantity),
                &format!("$.lines[{i}].quantity: use 1 to {QUANTITY_MAX}"),
            );
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::InvalidOrder { faults }) }
    }
}

impl Customer {
    fn has_email(&self) -> bool {
        is_text(&self.email, EMAIL_MAX)
            && !self.email.contains(char::is_whitespace)
            && self
                .email
                .split_once('@')
                .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
    }

    /// Whether the customer can be written to the tables and told about the order.
    pub(crate) fn is_valid(&self) -> bool {
        is_text(&self.name, NAME_MAX) && self.has_email()
    }
}

/// Whether a text can be an order's id.
pub(crate) fn is_order_id(text: &str) -> bool {
    is_text(text, ID_MAX)
}

fn is_text(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max && !text.contains(char::is_control)
}

fn is_code(text: &str, letters: usize) -> bool {
    text.len() == letters && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests;
