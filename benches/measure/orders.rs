//! Orders: their input, what is on the shelves for them, and the check of what became of them.

use chrono::NaiveDate;
use oms_engine::tokio_postgres::Client;
use oms_tasks::{Restock, restock};
use serde_json::{Value, json};

use super::Failure;

/// Orders of one article wait for each other at its shelf.
const ARTICLES: usize = 100;
const PIECES: i64 = 2;

/// When all is delivered.
pub(crate) const DAY: NaiveDate = match NaiveDate::from_ymd_opt(2030, 1, 2) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

pub(crate) fn order_id(n: usize) -> String {
    format!("order-{n}")
}

fn sku(n: usize) -> String {
    format!("lamp-{}", n % ARTICLES)
}

/// The input of `order_fulfilment`.
pub(crate) fn order(n: usize) -> Value {
    json!({
        "order_id": order_id(n),
        "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "lines": [{"sku": sku(n), "quantity": PIECES}],
        "payment": {"method": "card", "token": "tok_visa"},
        "ship_to": {"street": "St James's Square 12", "city": "London",
            "postal_code": "SW1Y 4JH", "country": "GB"},
        "currency": "EUR",
    })
}

/// Makes the order tables, with enough on the shelves.
pub(crate) async fn open_shop(client: &mut Client, orders: usize) -> Result<(), Failure> {
    oms_tasks::migrate(client).await?;
    let pieces = i64::try_from(orders)? * PIECES;
    for n in 0..ARTICLES {
        let (sku, name) = (sku(n), format!("Lamp {n}"));
        let goods = Restock {
            sku: &sku,
            name: &name,
            pieces,
            price_minor: 2_499,
            currency: "EUR",
            warehouse: None,
        };
        restock(client, &goods).await?;
    }
    Ok(())
}

/// That so many orders are COMPLETED, paid, booked and to be delivered, with five notifications and
/// five rows of history each, and that as many pieces are booked.
pub(crate) async fn check(client: &Client, orders: usize) -> Result<(), Failure> {
    let sql = "
        /* harness */
        SELECT count(*) FILTER (WHERE o.status = 'COMPLETED' AND o.total_minor = 4998
                AND p.status = 'CAPTURED' AND p.charge_id = 'ch_' || o.order_id
                AND d.status = 'SCHEDULED' AND d.tracking_number = 'tr_' || o.order_id
                AND w.status = 2
                AND (SELECT count(*) FROM notifications n WHERE n.order_id = o.order_id) = 5
                AND (SELECT count(DISTINCT h.xmin::text) FROM oms_engine.task_history h
                     WHERE h.workflow_id = w.id AND h.status = 0) = 5),
            (SELECT sum(booked)::bigint FROM warehouse_stock),
            (SELECT count(*) FROM oms_engine.open_tasks)
        FROM orders o
        JOIN payments p USING (order_id)
        JOIN delivery_schedule d USING (order_id)
        JOIN oms_engine.workflows w ON w.id = o.workflow_id";
    let row = client.query_one(sql, &[]).await?;
    let (right, booked, open): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let wanted = i64::try_from(orders)?;
    if (right, booked, open) == (wanted, wanted * PIECES, 0) {
        return Ok(());
    }
    Err(format!(
        "of {orders} orders {right} are as they should be; {booked} pieces are booked, {open} \
         tasks are open"
    )
    .into())
}
