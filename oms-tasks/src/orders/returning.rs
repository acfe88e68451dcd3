//! Pieces come back after the delivery: on the shelf, and their price to the customer.

use std::collections::BTreeMap;

use deadpool_postgres::Object;
use oms_engine::StartRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::Orders;
use crate::error::{Doing as _, Error};
use crate::money::{Currency, Money};
use crate::order::{Line, is_order_id};
use crate::sql::{FIND_ORDERS, FIND_RETURN, RETURNABLE_LINES, TAKE_BACK, get};
use crate::stock::{Waiting, Woken, wake};

const DOING: &str = "returning pieces";

/// What came of a return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Returned {
    /// The pieces are back on the shelf, and the amount is on its way to the customer.
    Accepted {
        /// Minor units of the order's currency.
        refund_minor: i64,
    },
    /// It was accepted before.
    Already {
        /// As it was then.
        refund_minor: i64,
    },
    /// The order has not left the house: cancel it instead.
    TooEarly {
        /// The order's status.
        status: String,
    },
    /// There is nothing that could come back: the order failed, was cancelled, or is of version 1, or
    /// all of it was given back.
    NotReturnable {
        /// The order's status.
        status: String,
    },
    /// Not so many pieces of these articles are the customer's.
    Exceeds {
        /// The articles.
        skus: Vec<String>,
    },
}

/// What a return takes back.
struct Back {
    skus: Vec<String>,
    pieces: Vec<i64>,
    refund: Money,
}

impl Orders {
    /// Takes pieces of a delivered order back: they are on the shelf, and set aside for orders that wait
    /// for them, when this returns, and giving their price back is durable. `return_id` names the return:
    /// asked for again, it is found and not done twice.
    ///
    /// # Errors
    /// [`Error::InvalidOrder`] for lines or an id that cannot be, or an id that other lines had;
    /// [`Error::OrderNotFound`]; [`Error::Engine`], database errors.
    ///
    /// # Cancel safety
    /// Whether it was accepted is unknown when the future is dropped; return it again.
    pub async fn return_items(
        &self,
        order_id: &str,
        return_id: &str,
        lines: &[Line],
    ) -> Result<Returned, Error> {
        let pieces = summed(return_id, lines)?;
        let mut connection = self.pool.get().await.doing(DOING)?;
        let done = self.take_back(&mut connection, order_id, return_id, &pieces).await;
        if done.is_err() {
            // It may be in the middle of a transaction that nobody will end.
            drop(Object::take(connection));
        }
        let (answer, woken) = done?;
        wake(&self.engine, &woken).await;
        Ok(answer)
    }

    async fn take_back(
        &self,
        connection: &mut Object,
        order_id: &str,
        return_id: &str,
        pieces: &BTreeMap<String, i64>,
    ) -> Result<(Returned, Vec<Woken>), Error> {
        let tx = tokio_postgres::Client::transaction(connection).await.doing(DOING)?;
        let back = match look(&tx, order_id, return_id, pieces).await? {
            Ok(back) => back,
            Err(answer) => return Ok((answer, Vec::new())),
        };
        let waiting = Waiting::find(&tx, &back.skus).await?;
        let refund_minor = back.refund.minor();
        let params = [
            (&order_id as _, Type::TEXT),
            (&return_id as _, Type::TEXT),
            (&back.skus as _, Type::TEXT_ARRAY),
            (&back.pieces as _, Type::INT8_ARRAY),
            (&json!(pieces) as _, Type::JSONB),
            (&refund_minor as _, Type::INT8),
        ];
        TAKE_BACK.run_in(&tx, &params).await?;
        let woken = waiting.serve(&tx).await?;
        let input = json!({
            "order_id": order_id, "return_id": return_id, "amount_minor": refund_minor,
        });
        let request = StartRequest::new("order_return").input(input).correlation_id(order_id);
        let started = self.engine.start_in(&tx, request).await;
        started.map_err(|source| Error::Engine { doing: DOING, source })?;
        tx.commit().await.doing(DOING)?;
        Ok((Returned::Accepted { refund_minor }, woken))
    }
}

/// Pieces by article, since lines may name one twice.
fn summed(return_id: &str, lines: &[Line]) -> Result<BTreeMap<String, i64>, Error> {
    let mut faults = Vec::new();
    if !is_order_id(return_id) {
        faults.push("$.return_id: use 1 to 100 characters, no control characters".to_owned());
    }
    if lines.is_empty() {
        faults.push("$.lines: use at least 1 line".to_owned());
    }
    let mut pieces = BTreeMap::new();
    for (i, line) in lines.iter().enumerate() {
        if line.quantity < 1 {
            faults.push(format!("$.lines[{i}].quantity: use at least 1"));
        }
        *pieces.entry(line.sku.clone()).or_insert(0) += i64::from(line.quantity);
    }
    if faults.is_empty() { Ok(pieces) } else { Err(Error::InvalidOrder { faults }) }
}

/// What is to be taken back, or why nothing is. The order is locked from then on.
async fn look(
    tx: &Transaction<'_>,
    order_id: &str,
    return_id: &str,
    pieces: &BTreeMap<String, i64>,
) -> Result<Result<Back, Returned>, Error> {
    let ids = [order_id];
    let rows = FIND_ORDERS.run_in(tx, &[(&ids.as_slice(), Type::TEXT_ARRAY)]).await?;
    let Some(row) = rows.first() else {
        return Err(Error::OrderNotFound { order_id: order_id.to_owned() });
    };
    let (status, currency): (String, Option<String>) = (get(row, "status")?, get(row, "currency")?);
    let params = [(&order_id as _, Type::TEXT), (&return_id as _, Type::TEXT)];
    if let Some(row) = FIND_RETURN.run_in(tx, &params).await?.first() {
        let before: Value = get(row, "pieces")?;
        if before != json!(pieces) {
            let faults = vec![format!("$.return_id: {return_id} was used for other lines")];
            return Err(Error::InvalidOrder { faults });
        }
        return Ok(Err(Returned::Already { refund_minor: get(row, "refund_minor")? }));
    }
    if ["ACKNOWLEDGED", "PAID", "BOOKED", "SCHEDULED"].contains(&status.as_str()) {
        return Ok(Err(Returned::TooEarly { status }));
    }
    let rows = RETURNABLE_LINES.run_in(tx, &[(&order_id, Type::TEXT)]).await?;
    if status != "COMPLETED" || rows.is_empty() {
        return Ok(Err(Returned::NotReturnable { status }));
    }
    let currency = Currency::try_from(currency.unwrap_or_default())?;
    let mut can: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in &rows {
        can.insert(get(row, "sku")?, (get(row, "left_pieces")?, get(row, "unit_price_minor")?));
    }
    let exceeds = |(sku, pieces): &(&String, &i64)| can.get(*sku).is_none_or(|(n, _)| n < *pieces);
    let skus: Vec<String> = pieces.iter().filter(exceeds).map(|(sku, _)| sku.clone()).collect();
    if !skus.is_empty() {
        return Ok(Err(Returned::Exceeds { skus }));
    }
    let prices = pieces.iter().filter_map(|(sku, pieces)| Some((can.get(sku)?.1, *pieces)));
    let amounts: Result<Vec<Money>, _> =
        prices.map(|(price, pieces)| Money::new(price, currency)?.times(pieces)).collect();
    let refund = Money::sum(currency, amounts?)?;
    let (skus, pieces) = pieces.iter().map(|(sku, pieces)| (sku.clone(), *pieces)).unzip();
    Ok(Ok(Back { skus, pieces, refund }))
}
