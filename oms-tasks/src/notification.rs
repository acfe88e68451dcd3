//! `notification`: completes the order and writes the last of its notifications.
//!
//! Transactional, for many orders at once: order, notification and the step's end commit together.
//! Nothing is sent here; the sender delivers what the stages wrote.

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use crate::error::{Error, answers};
use crate::sql::{COMPLETE_ORDERS, by_order, get};
use crate::stage::{Stage, refuse_closed, refuse_early};

/// The last of the five tasks.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Notification;

/// What [`Notification`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The order.
    pub order_id: String,
}

/// What [`Notification`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The order's status: `COMPLETED`.
    pub status: String,
}

impl TransactionalBatchTask for Notification {
    const NAME: &'static str = "notification";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Input)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let ids = tasks.into_iter().map(|(_, input)| input.order_id).collect();
        answers(complete(tx, ids).await)
    }
}

async fn complete(
    tx: &Transaction<'_>,
    ids: Vec<String>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    let bodies: Vec<String> = ids.iter().map(|id| Stage::Completed.body(id)).collect();
    let params = [
        (&ids as _, Type::TEXT_ARRAY),
        (&bodies as _, Type::TEXT_ARRAY),
        (&"COMPLETED" as _, Type::TEXT),
    ];
    let rows = COMPLETE_ORDERS.run_in(tx, &params).await?;
    let rows = by_order(&rows)?;
    Ok(ids.into_iter().map(|id| completed(rows.get(&*id).copied(), id)).collect())
}

fn completed(row: Option<&Row>, order_id: String) -> Result<Output, Error> {
    let Some(row) = row else { return Err(Error::OrderNotFound { order_id }) };
    refuse_closed(&order_id, get(row, "order_status")?)?;
    let past = ["SCHEDULED", "COMPLETED"];
    refuse_early(&order_id, get(row, "order_status")?, Notification::NAME, &past)?;
    Ok(Output { status: "COMPLETED".to_owned() })
}
