//! `back_order`: waits until the pieces of an order are set aside.

use std::time::Duration;

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask};
use tokio_postgres::Transaction;

use super::reservation::{Output, all};
use super::{Asked, ReservedOrder, WhenShort};
use crate::error::Error;

/// Waits until the pieces of an order are set aside.
///
/// Whoever frees pieces sets them aside for those who wait, and
/// [`restock_and_serve`](super::restock_and_serve) has their runs look at once; this looks by itself
/// every [`poll`](Self::every), so that a wake-up that is lost costs time alone.
#[derive(Clone, Copy, Debug)]
pub struct BackOrder {
    poll: Duration,
}

impl Default for BackOrder {
    /// It looks once a minute.
    fn default() -> Self {
        Self::every(Duration::from_secs(60))
    }
}

impl BackOrder {
    /// How often it looks by itself.
    #[must_use]
    pub fn every(poll: Duration) -> Self {
        Self { poll }
    }
}

impl TransactionalBatchTask for BackOrder {
    const NAME: &'static str = "back_order";
    type Input = ReservedOrder;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, ReservedOrder)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let asked = tasks.into_iter().map(|(_, input)| Asked {
            order_id: input.order_id,
            when_short: WhenShort::BackOrder,
            hold_seconds: None,
        });
        let told = all(tx, asked.collect()).await.map_err(Error::into_task_error)?;
        let waits = |answer: Result<Output, Error>| match answer {
            Ok(output) if output.status == "BACKORDERED" => Err(TaskError::in_progress(self.poll)),
            other => other.map_err(Error::into_task_error),
        };
        Ok(told.into_iter().map(waits).collect())
    }
}
