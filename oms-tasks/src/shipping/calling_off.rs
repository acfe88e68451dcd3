//! Has the carrier not fetch what it was asked for.

use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::ports::{CancelRequest, Carrier};
use crate::sql::{CANCEL_DELIVERY, get};

/// Calls the deliveries of an order off that stand, one after the other by warehouse, each under its own key:
/// `key` with its warehouse behind it. `rows` are those of `find_deliveries_to_cancel`. Whether one is called
/// off then, by this call or before.
pub(crate) async fn call_off(
    pool: &Pool,
    carrier: &dyn Carrier,
    key: &str,
    order_id: &str,
    rows: &[Row],
) -> Result<bool, Error> {
    let mut is_called_off = false;
    for row in rows {
        match get(row, "status")? {
            Some("PENDING" | "SCHEDULED") => {}
            Some("CANCELLED") => {
                is_called_off = true;
                continue;
            }
            _ => continue,
        }
        let warehouse: &str = get(row, "warehouse")?;
        let request = CancelRequest {
            key: format!("{key}/{warehouse}"),
            booking_key: get(row, "idempotency_key")?,
            order_id: order_id.to_owned(),
        };
        let answer = carrier.cancel(&request).await;
        answer.map_err(|source| Error::Port { port: "carrier", source })?;
        let params = [(&order_id as _, Type::TEXT), (&warehouse as _, Type::TEXT)];
        CANCEL_DELIVERY.run(pool, &params).await?;
        is_called_off = true;
    }
    Ok(is_called_off)
}
