//! `notification`: completes the order and writes the last of its notifications.
//!
//! Transactional: order, notification and the step's end commit together. Nothing is sent here;
//! the sender delivers what the stages wrote.

use oms_engine::{TaskContext, TaskError, TransactionalTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::sql::{COMPLETE_ORDER, get};
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

impl TransactionalTask for Notification {
    const NAME: &'static str = "notification";
    type Input = Input;
    type Output = Output;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: Input,
    ) -> Result<Output, TaskError> {
        complete(tx, input.order_id).await.map_err(Error::into_task_error)
    }
}

async fn complete(tx: &Transaction<'_>, order_id: String) -> Result<Output, Error> {
    let body = Stage::Completed.body(&order_id);
    let rows = COMPLETE_ORDER.run_in(tx, &[(&order_id, Type::TEXT), (&body, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Err(Error::OrderNotFound { order_id }) };
    refuse_closed(&order_id, get(row, "order_status")?)?;
    let past = ["SCHEDULED", "COMPLETED"];
    refuse_early(&order_id, get(row, "order_status")?, Notification::NAME, &past)?;
    Ok(Output { status: "COMPLETED".to_owned() })
}
