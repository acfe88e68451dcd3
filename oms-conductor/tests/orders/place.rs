//! Where it happens: a Conductor, a database with the order tables and the inbox, and the sandbox.

use std::net::SocketAddr;
use std::path::PathBuf;

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, TaskDef, WorkflowDef, WorkflowId};
use oms_server::{Server, Settings, serve};
use oms_tasks::sandbox::{self, Sandbox};
use oms_tasks::{Restock, definitions, restock};
use serde_json::{Value, json};
use tokio_postgres::Client;

pub(crate) struct Place {
    /// Of this run alone: a real Conductor has others.
    pub(crate) name: String,
    pub(crate) server: String,
    pub(crate) database: TestDatabase,
    pub(crate) sandbox: Sandbox,
    pub(crate) ledger: PathBuf,
    _ours: Option<Server>,
}

impl Place {
    pub(crate) async fn open() -> Self {
        let tables = oms_engine::migration_sql("oms_engine").unwrap()
            + &oms_tasks::migration_sql()
            + &oms_conductor::migration_sql();
        let fill = async |client: &Client| client.batch_execute(&tables).await;
        let database = TestDatabase::create(&tables, fill).await.unwrap();
        let client = database.connect().await.unwrap();
        let tea = Restock {
            sku: "tea",
            name: "Tea",
            pieces: 10_000,
            price_minor: 250,
            currency: "EUR",
            warehouse: None,
        };
        restock(&client, &tea).await.unwrap();
        let name = format!("order-{}", WorkflowId::new());
        let ledger = std::env::temp_dir().join(format!("{name}.jsonl"));
        let sandbox = sandbox::serve(&ledger, 0).await.unwrap();
        let (server, ours) = match std::env::var_os("CONDUCTOR_URL") {
            Some(url) => (url.into_string().unwrap(), None),
            None => {
                let engine = Engine::builder(database.url()).build().await.unwrap();
                let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
                let server = serve(engine, anywhere, Settings::default()).await.unwrap();
                (format!("http://{}", server.address()), Some(server))
            }
        };
        println!("on {server}");
        Self { name, server, database, sandbox, ledger, _ours: ours }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Not there when the test failed early.
        std::fs::remove_file(&self.ledger).unwrap_or_default();
    }
}

/// Those of the orders, with so many retries that the kills do not use them up, and so short a response
/// time-out that what a killed worker held comes back soon.
pub(crate) fn definitions() -> (Vec<TaskDef>, Vec<WorkflowDef>) {
    let mut tasks = definitions::task_definitions().unwrap();
    for task in &mut tasks {
        task.retry_count = task.retry_count.max(30);
        task.retry_delay_seconds = 1;
        task.max_retry_delay_seconds = 2;
        task.response_timeout_seconds = 3;
    }
    let mut workflows = definitions::workflow_definitions().unwrap();
    for workflow in &mut workflows {
        // With a time-out a Conductor looks at a run whose worker was killed after so long, an hour at most.
        workflow.timeout_seconds = 0;
    }
    (tasks, workflows)
}

/// The input of `order_fulfilment`.
pub(crate) fn order(order_id: &str, card: &str) -> Value {
    json!({
        "order_id": order_id,
        "customer": { "name": "Ada", "email": "ada@example.com" },
        "lines": [{ "sku": "tea", "quantity": 2 }],
        "payment": { "method": "card", "token": format!("tok_{card}") },
        "ship_to": {
            "street": "Main St 1", "city": "Bonn", "postal_code": "53111", "country": "DE"
        },
        "currency": "EUR",
    })
}
