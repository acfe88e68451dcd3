//! What must hold when all orders have ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use oms_tasks::sandbox::Ledger;
use tokio_postgres::Client;

/// Waits until so many orders are FAILED: undoing them is a run of its own.
pub(crate) async fn undone(database: &Client, n: usize, patience: Duration) {
    let begun = Instant::now();
    let sql = "SELECT count(*) FROM orders WHERE status = 'FAILED'";
    while database.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) < i64::try_from(n).unwrap() {
        assert!(begun.elapsed() < patience, "declined orders are not undone");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The tables say of each order what its card lets it be, and the gateway and the carrier say the same:
/// charged and booked once, or never.
pub(crate) async fn charged_once(
    database: &Client,
    ledger: &Ledger,
    orders: &BTreeMap<String, (String, &str)>,
) {
    let sql = "SELECT o.status, o.total_minor, b.pieces, n.stages
        FROM orders o
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(quantity) FILTER (WHERE status = 'BOOKED'), 0)::bigint AS pieces
            FROM stock_bookings b WHERE b.order_id = o.order_id
        ) b
        CROSS JOIN LATERAL (
            SELECT count(*) AS stages FROM notifications n WHERE n.order_id = o.order_id
        ) n
        WHERE o.order_id = $1";
    let mut witness = ledger.by_order();
    let (mut calls, mut charges) = (0, 0);
    for (order, card) in orders.values() {
        let row = database.query_one(sql, &[order]).await.unwrap();
        let (status, total): (&str, i64) = (row.get(0), row.get(1));
        let (pieces, stages): (i64, i64) = (row.get(2), row.get(3));
        let told = witness.remove(order).unwrap_or_default();
        let (times, expected) =
            if *card == "declined" { (0, ("FAILED", 0, 2)) } else { (1, ("COMPLETED", 2, 5)) };
        assert_eq!((status, pieces, stages), expected, "{order}: {told:?}");
        assert_eq!((told.charges, told.bookings), (times, times), "{order}: {told:?}");
        assert_eq!(told.charged_minor, total * i64::from(times), "{order}: {told:?}");
        assert_eq!((told.refunds, told.cancellations), (0, 0), "{order}: {told:?}");
        calls += told.charge_calls;
        charges += told.charges;
    }
    assert!(witness.is_empty(), "the ledger has orders that nobody placed: {witness:?}");
    println!("{charges} orders charged once each, in {calls} calls");
    assert!(calls > charges, "no call was repeated");
}

/// Each transactional step has acted once.
pub(crate) async fn inbox(database: &Client, orders: usize) {
    let sql = "SELECT count(*) FILTER (WHERE task_name = 'order_acknowledgement'),
            count(*) FILTER (WHERE output IS NULL)
        FROM oms_conductor.inbox";
    let row = database.query_one(sql, &[]).await.unwrap();
    let (acknowledged, unsettled): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!((acknowledged, unsettled), (i64::try_from(orders).unwrap(), 0));
}
