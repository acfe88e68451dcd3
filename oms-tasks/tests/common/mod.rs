//! What the tests on the engine share: the shop's database, the sandbox in a process of its own,
//! orders, and worker processes.

#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses some of it")]

pub(crate) mod sandbox;
pub(crate) mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, Pool};
use oms_engine::{Engine, Execution, WorkflowId};
use oms_tasks::sandbox::SandboxClient;
use oms_tasks::{OrderTasks, Restock, restock};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

/// Much longer than anything takes; a test that gets there fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// How long a call waits for an answer that does not come.
pub(crate) const PORT_DEADLINE: Duration = Duration::from_secs(1);

/// The tables of the engine and of the orders.
pub(crate) fn migrations() -> String {
    oms_engine::migration_sql("oms_engine").unwrap() + &oms_tasks::migration_sql()
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The order tasks, which ask the sandbox at this address.
pub(crate) fn tasks(url: &str, sandbox: SocketAddr) -> OrderTasks {
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    let port = Arc::new(SandboxClient::new(sandbox).with_deadline(PORT_DEADLINE));
    OrderTasks {
        pool: Pool::builder(manager).max_size(8).build().unwrap(),
        gateway: port.clone(),
        carrier: port,
    }
}

/// Puts pieces of an article on the shelf.
pub(crate) async fn stock(client: &Client, sku: &str, pieces: i64, price_minor: i64) {
    stock_in(None, client, sku, pieces, price_minor).await;
}

pub(crate) async fn stock_in(
    warehouse: Option<&str>,
    client: &Client,
    sku: &str,
    pieces: i64,
    price_minor: i64,
) {
    let goods = Restock { sku, name: sku, pieces, price_minor, currency: "EUR", warehouse };
    restock(client, &goods).await.unwrap();
}

/// The input of `order_fulfilment`: one line, paid by `tok_visa`.
pub(crate) fn order(order_id: &str, sku: &str, quantity: i32) -> Value {
    json!({
        "order_id": order_id,
        "customer": { "name": "Ada", "email": "ada@example.com" },
        "lines": [{ "sku": sku, "quantity": quantity }],
        "payment": { "method": "card", "token": "tok_visa" },
        "ship_to": {
            "street": "Main St 1", "city": "Bonn", "postal_code": "53111", "country": "DE"
        },
        "currency": "EUR",
    })
}

/// The input with one of its values changed.
pub(crate) fn with(mut input: Value, pointer: &str, value: impl Into<Value>) -> Value {
    *input.pointer_mut(pointer).unwrap() = value.into();
    input
}

pub(crate) async fn register(engine: &Engine) {
    use oms_tasks::definitions::{task_definitions, workflow_definitions};
    let (tasks, workflows) = (task_definitions().unwrap(), workflow_definitions().unwrap());
    engine.register(&tasks, &workflows).await.unwrap();
}

pub(crate) async fn wait(engine: &Engine, id: WorkflowId) -> Execution {
    tokio::time::timeout(PATIENCE, Box::pin(engine.wait(id))).await.unwrap().unwrap()
}

/// Returns when the query gives true.
pub(crate) async fn until(client: &Client, sql: &str) {
    let begun = Instant::now();
    // Asked often, so it is planned once.
    let asked = client.prepare(sql).await.unwrap();
    while !client.query_one(&asked, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(begun.elapsed() < PATIENCE, "never true: {sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every run has ended, and nothing of any is left over.
pub(crate) async fn assert_all_ended(client: &Client) {
    for (what, sql) in [
        ("stuck", "SELECT workflow_id::text || ' ' || reason FROM oms_engine.stuck_workflows"),
        ("open tasks", "SELECT workflow_id::text FROM oms_engine.open_tasks"),
        ("not ended", "SELECT id::text FROM oms_engine.workflows WHERE status IN (0, 1)"),
    ] {
        let rows = client.query(sql, &[]).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}
