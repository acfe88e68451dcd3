//! `delivery_scheduling`: has the carrier deliver the order, once: a delivery for each warehouse that has
//! pieces of it.
//!
//! Works as [`payment_processing`](crate::payment_processing) does: keys first, carrier next, then one
//! statement with what came of it. Only when the carrier has promised all deliveries are they written, with
//! the order's next status; one that it refuses has all of them called off by whoever undoes the order.

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
use crate::sql::{CONFIRM_DELIVERIES, INTEND_DELIVERIES, REFUSE_DELIVERY, get};
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
    /// The carrier's; of several deliveries, that of the first.
    pub tracking_number: String,
    /// The day on which all of the order is delivered.
    pub delivery_date: NaiveDate,
    /// By warehouse.
    #[serde(default)]
    pub deliveries: Vec<Promised>,
}

/// A delivery that the carrier has promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// From where.
    pub warehouse: String,
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
        let mut promised = Vec::with_capacity(intended.len());
        let mut all_are_known = true;
        for row in &intended {
            let known = known(&order_id, row)?;
            all_are_known &= known.is_some();
            promised.push(match known {
                Some(known) => known,
                None => self.book(&order_id, row).await?,
            });
        }
        if !all_are_known {
            self.confirm(&order_id, &promised).await?;
        }
        let last = promised.iter().map(|one| one.delivery_date).max();
        let (Some(first), Some(delivery_date)) = (promised.first(), last) else {
            return Err(Error::invariant(&order_id, "booked, but no warehouse has pieces of it"));
        };
        let tracking_number = first.tracking_number.clone();
        Ok(Output { tracking_number, delivery_date, deliveries: promised })
    }

    async fn intend(&self, key: &str, order_id: &str) -> Result<Vec<Row>, Error> {
        let params = [(&order_id as _, Type::TEXT), (&key as _, Type::TEXT)];
        let mut rows = INTEND_DELIVERIES.run(&self.pool, &params).await?;
        let Some(row) = rows.first() else {
            return Err(Error::OrderNotFound { order_id: order_id.to_owned() });
        };
        refuse_closed(order_id, get(row, "order_status")?)?;
        let past = ["BOOKED", "SCHEDULED", "COMPLETED"];
        refuse_early(order_id, get(row, "order_status")?, Self::NAME, &past)?;
        if get::<Option<&str>>(row, "status")?.is_none() {
            rows.clear();
        }
        Ok(rows)
    }

    /// Has the carrier fetch what one warehouse has of the order.
    async fn book(&self, order_id: &str, row: &Row) -> Result<Promised, Error> {
        let ship_to: Value = get(row, "ship_to")?;
        let ship_to = serde_json::from_value(ship_to)
            .map_err(|source| Error::Json { place: format!("ship_to of {order_id}"), source })?;
        let request = BookingRequest {
            key: get(row, "idempotency_key")?,
            order_id: order_id.to_owned(),
            warehouse: get(row, "warehouse")?,
            recipient: get(row, "customer_name")?,
            ship_to,
            pieces: get(row, "pieces")?,
            window: window(row)?,
        };
        let answer = self.carrier.book(&request).await;
        let BookingRequest { order_id, warehouse, window, .. } = request;
        match answer.map_err(|source| Error::Port { port: "carrier", source })? {
            BookingAnswer::Booked { tracking_number, delivery_date } => {
                if let Some(DeliveryWindow { from, to }) = window
                    && !(from..=to).contains(&delivery_date)
                {
                    // The rows stay open, so that whoever undoes the order calls the bookings off.
                    return Err(Error::DeliveryOutsideWindow { order_id, delivery_date, from, to });
                }
                Ok(Promised { warehouse, tracking_number, delivery_date })
            }
            BookingAnswer::Refused { code } => {
                let params = [
                    (&order_id as _, Type::TEXT),
                    (&warehouse as _, Type::TEXT),
                    (&code as _, Type::TEXT),
                ];
                REFUSE_DELIVERY.run(&self.pool, &params).await?;
                Err(Error::DeliveryRefused { order_id, code })
            }
        }
    }

    async fn confirm(&self, order_id: &str, promised: &[Promised]) -> Result<(), Error> {
        let warehouses: Vec<&str> = promised.iter().map(|one| &*one.warehouse).collect();
        let numbers: Vec<&str> = promised.iter().map(|one| &*one.tracking_number).collect();
        let dates: Vec<NaiveDate> = promised.iter().map(|one| one.delivery_date).collect();
        let params = [
            (&order_id as _, Type::TEXT),
            (&warehouses as _, Type::TEXT_ARRAY),
            (&numbers as _, Type::TEXT_ARRAY),
            (&dates as _, Type::DATE_ARRAY),
            (&Stage::Scheduled.body(order_id) as _, Type::TEXT),
        ];
        let rows = CONFIRM_DELIVERIES.run(&self.pool, &params).await?;
        let Some(row) = rows.first() else {
            return Err(Error::OrderNotFound { order_id: order_id.to_owned() });
        };
        let status: &str = get(row, "order_status")?;
        refuse_closed(order_id, status.to_owned())?;
        if status == "BOOKED" && !get::<bool>(row, "written")? {
            return Err(Error::invariant(order_id, "booked, but its deliveries are not pending"));
        }
        // Not written by this call: another attempt under the same keys has written the same.
        Ok(())
    }
}

/// What is known of a delivery that the carrier was asked for before.
fn known(order_id: &str, row: &Row) -> Result<Option<Promised>, Error> {
    match get(row, "status")? {
        "PENDING" => Ok(None),
        "SCHEDULED" => Ok(Some(Promised {
            warehouse: get(row, "warehouse")?,
            tracking_number: get(row, "tracking_number")?,
            delivery_date: get(row, "delivery_date")?,
        })),
        "REFUSED" => {
            let (order_id, code) = (order_id.to_owned(), get(row, "refusal_code")?);
            Err(Error::DeliveryRefused { order_id, code })
        }
        other => Err(Error::invariant(order_id, format!("open, but {other}"))),
    }
}

/// The order's, of a row of `intend_deliveries`.
fn window(row: &Row) -> Result<Option<DeliveryWindow>, Error> {
    let days: (Option<NaiveDate>, Option<NaiveDate>) =
        (get(row, "deliver_from")?, get(row, "deliver_to")?);
    Ok(days.0.zip(days.1).map(|(from, to)| DeliveryWindow { from, to }))
}
