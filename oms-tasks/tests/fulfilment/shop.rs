//! A database, a sandbox process and an engine in this process.

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, EngineBuilder, Execution, StartRequest, WorkflowId};
use oms_tasks::sandbox::OrderTotals;
use oms_tasks::{OrderSummary, OrderTasks, order_summary};
use serde_json::Value;
use tokio_postgres::Client;

use crate::common::sandbox::Sandbox;
use crate::common::{migrations, register, stock, tasks, wait};

pub(crate) struct Shop {
    pub(crate) engine: Engine,
    pub(crate) client: Client,
    pub(crate) sandbox: Sandbox,
    pub(crate) tasks: OrderTasks,
    /// Dropped with the shop.
    pub(crate) database: TestDatabase,
}

impl Shop {
    /// With 10 tea at 250 on the shelf, and an engine that runs the order tasks.
    pub(crate) async fn open() -> Self {
        Self::open_with(|_, tasks, builder| tasks.register(builder)).await
    }

    /// The engine gets the tasks that `furnish` gives it.
    pub(crate) async fn open_with(
        furnish: impl FnOnce(&Sandbox, &OrderTasks, EngineBuilder) -> EngineBuilder,
    ) -> Self {
        let sql = migrations();
        let fill = async |client: &Client| client.batch_execute(&sql).await;
        let database =
            TestDatabase::create(&sql, fill).await.unwrap().as_application().await.unwrap();
        let client = database.connect().await.unwrap();
        stock(&client, "tea", 10, 250).await;
        let sandbox = Sandbox::start();
        let tasks = tasks(database.url(), sandbox.address);
        let builder = furnish(&sandbox, &tasks, Engine::builder(database.url()));
        let engine = builder.build().await.unwrap();
        register(&engine).await;
        Self { engine, client, sandbox, tasks, database }
    }

    pub(crate) async fn place(&self, input: &Value) -> WorkflowId {
        let request = StartRequest::new("order_fulfilment").input(input);
        self.engine.start(request).await.unwrap().id
    }

    /// Takes an order to the end of its run.
    pub(crate) async fn run(&self, input: &Value) -> Execution {
        wait(&self.engine, self.place(input).await).await
    }

    pub(crate) async fn summary(&self, order_id: &str) -> OrderSummary {
        order_summary(&self.client, order_id).await.unwrap().unwrap()
    }

    pub(crate) fn totals(&self, order_id: &str) -> OrderTotals {
        self.sandbox.order(order_id)
    }

    /// Pieces booked of an article.
    pub(crate) async fn booked(&self, sku: &str) -> i64 {
        let sql = "SELECT booked FROM warehouse_stock WHERE sku = $1";
        self.client.query_one(sql, &[&sku]).await.unwrap().get(0)
    }
}

pub(crate) fn stages(order: &OrderSummary) -> Vec<&str> {
    order.notifications.iter().map(|notification| notification.stage.as_str()).collect()
}
