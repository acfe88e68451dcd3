//! A database, a sandbox and the tasks, and an order to take through them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, Object, Pool};
use oms_engine::testkit::TestDatabase;
use oms_engine::{
    Task, TaskContext, TaskError, TaskId, TransactionalBatchTask, TransactionalTask, WorkflowId,
};
use oms_tasks::ports::{Carrier, PaymentGateway};
use oms_tasks::sandbox::{Ledger, OrderTotals, Sandbox, SandboxClient, serve};
use oms_tasks::{OrderSummary, OrderTasks, Restock, Shelf, order_summary, restock};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

/// What each call costs that the sandbox does not answer; long enough for a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
/// Much longer than anything takes; a test that gets there fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const STEPS: [&str; 5] = [
    "order_acknowledgement",
    "payment_processing",
    "stock_booking",
    "delivery_scheduling",
    "notification",
];
pub(crate) const UNWINDING: [&str; 5] =
    ["order_closure", "delivery_cancellation", "stock_release", "payment_refund", "order_failure"];

/// A file or folder name of its own, removed in the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let name = format!("oms-tasks-{}", WorkflowId::new());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Not there when the test failed early.
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}

pub(crate) struct World {
    pub(crate) tasks: OrderTasks,
    pub(crate) port: Arc<SandboxClient>,
    /// None while it is stopped.
    sandbox: Option<Sandbox>,
    address: SocketAddr,
    pub(crate) ledger: Scratch,
    /// Dropped with the world.
    database: TestDatabase,
}

pub(crate) async fn database() -> TestDatabase {
    TestDatabase::create(&oms_tasks::migration_sql(), async |client: &Client| {
        client.batch_execute(&oms_tasks::migration_sql()).await
    })
    .await
    .unwrap()
}

pub(crate) fn pool(url: &str, size: usize) -> Pool {
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    Pool::builder(manager).max_size(size).build().unwrap()
}

impl World {
    /// 10 tea at 250 and 5 cups at 900.
    pub(crate) async fn new() -> Self {
        let database = database().await;
        let ledger = Scratch::new();
        let sandbox = serve(&ledger.0, 0).await.unwrap();
        let address = sandbox.address();
        let port = Arc::new(SandboxClient::new(address).with_deadline(DEADLINE));
        let tasks = OrderTasks {
            pool: pool(database.url(), 8),
            gateway: Arc::clone(&port) as Arc<dyn PaymentGateway>,
            carrier: Arc::clone(&port) as Arc<dyn Carrier>,
        };
        let world = Self { tasks, port, sandbox: Some(sandbox), address, ledger, database };
        world.restock("tea", 10, 250).await;
        world.restock("cup", 5, 900).await;
        world
    }

    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    pub(crate) async fn stop_sandbox(&mut self) {
        self.sandbox.take().unwrap().stop().await;
    }

    /// Starts it again where it was.
    pub(crate) async fn start_sandbox(&mut self) {
        self.sandbox = Some(serve(&self.ledger.0, self.address.port()).await.unwrap());
    }

    pub(crate) async fn client(&self) -> Object {
        self.tasks.pool.get().await.unwrap()
    }

    pub(crate) async fn restock(&self, sku: &str, pieces: i64, price_minor: i64) -> Shelf {
        self.restock_in(None, sku, pieces, price_minor).await
    }

    pub(crate) async fn restock_in(
        &self,
        warehouse: Option<&str>,
        sku: &str,
        pieces: i64,
        price_minor: i64,
    ) -> Shelf {
        let goods = Restock { sku, name: sku, pieces, price_minor, currency: "EUR", warehouse };
        let client = self.client().await;
        restock(&client, &goods).await.unwrap()
    }

    pub(crate) async fn summary(&self, order_id: &str) -> Option<OrderSummary> {
        let client = self.client().await;
        order_summary(&client, order_id).await.unwrap()
    }

    pub(crate) async fn status(&self, order_id: &str) -> String {
        self.summary(order_id).await.unwrap().status
    }

    /// Pieces booked of an article.
    pub(crate) async fn booked(&self, sku: &str) -> i64 {
        self.restock(sku, 0, 250).await.booked
    }

    pub(crate) fn totals(&self, order_id: &str) -> OrderTotals {
        Ledger::read(&self.ledger.0).unwrap().order(order_id)
    }

    /// All rows of all tables, but for when they were last touched.
    pub(crate) async fn tables(&self) -> Value {
        let mut all = json!({});
        for table in [
            "inventory",
            "warehouse_stock",
            "orders",
            "order_items",
            "payments",
            "payment_intents",
            "payment_refunds",
            "stock_bookings",
            "stock_reservations",
            "reservation_lines",
            "reservation_pieces",
            "order_returns",
            "delivery_schedule",
            "delivery_updates",
            "notifications",
        ] {
            let sql = format!(
                "SELECT coalesce(jsonb_agg(row ORDER BY row::text), '[]')
                 FROM (SELECT to_jsonb(t) - 'updated_at' AS row FROM {table} t) AS rows"
            );
            all[table] = self.client().await.query_one(&sql, &[]).await.unwrap().get(0);
        }
        all
    }

    /// Runs a transactional task as the engine does: its writes commit when it succeeds.
    pub(crate) async fn transact<T: TransactionalTask>(
        &self,
        task: T,
        cx: &TaskContext,
        input: Value,
    ) -> Result<Value, TaskError> {
        let input = serde_json::from_value(input).map_err(TaskError::terminal)?;
        let mut client = self.client().await;
        let tx = Client::transaction(&mut client).await?;
        let output = task.run(cx, &tx, input).await?;
        tx.commit().await?;
        Ok(serde_json::to_value(output).unwrap())
    }

    /// As [`transact`](Self::transact), alone in its batch.
    async fn transact_batch<T: TransactionalBatchTask>(
        &self,
        task: T,
        cx: &TaskContext,
        input: Value,
    ) -> Result<Value, TaskError> {
        self.transact_all(task, vec![(cx.clone(), input)]).await.pop().unwrap()
    }

    /// A batch: its writes commit when all succeed.
    pub(crate) async fn transact_all<T: TransactionalBatchTask>(
        &self,
        task: T,
        tasks: Vec<(TaskContext, Value)>,
    ) -> Vec<Result<Value, TaskError>> {
        let n = tasks.len();
        let read = |(cx, input)| Ok((cx, serde_json::from_value(input)?));
        let read: Result<Vec<_>, serde_json::Error> = tasks.into_iter().map(read).collect();
        let read = match read {
            Ok(read) => read,
            Err(error) => return vec![Err(TaskError::terminal(error))],
        };
        let mut client = self.client().await;
        let tx = Client::transaction(&mut client).await.unwrap();
        let answers = task.run(&tx, read).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => return vec![Err(error)],
        };
        assert_eq!(answers.len(), n);
        if answers.iter().all(Result::is_ok) {
            tx.commit().await.unwrap();
        }
        let value = |output| serde_json::to_value(output).unwrap();
        answers.into_iter().map(|answer| answer.map(value)).collect()
    }

    pub(crate) async fn call<T: Task>(
        &self,
        task: T,
        cx: &TaskContext,
        input: Value,
    ) -> Result<Value, TaskError> {
        let input = serde_json::from_value(input).map_err(TaskError::terminal)?;
        let output = task.run(cx, input).await?;
        Ok(serde_json::to_value(output).unwrap())
    }

    /// Runs one attempt of a step of an order's run, or of its unwinding.
    pub(crate) async fn step(&self, order: &Placed, name: &str) -> Result<Value, TaskError> {
        let (cx, tasks) = (&order.context(name), &self.tasks);
        let input = order.input(name);
        match name {
            "order_acknowledgement" => {
                self.transact_batch(tasks.order_acknowledgement(), cx, input).await
            }
            "payment_processing" => self.call(tasks.payment_processing(), cx, input).await,
            "stock_booking" => self.transact_batch(tasks.stock_booking(), cx, input).await,
            "delivery_scheduling" => self.call(tasks.delivery_scheduling(), cx, input).await,
            "notification" => self.transact_batch(tasks.notification(), cx, input).await,
            "order_closure" => self.transact(tasks.order_closure(), cx, input).await,
            "delivery_cancellation" => self.call(tasks.delivery_cancellation(), cx, input).await,
            "stock_release" => self.transact(tasks.stock_release(), cx, input).await,
            "payment_refund" => self.call(tasks.payment_refund(), cx, input).await,
            "order_failure" => self.transact(tasks.order_failure(), cx, input).await,
            other => panic!("no step {other}"),
        }
    }

    /// Takes an order through its first steps.
    pub(crate) async fn take(&self, order: &Placed, steps: usize) {
        for name in &STEPS[..steps] {
            self.step(order, name).await.unwrap();
        }
    }

    pub(crate) async fn unwind(&self, order: &Placed) {
        for name in UNWINDING {
            self.step(order, name).await.unwrap();
        }
    }

    /// Runs a step that must fail for good; gives the reason.
    pub(crate) async fn refused(&self, order: &Placed, name: &str) -> String {
        let error = self.step(order, name).await.unwrap_err();
        assert!(error.is_terminal(), "{name} would be retried: {}", error.reason());
        error.reason().to_owned()
    }

    /// Runs a step that must fail in a way that a retry may mend.
    pub(crate) async fn failed(&self, order: &Placed, name: &str) -> String {
        let error = self.step(order, name).await.unwrap_err();
        assert!(!error.is_terminal(), "{name} would not be retried: {}", error.reason());
        error.reason().to_owned()
    }
}

/// An order and the run that takes it.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) workflow_id: WorkflowId,
    pub(crate) unwinding_id: WorkflowId,
    pub(crate) input: Value,
}

impl Placed {
    /// 2 tea, paid by a good card: 500.
    pub(crate) fn new(order_id: &str) -> Self {
        let input = json!({
            "order_id": order_id,
            "customer": {"name": "Ada", "email": "ada@example.com"},
            "lines": [{"sku": "tea", "quantity": 2}],
            "payment": {"method": "card", "token": "tok_visa"},
            "ship_to": {"street": "Main St 1", "city": "Bonn", "postal_code": "53111",
                        "country": "DE"},
            "currency": "EUR",
        });
        Self { workflow_id: WorkflowId::new(), unwinding_id: WorkflowId::new(), input }
    }

    /// The order with one value of its input changed.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.input.pointer_mut(pointer).unwrap() = value;
        self
    }

    pub(crate) fn id(&self) -> &str {
        self.input["order_id"].as_str().unwrap()
    }

    pub(crate) fn context(&self, name: &str) -> TaskContext {
        let workflow_id =
            if UNWINDING.contains(&name) { self.unwinding_id } else { self.workflow_id };
        let id = TaskId { workflow_id, epoch: 0, attempt: 0, reference_name: name.to_owned() };
        let key = oms_engine::idempotency_key(workflow_id, name, 0);
        TaskContext::new(id, key, None, CancellationToken::new())
    }

    /// As the definitions map it.
    pub(crate) fn input(&self, name: &str) -> Value {
        let order_id = &self.input["order_id"];
        match name {
            "order_acknowledgement" => json!({"order": self.input}),
            "payment_processing" => {
                json!({"order_id": order_id, "payment": self.input["payment"]})
            }
            "order_closure" => json!({
                "order_id": order_id,
                "workflow_id": self.workflow_id,
                "reason": "it had to be",
                "customer": self.input["customer"],
            }),
            _ if UNWINDING.contains(&name) => {
                json!({"order_id": order_id, "workflow_id": self.workflow_id})
            }
            _ => json!({"order_id": order_id}),
        }
    }
}

/// Returns when the condition holds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < give_up_at, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns when another session of the database waits for a lock.
pub(crate) async fn until_blocked(client: &Client) {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("a session waits for a lock", async || {
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
}
