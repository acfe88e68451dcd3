//! `delivery_scheduling`: has the carrier deliver the order, once.
//!
//! Works as [`payment_processing`](crate::payment_processing) does: key first, carrier next, then
//! one statement with what came of it.

use std::sync::Arc;

use chrono::NaiveDate;
use deadpool_postgres::Pool;
use oms_engine::{Task, TaskContext, TaskError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::order::DeliveryWindow;
use crate::ports::{BookingAnswer, BookingRequest, Carrier};
use crate::sql::{CONFIRM_DELIVERY, INTEND_DELIVERY, REFUSE_DELIVERY, get};
use crate::stage::{Stage, refuse_closed, refuse_early};

/// The fourth of the five tasks.
#[derive(Clone, Debug)]
pub struct DeliveryScheduling {
    pub(crate) pool: Pool,
    pub(crate) carrier: Arc<dyn Carrier>,
}

/// What [`DeliveryScheduling`] is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// The order.
    pub order_id: String,
}

/// What [`DeliveryScheduling`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The carrier's.
    pub tracking_number: String,
    /// The day of delivery.
    pub delivery_date: NaiveDate,
}

impl Task for DeliveryScheduling {
    const NAME: &'static str = "delivery_scheduling";
    type Input = Input;
    type Output = Output;

    async fn run(&self, cx: &TaskContext, input: Input) -> Result<Output, TaskError> {
        self.schedule(cx.idempotency_key(), input.order_id).await.map_err(Error::into_task_error)
    }
}

impl DeliveryScheduling {
    async fn schedule(&self, key: &str, order_id: String) -> Result<Output, Error> {
        let intended = self.intend(key, &order_id).await?;
        match get(&intended, "status")? {
            "PENDING" => {}
            "SCHEDULED" => {
                return Ok(Output {
                    tracking_number: get(&intended, "tracking_number")?,
                    delivery_date: get(&intended, "delivery_date")?,
                });
            }
            "REFUSED" => {
                let code = get(&intended, "refusal_code")?;
                return Err(Error::DeliveryRefused { order_id, code });
            }
            other => return Err(Error::invariant(&order_id, format!("open, but {other}"))),
        }
        let ship_to: Value = get(&intended, "ship_to")?;
        let ship_to = serde_json::from_value(ship_to)
            .map_err(|source| Error::Json { place: format!("ship_to of {order_id}"), source })?;
        let request = BookingRequest {
            key: get(&intended, "idempotency_key")?,
            order_id,
            recipient: get(&intended, "customer_name")?,
            ship_to,
            pieces: get(&intended, "pieces")?,
            window: window(&intended)?,
        };
        let answer = self.carrier.book(&request).await;
        match answer.map_err(|source| Error::Port { port: "carrier", source })? {
            BookingAnswer::Booked { tracking_number, delivery_date } => {
                if let Some(DeliveryWindow { from, to }) = request.window
                    && !(from..=to).contains(&delivery_date)
                {
                    // The row stays open, so that whoever undoes the order calls this booking off.
                    let order_id = request.order_id;
                    return Err(Error::DeliveryOutsideWindow { order_id, delivery_date, from, to });
                }
                self.confirm(request.order_id, Output { tracking_number, delivery_date }).await
            }
            BookingAnswer::Refused { code } => {
                let order_id = request.order_id;
                REFUSE_DELIVERY
                    .run(&self.pool, &[(&order_id, Type::TEXT), (&code, Type::TEXT)])
                    .await?;
                Err(Error::DeliveryRefused { order_id, code })
            }
        }
    }

    async fn intend(&self, key: &str, order_id: &str) -> Result<Row, Error> {
        let params = [(&order_id as _, Type::TEXT), (&key as _, Type::TEXT)];
        let row = INTEND_DELIVERY.run(&self.pool, &params).await?.into_iter().next();
        let row = row.ok_or_else(|| Error::OrderNotFound { order_id: order_id.to_owned() })?;
        refuse_closed(order_id, get(&row, "order_status")?)?;
        let past = ["BOOKED", "SCHEDULED", "COMPLETED"];
        refuse_early(order_id, get(&row, "order_status")?, Self::NAME, &past)?;
        Ok(row)
    }

    async fn confirm(&self, order_id: String, booked: Output) -> Result<Output, Error> {
        let rows = CONFIRM_DELIVERY
            .run(
                &self.pool,
                &[
                    (&order_id, Type::TEXT),
                    (&booked.tracking_number, Type::TEXT),
                    (&booked.delivery_date, Type::DATE),
                    (&Stage::Scheduled.body(&order_id), Type::TEXT),
                ],
            )
            .await?;
        let Some(row) = rows.first() else { return Err(Error::OrderNotFound { order_id }) };
        let status: &str = get(row, "order_status")?;
        refuse_closed(&order_id, status.to_owned())?;
        if status == "BOOKED" && !get::<bool>(row, "written")? {
            return Err(Error::invariant(&order_id, "booked, but its delivery is not pending"));
        }
        // Not written by this call: another attempt under the same key has written the same.
        Ok(booked)
    }
}

/// The order's, of a row of `intend_delivery`.
fn window(row: &Row) -> Result<Option<DeliveryWindow>, Error> {
    let days: (Option<NaiveDate>, Option<NaiveDate>) =
        (get(row, "deliver_from")?, get(row, "deliver_to")?);
    Ok(days.0.zip(days.1).map(|(from, to)| DeliveryWindow { from, to }))
}
