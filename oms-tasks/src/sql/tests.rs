use std::collections::BTreeSet;

use oms_engine::testkit::TestDatabase;

use tokio_postgres::SimpleQueryMessage;

use super::ALL;

/// Enough rows that reading all of them is never the best plan.
const FILL: &str = "
    INSERT INTO inventory (sku, name, price_minor, currency)
    SELECT 'sku' || i, 'article', 250, 'EUR' FROM generate_series(1, 3000) i;
    INSERT INTO warehouse_stock (sku, on_hand) SELECT sku, 1000 FROM inventory;
    INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to,
                        currency, total_minor, acknowledged_at)
    SELECT 'o' || i, gen_random_uuid(), 'PAID', 'Ada', 'ada@example.com', '{}', 'EUR', 500, now()
    FROM generate_series(1, 3000) i;
    INSERT INTO order_items (order_id, line_no, sku, quantity, unit_price_minor)
    SELECT order_id, 1, 'sku1', 2, 250 FROM orders;
    INSERT INTO payments (order_id, idempotency_key, method, amount_minor, currency)
    SELECT order_id, order_id, 'card', 500, 'EUR' FROM orders;
    INSERT INTO payment_intents (order_id, idempotency_key, method, amount_minor, currency)
    SELECT order_id, order_id, 'card', 500, 'EUR' FROM orders;
    INSERT INTO payment_refunds (idempotency_key, order_id, amount_minor)
    SELECT order_id, order_id, 1 FROM orders;
    INSERT INTO stock_reservations (order_id, status, reserved_at)
    SELECT order_id, 'RESERVED', now() FROM orders;
    INSERT INTO reservation_lines (order_id, sku, quantity) SELECT order_id, 'sku1', 2 FROM orders;
    INSERT INTO reservation_pieces (order_id, sku, warehouse, quantity)
    SELECT order_id, 'sku1', 'main', 2 FROM orders;
    INSERT INTO order_returns (order_id, return_id, pieces, refund_minor)
    SELECT order_id, 'r', '{}', 1 FROM orders;
    INSERT INTO stock_bookings (order_id, sku, quantity) SELECT order_id, 'sku1', 2 FROM orders;
    INSERT INTO delivery_schedule (order_id, idempotency_key, tracking_number)
    SELECT order_id, order_id, order_id FROM orders;
    INSERT INTO delivery_updates (order_id, warehouse, status, happened_at)
    SELECT order_id, 'main', 'BOOKED', now() FROM orders;
    INSERT INTO notifications (order_id, stage, recipient, body, status, sent_at)
    SELECT order_id, 'PAID', 'ada@example.com', '', 'SENT', now() FROM orders;
    ANALYZE;
    SET plan_cache_mode = force_generic_plan";

#[tokio::test]
async fn every_statement_prepares_on_the_migrated_tables() {
    let database = TestDatabase::empty().await.unwrap();
    let mut client = database.connect().await.unwrap();
    crate::migrate(&mut client).await.unwrap();
    for statement in ALL {
        if let Err(error) = client.prepare(statement.text).await {
            panic!("{}: {error:?}", statement.name);
        }
    }
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let database = TestDatabase::empty().await.unwrap();
    let mut client = database.connect().await.unwrap();
    crate::migrate(&mut client).await.unwrap();
    client.batch_execute(FILL).await.unwrap();
    for statement in ALL {
        let params = client.prepare(statement.text).await.unwrap().params().len();
        let nulls = vec!["NULL"; params].join(", ");
        let explain = format!(
            "PREPARE explained AS {}; EXPLAIN EXECUTE explained({nulls}); DEALLOCATE explained",
            statement.text
        );
        let plan: Vec<String> = client
            .simple_query(&explain)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect();
        assert!(!plan.is_empty());
        let scans = plan.iter().any(|line| line.contains("Seq Scan on"));
        assert!(!scans, "{}:\n{}", statement.name, plan.join("\n"));
    }
}

#[test]
fn every_file_is_loaded_and_tells_its_contract() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str().unwrap().strip_suffix(".sql").map(str::to_owned)
        })
        .collect();
    let loaded: BTreeSet<String> = ALL.iter().map(|s| s.name.to_owned()).collect();
    assert_eq!(files, loaded);
    for statement in ALL {
        assert!(statement.text.starts_with(&format!("-- {}: ", statement.name)));
        assert!(statement.text.contains("Out:"), "{} does not say its result", statement.name);
    }
}
