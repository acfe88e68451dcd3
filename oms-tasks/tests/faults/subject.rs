//! An order, for the kit: a shop in a database of its own, one sandbox for all of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oms_engine::testkit::{Failure, Step, Subject, TestDatabase, Way};
use oms_engine::{Engine, EngineBuilder, Execution, StartRequest, TaskDef, WorkflowDef};
use oms_tasks::audit::Audit;
use oms_tasks::definitions;
use oms_tasks::fulfilment::FulfilmentOptions;
use oms_tasks::notifiers::MemoryNotifier;
use oms_tasks::orders::Orders;
use oms_tasks::sender::{Sender, SenderOptions};
use serde_json::{Value, json};

use crate::common::sandbox::Sandbox;
use crate::common::{migrations, order, stock, stock_in, tasks, with};

const SANDBOX: &str = "OMS_TEST_WORKER_SANDBOX";
/// The order that the worker cancels, and the status that it waits for.
const CANCELS: &str = "OMS_TEST_WORKER_CANCELS";
const PIECES: i64 = 10_000;
/// The steps of the two versions that are not there to undo others.
const FORWARD: [&str; 12] = [
    "order_acknowledgement",
    "payment_processing",
    "stock_booking",
    "delivery_scheduling",
    "notification",
    "payment_authorisation",
    "stock_reservation",
    "back_order",
    "order_confirmation",
    "payment_capture",
    "order_dispatch",
    "reservation_expiry",
];

/// Orders of one kind.
pub(crate) struct Order {
    version: i32,
    /// What is changed in the input, by its place.
    changes: Vec<(&'static str, Value)>,
    /// How it ends when nothing harms it.
    ends: &'static str,
    /// The test that a worker process runs.
    test: &'static str,
    /// At which status its customer cancels it, in the process that is killed.
    cancelled_at: Option<&'static str>,
    /// How those ended that were looked at.
    ended: Mutex<BTreeSet<String>>,
    sandbox: Sandbox,
    placed: AtomicU32,
    /// Shops in which all was well: another order finds the books of those before in balance.
    shops: Arc<Mutex<Vec<TestDatabase>>>,
}

/// A shop and its latest order.
pub(crate) struct World {
    database: Option<TestDatabase>,
    order_id: String,
    all_is_well: AtomicBool,
    shops: Arc<Mutex<Vec<TestDatabase>>>,
}

impl World {
    fn database(&self) -> &TestDatabase {
        self.database.as_ref().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.all_is_well.load(Ordering::SeqCst) {
            self.shops.lock().unwrap().extend(self.database.take());
        }
    }
}

impl Order {
    pub(crate) fn new(version: i32, ends: &'static str, test: &'static str) -> Self {
        let (sandbox, placed, shops) = (Sandbox::start(), AtomicU32::new(0), Arc::default());
        let (changes, cancelled_at, ended) = (Vec::new(), None, Mutex::default());
        Self { version, changes, ends, test, cancelled_at, ended, sandbox, placed, shops }
    }

    pub(crate) fn with(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.changes.push((pointer, value.into()));
        self
    }

    #[allow(dead_code, clippy::allow_attributes, reason = "version 2 alone is cancelled")]
    pub(crate) fn cancelled_at(mut self, status: &'static str) -> Self {
        self.cancelled_at = Some(status);
        self
    }

    pub(crate) fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().iter().cloned().collect()
    }
}

/// An engine with the tasks of both versions.
pub(crate) fn furnish(url: &str, sandbox: SocketAddr, engine: EngineBuilder) -> EngineBuilder {
    let mut options = FulfilmentOptions::default();
    options.back_order_poll = Duration::from_secs(1);
    tasks(url, sandbox).register_v2(engine, &options)
}

/// Whether this process is a worker of the kit's; it has done its work then.
pub(crate) async fn is_worker() -> bool {
    let Some(url) = oms_engine::testkit::worker_url() else { return false };
    let sandbox = std::env::var_os(SANDBOX).and_then(|text| text.to_str()?.parse().ok()).unwrap();
    // Small, so that many start quickly.
    let engine = Engine::builder(&url).pumps(1).pool_size(2).transactional_pool_size(2);
    let engine = furnish(&url, sandbox, engine);
    if let Some(cancels) = std::env::var_os(CANCELS) {
        tokio::spawn(Box::pin(cancel(url.clone(), sandbox, cancels.into_string().unwrap())));
    }
    oms_engine::testkit::work_until_killed(engine).await.unwrap();
    true
}

/// Cancels an order once it has come to a status, or is past it.
async fn cancel(url: String, sandbox: SocketAddr, cancels: String) {
    let (order_id, status) = cancels.split_once(' ').unwrap();
    let engine = Engine::builder(&url).pumps(1).pool_size(2).build().await.unwrap();
    let orders = Orders::new(engine, tasks(&url, sandbox).pool);
    loop {
        let order = orders.status(order_id).await.unwrap();
        if order.is_some_and(|o| o.status == status || o.status == "COMPLETED") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    orders.cancel(order_id, "changed my mind").await.unwrap();
}

impl Subject for Order {
    type World = World;

    fn definitions(&self) -> Result<(Vec<TaskDef>, Vec<WorkflowDef>), Failure> {
        let mut workflows = definitions::workflow_definitions()?;
        workflows.extend(definitions::v2::workflow_definitions()?);
        Ok((definitions::v2::task_definitions()?, workflows))
    }

    async fn open(&self) -> Result<World, Failure> {
        let sql = migrations();
        let fill = async |client: &tokio_postgres::Client| {
            client.batch_execute(&sql).await?;
            stock(client, "tea", PIECES, 250).await;
            stock_in(Some("north"), client, "cup", PIECES, 900).await;
            Ok::<_, tokio_postgres::Error>(())
        };
        let opened = self.shops.lock().unwrap().pop();
        let database = match opened {
            Some(database) => database,
            None => {
                TestDatabase::create(&format!("{sql} tea, cups"), fill)
                    .await?
                    .as_application()
                    .await?
            }
        };
        let order_id = format!("o{}", self.placed.fetch_add(1, Ordering::Relaxed));
        let (all_is_well, shops) = (AtomicBool::new(false), self.shops.clone());
        Ok(World { database: Some(database), order_id, all_is_well, shops })
    }

    fn url<'a>(&self, world: &'a World) -> &'a str {
        world.database().url()
    }

    fn furnish(&self, world: &World, engine: EngineBuilder) -> EngineBuilder {
        furnish(world.database().url(), self.sandbox.address, engine)
    }

    fn request(&self, world: &World) -> StartRequest {
        let input =
            self.changes.iter().fold(order(&world.order_id, "tea", 2), |mut input, change| {
                if input.pointer(change.0).is_none() {
                    input[change.0.trim_start_matches('/')] = json!(null);
                }
                with(input, change.0, change.1.clone())
            });
        StartRequest::new("order_fulfilment")
            .version(self.version)
            .input(input)
            .correlation_id(&world.order_id)
    }

    async fn check(&self, world: &World, run: &Execution) -> Result<(), Failure> {
        let client = world.database().connect().await?;
        let pool = tasks(world.database().url(), self.sandbox.address).pool;
        let notifier = Arc::new(MemoryNotifier::default());
        let sender = Sender::new(pool, notifier.clone(), SenderOptions::default());
        while sender.send_pending().await? > 0 {}
        let mut sent: Vec<String> =
            notifier.messages().into_iter().map(|message| message.message_id).collect();
        let all = sent.len();
        sent.sort();
        sent.dedup();
        if all != sent.len() {
            return Err(format!("{all} messages of {sent:?}").into());
        }
        let mut told = self.sandbox.ledger().by_order();
        let sql = "SELECT order_id FROM orders";
        let here = client.query(sql, &[]).await?;
        let here: Vec<String> = here.iter().map(|row| row.get(0)).collect();
        told.retain(|id, _| here.contains(id) || *id == world.order_id);
        let mut audit = Audit::default();
        audit.witness = Some(told);
        audit.came_in = ["tea", "cup"].map(|sku| (sku.to_owned(), PIECES)).into();
        let found = audit.run(&client).await?;
        if !found.is_empty() {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            return Err(found.join("; ").into());
        }
        let sql = "SELECT status FROM orders WHERE order_id = $1";
        let status: String = client.query_one(sql, &[&world.order_id]).await?.get(0);
        let ended = match (run.status == oms_engine::WorkflowStatus::Completed, self.cancelled_at) {
            (true, _) => self.ends,
            (false, Some(_)) => "CANCELLED",
            (false, None) => "FAILED",
        };
        if status != ended {
            let why = run.reason_for_incompletion.as_deref().unwrap_or_default();
            return Err(format!("the run is {:?} ({why}), the order {status}", run.status).into());
        }
        self.ended.lock().unwrap().insert(status);
        world.all_is_well.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// What undoes never gives up, and nothing it does may fail for good.
    fn ways(&self, step: &Step) -> Vec<Way> {
        let forward = FORWARD.contains(&step.reference_name.as_str());
        Way::ALL.into_iter().filter(|way| forward || !way.is_for_good()).collect()
    }

    fn worker(&self, world: &World) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", self.test]);
        command.env(SANDBOX, self.sandbox.address.to_string());
        if let Some(status) = self.cancelled_at {
            command.env(CANCELS, format!("{} {status}", world.order_id));
        }
        Ok(command)
    }
}
