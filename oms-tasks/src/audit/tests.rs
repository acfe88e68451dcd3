use oms_engine::testkit::TestDatabase;

use super::*;

const ORDERS: &str = "
    INSERT INTO inventory (sku, name, price_minor, currency) VALUES ('tea', 'tea', 250, 'EUR');
    INSERT INTO warehouse_stock VALUES ('tea', 'main', 5, 0, 1), ('tea', 'north', 3, 0, 1);
    INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to, currency,
                        total_minor, acknowledged_at, completed_at, failed_at, failure_reason)
    SELECT v.id, gen_random_uuid(), v.status, 'Ada', 'ada@example.com', '{}', 'EUR', 500, now(),
           CASE v.status WHEN 'COMPLETED' THEN now() END, CASE v.status WHEN 'FAILED' THEN now() END,
           CASE v.status WHEN 'FAILED' THEN 'why' END
    FROM (VALUES ('good', 'COMPLETED'), ('bad', 'FAILED')) v (id, status);
    INSERT INTO order_items VALUES ('good', 1, 'tea', 2, 250), ('bad', 1, 'tea', 2, 250);
    INSERT INTO payment_intents (order_id, idempotency_key, status, method, amount_minor, currency,
                                 payment_id, captured_minor, authorised_at, captured_at)
    VALUES ('good', 'k', 'CAPTURED', 'card', 500, 'EUR', 'p', 500, now(), now());
    INSERT INTO stock_reservations (order_id, status, reserved_at, ended_at)
    VALUES ('good', 'SHIPPED', now(), now()), ('bad', 'RELEASED', NULL, now());
    INSERT INTO reservation_lines VALUES ('good', 'tea', 2);
    INSERT INTO reservation_pieces VALUES ('good', 'tea', 'main', 1), ('good', 'tea', 'north', 1);
    INSERT INTO delivery_schedule (order_id, warehouse, idempotency_key, status, tracking_number,
                                   delivery_date, scheduled_at)
    SELECT 'good', w, w, 'SCHEDULED', w, now(), now() FROM unnest(ARRAY['main', 'north']) w;
    INSERT INTO notifications (order_id, stage, recipient, body, status, sent_at)
    SELECT 'good', unnest(ARRAY['ACKNOWLEDGED', 'PAID', 'BOOKED', 'SCHEDULED', 'COMPLETED']), 'a', '',
           'SENT', now();
    INSERT INTO notifications (order_id, stage, recipient, body, status, sent_at)
    VALUES ('bad', 'FAILED', 'a', '', 'SENT', now());";

/// Books in balance, with a gateway and a carrier that agree.
async fn balanced() -> (TestDatabase, Client, Audit) {
    let database = TestDatabase::migrated().await.unwrap();
    let mut client = database.connect().await.unwrap();
    crate::migrate(&mut client).await.unwrap();
    client.batch_execute(ORDERS).await.unwrap();
    let good = OrderTotals {
        authorisations: 1,
        authorised_minor: 500,
        captures: 1,
        captured_minor: 500,
        bookings: 2,
        ..OrderTotals::default()
    };
    let audit = Audit {
        witness: Some(BTreeMap::from([("good".to_owned(), good)])),
        came_in: BTreeMap::from([("tea".to_owned(), 10)]),
        ..Audit::default()
    };
    assert_eq!(audit.run(&client).await.unwrap(), []);
    (database, client, audit)
}

async fn rules(client: &Client, audit: &Audit) -> Vec<String> {
    audit.run(client).await.unwrap().into_iter().map(|finding| finding.rule).collect()
}

/// What somebody changes by hand, and the rule that is broken by it.
const COOKED: &[(&str, &str)] = &[
    ("UPDATE warehouse_stock SET on_hand = 4 WHERE warehouse = 'main'", "pieces are lost or found"),
    ("UPDATE warehouse_stock SET booked = 1", "booked pieces are nobody's"),
    (
        "UPDATE warehouse_stock SET shipped = 2, on_hand = 4 WHERE warehouse = 'main'",
        "shipped pieces are nobody's",
    ),
    (
        "UPDATE warehouse_stock SET shipped = CASE warehouse WHEN 'main' THEN 2 ELSE 0 END",
        "shipped pieces are nobody's",
    ),
    (
        "DELETE FROM reservation_pieces WHERE warehouse = 'north'",
        "the pieces of a reservation are not those",
    ),
    (
        "INSERT INTO reservation_lines VALUES ('bad', 'tea', 1);
         INSERT INTO reservation_pieces VALUES ('bad', 'tea', 'north', 1)",
        "the pieces of a reservation are not those",
    ),
    (
        "UPDATE delivery_schedule SET warehouse = 'south' WHERE warehouse = 'north'",
        "a delivery without pieces, or pieces without a delivery",
    ),
    (
        "UPDATE delivery_schedule SET status = 'CANCELLED', cancelled_at = now()
         WHERE warehouse = 'north'",
        "tables and carrier differ",
    ),
    (
        "UPDATE orders SET total_minor = 400 WHERE order_id = 'good'",
        "a completed order is not paid",
    ),
    (
        "UPDATE order_items SET quantity = 3 WHERE order_id = 'good'",
        "a completed order has not got",
    ),
    ("DELETE FROM notifications WHERE stage = 'PAID'", "the customer was not told"),
    (
        "INSERT INTO payment_refunds (idempotency_key, order_id, amount_minor, status, refund_id,
                                      ended_at)
         VALUES ('r', 'good', 1, 'REFUNDED', 'r', now())",
        "the customer was not told of each refund",
    ),
    ("UPDATE notifications SET status = 'PENDING', sent_at = NULL", "the customer was not told"),
    (
        "INSERT INTO payments (order_id, idempotency_key, method, amount_minor, currency)
         VALUES ('bad', 'x', 'card', 500, 'EUR')",
        "money is kept for an order that ended without",
    ),
    (
        "INSERT INTO delivery_schedule (order_id, idempotency_key) VALUES ('bad', 'x')",
        "a delivery stands for an order that ended without",
    ),
    (
        "UPDATE stock_reservations SET status = 'BACKORDERED', ended_at = NULL
         WHERE order_id = 'bad'",
        "pieces are held for an order that ended without",
    ),
    (
        "UPDATE orders SET status = 'UNWINDING', failed_at = NULL WHERE order_id = 'bad'",
        "nobody works on an order",
    ),
];

#[tokio::test]
async fn cooked_books_are_found_out_rule_by_rule() {
    let (_database, mut client, audit) = balanced().await;
    for (cooked, wanted) in COOKED {
        let tx = client.transaction().await.unwrap();
        tx.batch_execute(cooked).await.unwrap();
        let found = rules(tx.client(), &audit).await;
        tx.rollback().await.unwrap();
        assert!(found.iter().any(|rule| rule.starts_with(wanted)), "{wanted}: {found:?}");
    }
    assert_eq!(rules(&client, &audit).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_witness_is_believed_more_than_the_tables() {
    let (_database, client, audit) = balanced().await;
    type Cook = fn(&mut OrderTotals);
    let cooks: [(Cook, &str); 6] = [
        (|told| told.charges = 1, "charged twice"),
        (|told| told.authorised_minor = 400, "captured more than was authorised"),
        (|told| told.part_refunded_minor = 501, "given back more than was taken"),
        (|told| told.part_refunded_minor = 1, "tables and gateway differ"),
        (|told| told.authorisations = 2, "money is set aside for an order that ended"),
        (|told| told.cancellations = 1, "tables and carrier differ"),
    ];
    for (cook, wanted) in cooks {
        let mut audit = audit.clone();
        cook(audit.witness.as_mut().unwrap().get_mut("good").unwrap());
        let found = rules(&client, &audit).await;
        assert!(found.contains(&wanted.to_owned()), "{wanted}: {found:?}");
    }
    let mut audit = audit;
    let unknown = OrderTotals { charges: 1, charged_minor: 1, ..OrderTotals::default() };
    audit.witness.as_mut().unwrap().insert("nobody's".to_owned(), unknown);
    assert_eq!(rules(&client, &audit).await, ["paid for an order that is not there"]);
}
