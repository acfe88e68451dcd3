//! The tables.

use oms_engine::testkit::TestDatabase;
use oms_tasks::{Error, migrate};

use crate::world::database;

/// Files in `migrations/oms`.
const MIGRATIONS: i64 = 9;

#[tokio::test]
async fn two_programs_at_once_migrate_once() {
    let database = TestDatabase::empty().await.unwrap();
    let (mut one, mut two) = (database.connect().await.unwrap(), database.connect().await.unwrap());
    let (first, second) = tokio::join!(migrate(&mut one), migrate(&mut two));
    first.unwrap();
    second.unwrap();
    migrate(&mut one).await.unwrap();
    let sql = "SELECT count(*) FROM oms_tasks_migrations";
    assert_eq!(one.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), MIGRATIONS);
}

#[tokio::test]
async fn tables_that_are_newer_are_refused() {
    let database = database().await;
    let mut client = database.connect().await.unwrap();
    migrate(&mut client).await.unwrap();
    let newer = "INSERT INTO oms_tasks_migrations (version, name) VALUES (1000, 'later')";
    client.batch_execute(newer).await.unwrap();
    let refused = migrate(&mut client).await.unwrap_err();
    assert!(matches!(refused, Error::SchemaVersion { found: 1000, .. }), "{refused}");
    assert!(!refused.is_retryable());
}

#[tokio::test]
async fn the_tables_go_where_the_search_path_leads() {
    let database = TestDatabase::empty().await.unwrap();
    let mut client = database.connect().await.unwrap();
    client
        .batch_execute("CREATE SCHEMA shop_a; CREATE SCHEMA shop_b; SET search_path = shop_a")
        .await
        .unwrap();
    migrate(&mut client).await.unwrap();
    client.batch_execute("SET search_path = shop_b").await.unwrap();
    migrate(&mut client).await.unwrap();
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = $1";
    for schema in ["shop_a", "shop_b"] {
        let tables: i64 = client.query_one(sql, &[&schema]).await.unwrap().get(0);
        assert_eq!(tables, 16, "{schema}");
    }
}

#[tokio::test]
async fn the_constraints_hold_against_anybody() {
    let database = database().await;
    let client = database.connect().await.unwrap();
    client
        .batch_execute(
            "INSERT INTO inventory (sku, name, price_minor, currency)
             VALUES ('tea', 'tea', 250, 'EUR');
             INSERT INTO warehouse_stock (sku, on_hand) VALUES ('tea', 3);
             INSERT INTO orders VALUES ('o', gen_random_uuid(), 'ACKNOWLEDGED', 'Ada',
                 'ada@example.com', '{}', 'EUR', 500, now())",
        )
        .await
        .unwrap();
    for wrong in [
        "UPDATE warehouse_stock SET booked = 4",
        "UPDATE warehouse_stock SET booked = -1",
        "UPDATE warehouse_stock SET shipped = -1",
        "INSERT INTO warehouse_stock VALUES ('tee', 'main', 1)",
        "UPDATE inventory SET price_minor = 0",
        "UPDATE inventory SET currency = 'eur'",
        "UPDATE orders SET status = 'LOST'",
        "UPDATE orders SET status = 'FAILED'",
        "UPDATE orders SET status = 'COMPLETED'",
        "UPDATE orders SET total_minor = NULL",
        "INSERT INTO order_items VALUES ('o', 1, 'tea', 0, 250)",
        "INSERT INTO order_items VALUES ('p', 1, 'tea', 1, 250)",
        "INSERT INTO payments (order_id, idempotency_key, status, method, amount_minor, currency)
         VALUES ('o', 'k', 'CAPTURED', 'card', 500, 'EUR')",
        "INSERT INTO stock_bookings (order_id, sku, quantity) VALUES ('o', 'tee', 1)",
        "INSERT INTO delivery_schedule (order_id, idempotency_key, status)
         VALUES ('o', 'k', 'SCHEDULED')",
        "INSERT INTO notifications (order_id, stage, recipient, body)
         VALUES ('o', 'PAID', 'a@b', ''), ('o', 'PAID', 'a@b', '')",
    ] {
        let refused = client.batch_execute(wrong).await.unwrap_err();
        let code = refused.code().unwrap().code();
        assert!(code.starts_with("23"), "{wrong}: {refused}");
    }
}
