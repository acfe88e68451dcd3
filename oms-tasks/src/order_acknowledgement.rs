//! `order_acknowledgement`: checks the order, prices it from the inventory and writes it.
//!
//! Transactional: order, lines, first notification and the step's end commit together.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::error::Error;
use crate::order::Order;
use crate::sql::{ACKNOWLEDGE_ORDER, FIND_ORDER, get};
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

impl TransactionalTask for OrderAcknowledgement {
    const NAME: &'static str = "order_acknowledgement";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Input,
    ) -> Result<Output, TaskError> {
        acknowledge(cx.workflow_id().as_uuid(), tx, input.order)
            .await
            .map_err(Error::into_task_error)
    }
}

async fn acknowledge(
    workflow_id: Uuid,
    tx: &Transaction<'_>,
    order: Order,
) -> Result<Output, Error> {
    order.check()?;
    let priced = write(workflow_id, tx, &order).await?;
    let Order { order_id, currency, .. } = order;
    if get(&priced, "written")? {
        let total_minor = total(&priced, &order_id)?;
        return Ok(Output { order_id, total_minor, currency });
    }
    // Not written. An order that is there says more than what is wrong with its lines today.
    if let Some(found) = FIND_ORDER.run_in(tx, &[(&order_id, Type::TEXT)]).await?.first() {
        let owner: Uuid = get(found, "workflow_id")?;
        if owner != workflow_id {
            return Err(Error::OrderTaken { order_id, workflow_id: owner });
        }
        refuse_closed(&order_id, get(found, "status")?)?;
        let total_minor = total(found, &order_id)?;
        return Ok(Output { order_id, total_minor, currency: get(found, "currency")? });
    }
    Err(why_unpriced(order_id, currency, &priced)?)
}

async fn write(workflow_id: Uuid, tx: &Transaction<'_>, order: &Order) -> Result<Row, Error> {
    let ship_to = serde_json::to_value(&order.ship_to).unwrap_or(Value::Null);
    let skus: Vec<&str> = order.lines.iter().map(|line| line.sku.as_str()).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|line| line.quantity).collect();
    let rows = ACKNOWLEDGE_ORDER
        .run_in(
            tx,
            &[
                (&order.order_id, Type::TEXT),
                (&workflow_id, Type::UUID),
                (&order.customer.name, Type::TEXT),
                (&order.customer.email, Type::TEXT),
                (&ship_to, Type::JSONB),
                (&order.currency, Type::BPCHAR),
                (&skus, Type::TEXT_ARRAY),
                (&quantities, Type::INT4_ARRAY),
                (&Stage::Acknowledged.body(&order.order_id), Type::TEXT),
            ],
        )
        .await?;
    let gone = || Error::invariant(&order.order_id, "the priced lines gave no row");
    rows.into_iter().next().ok_or_else(gone)
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
