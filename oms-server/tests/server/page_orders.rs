//! The page's orders, over HTTP.

use oms_engine::testkit::TestDatabase;
use serde_json::json;

use crate::browser::Browser;
use crate::running::Running;

/// An order that was authorised, reserved, delivered and given back in part, with a run of its own.
async fn fill(database: &TestDatabase, run: &str, hostile: &str) {
    let client = database.connect().await.unwrap();
    client.batch_execute(&oms_tasks::migration_sql()).await.unwrap();
    let hostile = hostile.replace('\'', "''");
    let sql = format!(
        "INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to,
             currency, total_minor, acknowledged_at, completed_at)
         VALUES ('a/b <i>1', '{run}', 'COMPLETED', '{hostile}', 'ann@example.com', '{{}}', 'EUR', 4998,
             now() - interval '1 minute', now());
         INSERT INTO order_items VALUES ('a/b <i>1', 1, '{hostile}', 2, 2499);
         INSERT INTO payment_intents (order_id, idempotency_key, status, method, amount_minor, currency,
             payment_id, captured_minor, promised_minor, refunded_minor, authorised_at, captured_at)
         VALUES ('a/b <i>1', 'k', 'CAPTURED', 'card', 4998, 'EUR', 'pi_1', 4998, 2499, 2499, now(), now());
         INSERT INTO payment_refunds (idempotency_key, order_id, amount_minor, status, refund_id, ended_at)
         VALUES ('r', 'a/b <i>1', 2499, 'REFUNDED', 're_1', now());
         INSERT INTO stock_reservations (order_id, status, reserved_at, ended_at)
         VALUES ('a/b <i>1', 'SHIPPED', now(), now());
         INSERT INTO inventory VALUES ('{hostile}', 'lamp', 2499, 'EUR');
         INSERT INTO warehouse_stock SELECT '{hostile}', w, 0, 0, 1 FROM unnest(ARRAY['main', 'north']) w;
         INSERT INTO reservation_lines VALUES ('a/b <i>1', '{hostile}', 2);
         INSERT INTO reservation_pieces SELECT 'a/b <i>1', '{hostile}', w, 1
         FROM unnest(ARRAY['main', 'north']) w;
         INSERT INTO delivery_schedule (order_id, warehouse, idempotency_key, status, tracking_number,
             delivery_date, scheduled_at, progress, progress_at)
         VALUES ('a/b <i>1', 'main', 'm', 'SCHEDULED', 'RR1', now(), now(), NULL, NULL),
             ('a/b <i>1', 'north', 'n', 'SCHEDULED', 'RR2', now(), now(), 'DELIVERED', now());
         INSERT INTO delivery_updates VALUES ('a/b <i>1', 'OUT_FOR_DELIVERY', now(), now(), 'north'),
             ('a/b <i>1', 'DELIVERED', now(), now(), 'north');
         INSERT INTO notifications (order_id, stage, recipient, body, status, sent_at)
         VALUES ('a/b <i>1', 'ACKNOWLEDGED', 'ann@example.com', '{hostile}', 'SENT', now());
         INSERT INTO orders (order_id, workflow_id, status, failure_reason)
         SELECT 'n' || lpad(n::text, 3, '0'), gen_random_uuid(), 'UNWINDING', 'no stock'
         FROM generate_series(1, 60) n;"
    );
    client.batch_execute(&sql).await.unwrap();
}

const ORDER: &str = "/orders/a%2Fb%20%3Ci%3E1";

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_there_once_their_tables_are() {
    let database = TestDatabase::migrated().await.unwrap();
    let server = Running::start(database.url(), &[]);
    let browser = Browser::new(&server.url);
    browser.get("/").expect(200).has_not("/orders");
    browser.get("/orders").expect(404).has("no order tables");
    let client = database.connect().await.unwrap();
    client.batch_execute(&oms_tasks::migration_sql()).await.unwrap();
    let begun = std::time::Instant::now();
    while !browser.get("/").expect(200).text.contains("href=\"/orders\"") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the tables are not seen");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    browser.get("/orders").expect(200).has("No order fits");
    browser.get("/orders/none").expect(404).has("there is no order none").has("href=\"/orders\"");
    drop(server);
    client.batch_execute("DELETE FROM oms_tasks_migrations WHERE version > 2").await.unwrap();
    let server = Running::start(database.url(), &[]);
    let browser = Browser::new(&server.url);
    browser.get("/").expect(200).has("href=\"/orders\"");
    browser.get("/orders").expect(503).has("the order tables are of version 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_with_all_that_was_done_for_it_and_its_runs() {
    let database = TestDatabase::migrated().await.unwrap();
    let server = Running::start(database.url(), &[]);
    let task = json!({"name": "work", "taskReferenceName": "work_0", "type": "SIMPLE"});
    let def = json!({"name": "order_line", "version": 1, "tasks": [task]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let start = json!({"name": "order_line", "correlationId": "a/b <i>1"});
    let run = server.post("/api/workflow", &start).expect(200).text;
    fill(&database, &run, "<script>alert(1)</script>'\"").await;
    let browser = Browser::new(&server.url);
    let page = browser.get(ORDER).expect(200);
    for said in [
        "completed</span>",
        "49.98 EUR",
        "24.99 EUR",
        "pi_1",
        "re_1",
        "payment captured</span>",
        "part refunded</span>",
        "shipped</span>",
        " · from north",
        "RR1",
        "RR2",
        "out for delivery</span>",
        "ann@example.com",
        "&#60;script&#62;",
        &format!("href=\"/runs/{run}\""),
        "order_line",
    ] {
        page.has(said);
    }
    page.has_not("<script>alert").has_not("<i>1");
    browser.get(&format!("/runs/{run}")).expect(200).has(&format!("href=\"{ORDER}\""));
    let list = browser.get("/orders").expect(200);
    list.has(&format!("href=\"{ORDER}\"")).has("n049").has_not("n050").has("after=n049");
    browser.get("/orders?after=n049").expect(200).has("n060").has_not("n049<");
    browser.get("/orders?status=COMPLETED").expect(200).has("ann@").has_not("n001");
    browser.get("/orders?customer=ann@example.com").expect(200).has("ann@").has_not("n001");
    let found = browser.get("/orders?order=a/b+%3Ci%3E1").expect(303);
    assert_eq!(found.header("location"), ORDER);
    browser.get("/orders?order=%3Cb%3E").expect(200).has("There is no order &#60;b&#62;");
    let json = browser.get(&format!("{ORDER}/json")).expect(200);
    json.has("\"refund_id\":\"re_1\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_fields_of_an_order_stay_masked() {
    let database = TestDatabase::migrated().await.unwrap();
    let run = "00000000-0000-7000-8000-000000000001";
    fill(&database, run, "Ann Secret").await;
    let masks = ["--mask-field", "customer", "--mask-field", "payment", "--mask-field", "body"];
    let server =
        Running::start(database.url(), &[masks.as_slice(), &["--mask-field", "sku"]].concat());
    let browser = Browser::new(&server.url);
    for path in [ORDER, &format!("{ORDER}/json"), "/orders"] {
        let page = browser.get(path).expect(200);
        page.has("***").has_not("ann@").has_not("Ann Secret").has_not("pi_1").has_not("re_1");
    }
    browser.get("/orders?customer=ann@example.com").expect(400).has_not("ann@");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_asked_for_by_every_status_that_their_table_knows() {
    let database = TestDatabase::migrated().await.unwrap();
    let client = database.connect().await.unwrap();
    client.batch_execute(&oms_tasks::migration_sql()).await.unwrap();
    let server = Running::start(database.url(), &[]);
    let page = Browser::new(&server.url).get("/orders").expect(200);
    let sql = "SELECT m[1]
        FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), '''([A-Z]+)''', 'g') AS m
        WHERE conname = 'orders_status_check'";
    let known = client.query(sql, &[]).await.unwrap();
    assert_eq!(page.text.matches("<option value=\"").count(), known.len() + 1);
    for row in known {
        page.has(&format!("<option value=\"{}\"", row.get::<_, &str>(0)));
    }
}
