//! What a reservation comes to: confirmed, expired, released, shipped.

use std::time::Duration;

use oms_engine::{TaskContext, TaskError, TransactionalBatchTask, TransactionalTask};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::reservation::{Output, all};
use super::{Asked, Moved, ReservedOrder, WhenShort, bring_to, end, lock_orders, lock_shelves};
use crate::error::{Error, answers};
use crate::fulfilment::UndoneOrder;
use crate::sql::ORDER_OWNER;

/// How often an order that waits is looked at for its expiry, which begins when it is served.
const WAITING_LOOK: Duration = Duration::from_secs(60);

/// `reservation_confirmation`: from now on the reservation does not expire. One that has expired is made
/// again, or its order is refused.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReservationConfirmation;

impl TransactionalBatchTask for ReservationConfirmation {
    const NAME: &'static str = "reservation_confirmation";
    type Input = ReservedOrder;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, ReservedOrder)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let ids = tasks.into_iter().map(|(_, input)| input.order_id).collect();
        answers(confirm(tx, ids).await)
    }
}

pub(crate) async fn confirm(
    tx: &Transaction<'_>,
    ids: Vec<String>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    let asked = ids.iter().map(|order_id| Asked {
        order_id: order_id.clone(),
        when_short: WhenShort::Refuse,
        hold_seconds: None,
    });
    let told = all(tx, asked.collect()).await?;
    bring_to(tx, &ids, "CONFIRMED").await?;
    let confirmed = |output: Output| Output { status: "CONFIRMED".to_owned(), ..output };
    Ok(told.into_iter().map(|answer| answer.map(confirmed)).collect())
}

/// `stock_dispatch`: the pieces leave the house.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StockDispatch;

impl TransactionalBatchTask for StockDispatch {
    const NAME: &'static str = "stock_dispatch";
    type Input = ReservedOrder;
    type Output = Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, ReservedOrder)>,
    ) -> Result<Vec<Result<Output, TaskError>>, TaskError> {
        let ids = tasks.into_iter().map(|(_, input)| input.order_id).collect();
        answers(ship(tx, ids).await)
    }
}

pub(crate) async fn ship(
    tx: &Transaction<'_>,
    ids: Vec<String>,
) -> Result<Vec<Result<Output, Error>>, Error> {
    lock_orders(tx, &ids).await?;
    let of: Vec<&str> = ids.iter().map(|id| &**id).collect();
    lock_shelves(tx, &[], &of).await?;
    let moved = bring_to(tx, &ids, "SHIPPED").await?;
    let shipped = |order_id: String| match moved.get(&order_id) {
        None => Err(Error::OrderNotFound { order_id }),
        Some(Moved { after: Some(status), pieces, .. }) if status == "SHIPPED" => {
            Ok(Output { status: status.clone(), pieces: *pieces, short: Vec::new() })
        }
        Some(Moved { after: None | Some(_), before, .. }) => {
            let status = before.clone().unwrap_or_else(|| "without a reservation".to_owned());
            if ["RELEASED", "EXPIRED"].contains(&status.as_str()) {
                return Err(Error::ReservationEnded { order_id });
            }
            Err(Error::OutOfTurn { order_id, status, task: StockDispatch::NAME })
        }
    };
    Ok(ids.into_iter().map(shipped).collect())
}

/// `reservation_release`: an order gets no pieces any more; those that it had go back to the shelf, and
/// to whoever waits for them.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReservationRelease;

/// What [`ReservationRelease`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseOutput {
    /// Whether none of its pieces is set aside any more; not when they left the house before.
    pub released: bool,
    /// Orders that waited, and were served by this attempt.
    pub served: usize,
}

impl TransactionalTask for ReservationRelease {
    const NAME: &'static str = "reservation_release";
    type Input = UndoneOrder;
    type Output = ReleaseOutput;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: UndoneOrder,
    ) -> Result<ReleaseOutput, TaskError> {
        release(tx, &input).await.map_err(Error::into_task_error)
    }
}

async fn release(tx: &Transaction<'_>, input: &UndoneOrder) -> Result<ReleaseOutput, Error> {
    let nothing = ReleaseOutput { released: true, served: 0 };
    let Some(order_id) = &input.order_id else { return Ok(nothing) };
    let owner = [(order_id as _, Type::TEXT)];
    if input.is_foreign(ORDER_OWNER.run_in(tx, &owner)).await? {
        return Ok(nothing);
    }
    // An order that was never written has nothing.
    let Some((moved, woken)) = end(tx, order_id, "RELEASED").await? else { return Ok(nothing) };
    let released = moved.after.as_deref() == Some("RELEASED");
    Ok(ReleaseOutput { released, served: woken.len() })
}

/// `reservation_expiry`: a reservation that is not confirmed in time goes back to the shelf. It is called
/// again when that time comes: a durable timer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReservationExpiry;

/// What [`ReservationExpiry`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiryOutput {
    /// Whether the reservation has expired; not when it was confirmed or released before.
    pub expired: bool,
    /// Orders that waited, and were served by this attempt.
    pub served: usize,
}

impl TransactionalTask for ReservationExpiry {
    const NAME: &'static str = "reservation_expiry";
    type Input = ReservedOrder;
    type Output = ExpiryOutput;

    async fn run(
        &self,
        _cx: &TaskContext,
        tx: &Transaction<'_>,
        input: ReservedOrder,
    ) -> Result<ExpiryOutput, TaskError> {
        let ended = end(tx, &input.order_id, "EXPIRED").await.map_err(Error::into_task_error)?;
        let Some((moved, woken)) = ended else {
            return Ok(ExpiryOutput { expired: false, served: 0 });
        };
        match (moved.after.as_deref(), moved.due_in) {
            (Some("RESERVED"), Some(due_in)) => {
                // Rounded up, so that it is due then.
                let left = Duration::try_from_secs_f64(due_in.max(0.0)).unwrap_or(Duration::MAX);
                Err(TaskError::in_progress(Duration::from_secs(left.as_secs().saturating_add(1))))
            }
            (Some("BACKORDERED"), _) => Err(TaskError::in_progress(WAITING_LOOK)),
            (after, _) => {
                Ok(ExpiryOutput { expired: after == Some("EXPIRED"), served: woken.len() })
            }
        }
    }
}
