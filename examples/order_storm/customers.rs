//! Who orders what, pays how, and changes their mind.

use std::time::Duration;

use oms_tasks::Error;
use oms_tasks::order::Order;
use oms_tasks::orders::{Orders, PlaceOptions};
use oms_tasks::stock::WhenShort;
use serde_json::json;

use super::{ARTICLES, Failure, Random, article};

/// How often a customer tries again who gets no answer.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(100);

/// One with one order.
pub(crate) struct Customer {
    order_id: String,
    order: serde_json::Value,
    options: PlaceOptions,
    pub(crate) cancels_after: Option<Duration>,
}

impl Customer {
    pub(crate) fn random(n: u32, random: &mut Random) -> Self {
        let order_id = format!("order-{n:05}");
        let card = match random.below(100) {
            0..10 => "declined",
            10..14 => "timeout",
            14..18 => "fail_once",
            18..22 => "timeout_after_charge",
            22..25 => "capture_timeout_after",
            25..28 => "void_fail_once",
            28..30 => "capture_refused",
            _ => "visa",
        };
        let place = match random.below(100) {
            0..3 => "test_refused",
            3..6 => "test_timeout_after_booking",
            6..9 => "test_fail_once",
            _ => "SW1Y 4JH",
        };
        let first = i64::try_from(random.below(5)).unwrap_or(0) % ARTICLES;
        let mut lines = vec![json!({"sku": article(first), "quantity": 1})];
        if random.below(5) == 0 {
            lines.push(json!({"sku": article((first + 1) % ARTICLES), "quantity": 1}));
        }
        let mut options = PlaceOptions::default();
        // Some wait for pieces, and give up at the end.
        options.when_short =
            if random.below(20) == 0 { WhenShort::BackOrder } else { WhenShort::Refuse };
        let cancels_after = (random.below(10) == 0).then(|| random.millis(0, 3_000));
        // In which they can.
        options.dispatch_after_seconds =
            Some(if cancels_after.is_some() { 2 } else { u32::from(random.below(4) == 0) });
        let order = json!({
            "order_id": order_id,
            "customer": { "name": "Ada Lovelace", "email": "ada@example.com" },
            "lines": lines,
            "payment": { "method": "card", "token": format!("tok_{card}") },
            "ship_to": {
                "street": "St James's Square 12", "city": "London", "postal_code": place,
                "country": "GB"
            },
            "currency": "EUR"
        });
        Self { order_id, order, options, cancels_after }
    }

    pub(crate) async fn places(&self, orders: &Orders) -> Result<(), Failure> {
        let order: Order = serde_json::from_value(self.order.clone())?;
        let mut tries = 0;
        while let Err(error) = orders.place(&order, &self.options).await {
            tries += 1;
            if !error.is_retryable() || tries > TRIES {
                return Err(error.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Whatever the answer is, it may be too late.
    pub(crate) async fn cancels(&self, orders: &Orders) {
        tokio::time::sleep(self.cancels_after.unwrap_or_default()).await;
        for _ in 0..TRIES {
            match orders.cancel(&self.order_id, "changed my mind").await {
                // Not acknowledged yet.
                Err(Error::OrderNotFound { .. }) => {}
                Err(error) if error.is_retryable() => {}
                Ok(_) | Err(_) => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
