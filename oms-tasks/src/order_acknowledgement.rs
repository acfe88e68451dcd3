//! `order_acknowledgement`: checks the order, prices it from the inventory and writes it.
//!
//! Transactional, for many orders at once: order, lines, first notification and the step's end commit
//! together.

use chrono::NaiveDate;
use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::error::{Error, answers};
use crate::order::Order;
use crate::sql::{ACKNOWLEDGE_ORDERS, FIND_ORDERS, Param, by_order, get};
use crate::stage::{Stage, refuse_closed};

/// The first of the five tasks.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OrderAcknowledgement;

/// What [`OrderAcknowledgement`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The whole input of `order_fulfilment`.
    pub order: Order,
}

/// What [`OrderAcknowledgement`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The order.
    pub order_id: String,
    /// What it costs, in minor units.
    pub total_minor: i64,
    /// Of the total.
    pub currency: String,
}

impl TransactionalBatchTask for OrderAcknowledgement {
    const NAME: &'static str = "order_acknowledgement";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Input)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let (mut sound, mut checked) = (Vec::new(), Vec::new());
        for (cx, Input { order }) in tasks {
            let fault = order.check().err();
            if fault.is_none() {
                sound.push((cx.workflow_id().as_uuid(), order));
            }
            checked.push(fault);
        }
        let acknowledged = acknowledge(tx, sound).await.map(|acknowledged| {
            let mut acknowledged = acknowledged.into_iter();
            let each = checked.into_iter();
            each.filter_map(|fault| fault.map_or_else(|| acknowledged.next(), |f| Some(Err(f))))
                .collect()
        });
        answers(acknowledged)
    }
}

async fn acknowledge(
    tx: &Transaction<'_>,
    orders: Vec<(Uuid, Order)>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let priced = ACKNOWLEDGE_ORDERS.run_in(tx, &Given::of(&orders).params()).await?;
    if priced.len() != orders.len() {
        let what = "the priced lines gave another number of rows";
        return Err(Error::invariant(orders.first().map_or("", |(_, o)| &o.order_id), what));
    }
    let mut left = Vec::new();
    for ((_, order), row) in orders.iter().zip(&priced) {
        if !get::<bool>(row, "written")? {
            left.push(order.order_id.as_str());
        }
    }
    // An order that is there says more than what is wrong with its lines today.
    let found = match left.as_slice() {
        [] => Vec::new(),
        left => FIND_ORDERS.run_in(tx, &[(&left, Type::TEXT_ARRAY)]).await?,
    };
    let found = by_order(&found)?;
    let answer = |((workflow_id, order), priced): ((Uuid, Order), &Row)| {
        answer(workflow_id, found.get(&*order.order_id).copied(), order, priced)
    };
    Ok(orders.into_iter().zip(&priced).map(answer).collect())
}

fn answer(
    workflow_id: Uuid,
    found: Option<&Row>,
    order: Order,
    priced: &Row,
) -> Result<Output, Error> {
    let Order { order_id, currency, delivery_window, .. } = order;
    if get(priced, "written")? {
        let total_minor = total(priced, &order_id)?;
        return Ok(Output { order_id, total_minor, currency });
    }
    let Some(found) = found else {
        return Err(match delivery_window {
            Some(window) if get(priced, "window_past")? => window.past(),
            _ => why_unpriced(order_id, currency, priced)?,
        });
    };
    let owner: Uuid = get(found, "workflow_id")?;
    if owner != workflow_id {
        return Err(Error::OrderTaken { order_id, workflow_id: owner });
    }
    refuse_closed(&order_id, get(found, "status")?)?;
    let total_minor = total(found, &order_id)?;
    Ok(Output { order_id, total_minor, currency: get(found, "currency")? })
}

/// What the statement is given, as lists side by side.
#[derive(Default)]
struct Given<'a> {
    order_ids: Vec<&'a str>,
    workflow_ids: Vec<Uuid>,
    names: Vec<&'a str>,
    emails: Vec<&'a str>,
    ship_to: Vec<Value>,
    currencies: Vec<&'a str>,
    bodies: Vec<String>,
    deliver_from: Vec<Option<NaiveDate>>,
    deliver_to: Vec<Option<NaiveDate>>,
    /// Of the lines.
    numbers: Vec<i32>,
    line_numbers: Vec<i32>,
    skus: Vec<&'a str>,
    quantities: Vec<i32>,
}

impl<'a> Given<'a> {
    fn of(orders: &'a [(Uuid, Order)]) -> Self {
        let mut given = Self::default();
        for (number, (workflow_id, order)) in (1..).zip(orders) {
            given.order_ids.push(&order.order_id);
            given.workflow_ids.push(*workflow_id);
            given.names.push(&order.customer.name);
            given.emails.push(&order.customer.email);
            given.ship_to.push(serde_json::to_value(&order.ship_to).unwrap_or(Value::Null));
            given.currencies.push(&order.currency);
            given.deliver_from.push(order.delivery_window.map(|window| window.from));
            given.deliver_to.push(order.delivery_window.map(|window| window.to));
            given.bodies.push(Stage::Acknowledged.body(&order.order_id));
            for (line_no, line) in (1..).zip(&order.lines) {
                given.numbers.push(number);
                given.line_numbers.push(line_no);
                given.skus.push(&line.sku);
                given.quantities.push(line.quantity);
            }
        }
        given
    }

    fn params(&self) -> [Param<'_>; 13] {
        [
            (&self.order_ids, Type::TEXT_ARRAY),
            (&self.workflow_ids, Type::UUID_ARRAY),
            (&self.names, Type::TEXT_ARRAY),
            (&self.emails, Type::TEXT_ARRAY),
            (&self.ship_to, Type::JSONB_ARRAY),
            (&self.currencies, Type::BPCHAR_ARRAY),
            (&self.bodies, Type::TEXT_ARRAY),
            (&self.numbers, Type::INT4_ARRAY),
            (&self.line_numbers, Type::INT4_ARRAY),
            (&self.skus, Type::TEXT_ARRAY),
            (&self.quantities, Type::INT4_ARRAY),
            (&self.deliver_from, Type::DATE_ARRAY),
            (&self.deliver_to, Type::DATE_ARRAY),
        ]
    }
}

fn total(row: &Row, order_id: &str) -> Result<i64, Error> {
    let total: Option<i64> = get(row, "total_minor")?;
    total.ok_or_else(|| Error::invariant(order_id, "it was acknowledged without a total"))
}

fn why_unpriced(order_id: String, currency: String, priced: &Row) -> Result<Error, Error> {
    let skus: Vec<String> = get(priced, "unknown")?;
    if !skus.is_empty() {
        return Ok(Error::UnknownSku { order_id, skus });
    }
    let skus: Vec<String> = get(priced, "foreign_currency")?;
    if !skus.is_empty() {
        return Ok(Error::ForeignCurrency { order_id, currency, skus });
    }
    Ok(Error::TotalTooLarge { order_id })
}
