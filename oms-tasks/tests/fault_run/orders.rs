//! The orders of the run, and how each must end.

use oms_engine::StartRequest;
use serde_json::Value;

use crate::common::{order, with};
use crate::random::Random;

/// The article of which there is not enough for all.
pub(crate) const SCARCE: &str = "last";
pub(crate) const SCARCE_PIECES: i64 = 40;
/// Sku, pieces, price.
pub(crate) const ARTICLES: [(&str, i64, i64); 3] =
    [("tea", 10_000, 250), ("cup", 10_000, 900), (SCARCE, SCARCE_PIECES, 4_999)];

const CARDS: [&str; 10] = [
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_slow",
    "tok_slow",
    "tok_fail_once",
    "tok_timeout_after_charge",
    "tok_declined",
];
const PLACES: [&str; 10] = [
    "53111",
    "53111",
    "53111",
    "53111",
    "53111",
    "test_slow",
    "test_slow",
    "test_fail_once",
    "test_timeout_after_booking",
    "test_refused",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    /// With a reason that says this.
    Failed(&'static str),
    /// Completed, or out of stock.
    Either,
}

pub(crate) struct Placed {
    pub(crate) id: String,
    pub(crate) input: Value,
    pub(crate) end: End,
}

impl Placed {
    pub(crate) fn random(n: usize, random: &mut Random) -> Self {
        let id = format!("o{n}");
        let sku = random.pick(&["tea", "cup", "cup", SCARCE]);
        let quantity = if sku == SCARCE { 1 } else { 1 + random.below(3) };
        let card = random.pick(&CARDS);
        // A scarce piece that is given back would be had by whoever happens to come then.
        let place = if sku == SCARCE { PLACES[0] } else { random.pick(&PLACES) };
        let end = match (card, place, sku) {
            ("tok_declined", ..) => End::Failed("payment declined: card_declined"),
            (_, "test_refused", _) => End::Failed("delivery refused: address_not_served"),
            (.., SCARCE) => End::Either,
            _ => End::Completed,
        };
        let input = order(&id, sku, i32::try_from(quantity).unwrap());
        let input = with(with(input, "/payment/token", card), "/ship_to/postal_code", place);
        Self { id, input, end }
    }

    pub(crate) fn request(&self) -> StartRequest {
        StartRequest::new("order_fulfilment").input(&self.input).idempotency_key(&self.id)
    }
}
