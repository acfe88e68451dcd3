//! What must hold when the storm is over and all has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oms_tasks::ports::Message;
use oms_tasks::sandbox::Ledger;
use tokio_postgres::Client;

use crate::common::assert_all_ended;
use crate::orders::{ARTICLES, End, Placed, SCARCE_PIECES};

/// Each run ended as its order did, once; each failed one was undone.
pub(crate) async fn engine(client: &Client) {
    assert_all_ended(client).await;
    let sql = "SELECT concat_ws(' ', o.order_id, o.status, o.failure_reason, w.status, w.reason, u.status, u.reason) FROM orders o
        LEFT JOIN oms_engine.workflows w ON w.id = o.workflow_id
        LEFT JOIN oms_engine.workflows u ON u.id = w.failure_workflow_id
        WHERE (o.status, w.status, u.status) IS DISTINCT FROM ('COMPLETED', 2::smallint, NULL)
          AND (o.status, w.status, u.status) IS DISTINCT FROM ('FAILED', 3::smallint, 2::smallint)";
    let rows = client.query(sql, &[]).await.unwrap();
    let odd: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(odd.is_empty(), "their run did not end as they did: {odd:?}");
    let sql = "SELECT (SELECT count(*) FROM oms_engine.workflows),
                      (SELECT count(*) + count(*) FILTER (WHERE status = 'FAILED') FROM orders)";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (runs, expected): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(runs, expected, "one run per order, and one more to undo a failed one");
}

/// Each order ended as it had to.
pub(crate) async fn orders(client: &Client, placed: &[Placed]) {
    let sql = "SELECT order_id, status, failure_reason FROM orders";
    let rows = client.query(sql, &[]).await.unwrap();
    let mut ends: BTreeMap<String, (String, Option<String>)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let mut scarce = 0;
    for Placed { id, end, .. } in placed {
        let (status, reason) = ends.remove(id).unwrap_or_default();
        let reason = reason.unwrap_or_default();
        let failed = |why: &str| status == "FAILED" && reason.contains(why);
        let completed = status == "COMPLETED";
        let as_it_had_to = match end {
            End::Completed => completed,
            End::Failed(why) => failed(why),
            End::Either => completed || failed("out of stock"),
        };
        assert!(as_it_had_to, "{id} had to end {end:?}, and is {status:?}: {reason:?}");
        scarce += i64::from(*end == End::Either && completed);
    }
    assert!(ends.is_empty(), "orders that nobody placed: {ends:?}");
    assert_eq!(scarce, SCARCE_PIECES, "all of the scarce article is sold, and no more");
}

/// The pieces on hand are as they were; those booked are the completed orders'.
pub(crate) async fn stock(client: &Client) {
    let sql = "SELECT i.sku, i.on_hand, i.booked,
            (SELECT coalesce(sum(b.quantity), 0)::bigint FROM stock_bookings b
             WHERE b.sku = i.sku AND b.status = 'BOOKED'),
            (SELECT coalesce(sum(l.quantity), 0)::bigint FROM order_items l
             JOIN orders o ON o.order_id = l.order_id
             WHERE l.sku = i.sku AND o.status = 'COMPLETED')
        FROM warehouse_stock i";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), ARTICLES.len());
    for row in rows {
        let (sku, on_hand): (&str, i64) = (row.get(0), row.get(1));
        let (booked, bookings, sold): (i64, i64, i64) = (row.get(2), row.get(3), row.get(4));
        let pieces = ARTICLES.iter().find(|article| article.0 == sku).unwrap().1;
        assert_eq!(on_hand, pieces, "{sku}");
        assert_eq!((booked, bookings), (sold, sold), "{sku}");
    }
}

/// Some orders went together through a step that does many at once.
pub(crate) async fn batches(client: &Client) {
    let sql = "SELECT count(*), count(DISTINCT xmin::text) FROM order_items";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (orders, transactions): (i64, i64) = (row.get(0), row.get(1));
    println!("{orders} orders acknowledged in {transactions} transactions");
    assert!(transactions < orders, "each went alone");
}

/// The tables say of each order what the gateway and the carrier say; nobody was charged twice.
pub(crate) async fn money_and_deliveries(client: &Client, ledger: &Ledger) {
    let sql = "SELECT o.order_id, o.status, coalesce(o.total_minor, 0), coalesce(p.status, ''),
            coalesce(p.amount_minor, 0), coalesce(p.refunded_minor, 0), coalesce(d.status, '')
        FROM orders o
        LEFT JOIN payments p ON p.order_id = o.order_id
        LEFT JOIN delivery_schedule d ON d.order_id = o.order_id";
    let mut witness = ledger.by_order();
    let (mut charged, mut calls) = (0, 0);
    for row in client.query(sql, &[]).await.unwrap() {
        let (id, status, total): (&str, &str, i64) = (row.get(0), row.get(1), row.get(2));
        let (payment, amount, refunded): (&str, i64, i64) = (row.get(3), row.get(4), row.get(5));
        let scheduled = row.get::<_, &str>(6) == "SCHEDULED";
        let told = witness.remove(id).unwrap_or_default();
        assert!(told.charges <= 1 && told.refunds <= 1, "{id}: {told:?}");
        assert!(told.bookings <= 1 && told.cancellations <= 1, "{id}: {told:?}");
        let captured = if ["CAPTURED", "REFUNDED"].contains(&payment) { amount } else { 0 };
        assert_eq!((told.charged_minor, told.refunded_minor), (captured, refunded), "{id}");
        let kept = if status == "COMPLETED" { total } else { 0 };
        assert_eq!(captured - refunded, kept, "{id}: {payment}");
        assert_eq!(told.bookings - told.cancellations, u32::from(scheduled), "{id}");
        assert_eq!(scheduled, status == "COMPLETED", "{id}");
        charged += told.charges;
        calls += told.charge_calls;
    }
    assert!(witness.is_empty(), "the ledger has orders that the tables do not: {witness:?}");
    println!("{charged} orders charged once each, in {calls} calls");
}

/// Each stage of each order has one notification, and each of these was sent; what was sent again
/// had the same id and text.
pub(crate) async fn notifications(client: &Client, messages: &Path) {
    let sql = "SELECT o.order_id, o.status, array_agg(n.stage ORDER BY n.notification_id),
            bool_and(n.status = 'SENT')
        FROM orders o LEFT JOIN notifications n ON n.order_id = o.order_id
        GROUP BY o.order_id";
    let mut written = BTreeSet::new();
    let all = ["ACKNOWLEDGED", "PAID", "BOOKED", "SCHEDULED", "COMPLETED"];
    for row in client.query(sql, &[]).await.unwrap() {
        let (id, status): (&str, &str) = (row.get(0), row.get(1));
        let (mut stages, sent): (Vec<&str>, bool) = (row.get(2), row.get(3));
        assert!(sent, "{id}: {stages:?} are not all sent");
        written.extend(stages.iter().map(|stage| format!("{id}:{stage}")));
        if status == "FAILED" {
            assert_eq!(stages.pop(), Some("FAILED"), "{id}");
            assert!(stages.len() < all.len(), "{id}: {stages:?}");
        } else {
            assert_eq!(stages.len(), all.len(), "{id}: {stages:?}");
        }
        assert!(all.starts_with(&stages), "{id}: {stages:?}");
    }
    let lines = std::fs::read_to_string(messages).unwrap();
    let mut sent: BTreeMap<String, Message> = BTreeMap::new();
    let mut again = 0;
    for line in lines.lines() {
        let message: Message = serde_json::from_str(line).unwrap();
        if let Some(first) = sent.insert(message.message_id.clone(), message.clone()) {
            assert_eq!(first, message, "another message under the same id");
            again += 1;
        }
    }
    assert!(sent.keys().eq(written.iter()), "what was sent is not what was written");
    println!("{} messages sent, {again} of them again after a fault", sent.len());
}
