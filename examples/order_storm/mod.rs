//! Many orders for few pieces, while the processes that do the work are killed.

mod customers;
mod report;
mod workers;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, Pool};
use futures_util::StreamExt as _;
use oms_engine::Engine;
use oms_engine::testkit::TestDatabase;
use oms_tasks::notifiers::MemoryNotifier;
use oms_tasks::orders::Orders;
use oms_tasks::sandbox::serve;
use oms_tasks::sender::{Sender, SenderOptions};
use oms_tasks::{Restock, definitions, restock};
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

use customers::Customer;
pub(crate) use report::Report;
use report::Standing;
pub(crate) use workers::{is_worker, work};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The pieces are of so many articles.
const ARTICLES: i64 = 5;
const PRICE_MINOR: i64 = 2_499;
/// Orders that are placed at once.
const PLACING: usize = 32;
const LOOK: Duration = Duration::from_millis(200);

/// How hard it blows.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) orders: u32,
    pub(crate) pieces: u32,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    /// After so long it has failed.
    pub(crate) patience: Duration,
}

impl Plan {
    fn per_article(&self) -> i64 {
        i64::from(self.pieces) / ARTICLES
    }
}

/// Small and seeded, so that a storm can be repeated (xorshift, Marsaglia 2003).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// A file that goes when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Not there when it never began.
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}

pub(crate) fn pool(url: &str) -> Result<Pool, Failure> {
    Ok(Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(16).build()?)
}

fn article(n: i64) -> String {
    format!("lamp-{n}")
}

/// Lets it rage until every order has ended; tells now and then how it stands. `worker` starts this
/// program again, in the role of a worker.
pub(crate) async fn rage(
    plan: &Plan,
    worker: impl Fn() -> Result<Command, Failure>,
    tell: impl Fn(&Standing),
) -> Result<Report, Failure> {
    let database = TestDatabase::empty().await?;
    let url = database.url();
    let ledger = format!("order-storm-{}-{}.jsonl", std::process::id(), database.name());
    let ledger = Scratch(std::env::temp_dir().join(ledger));
    let sandbox = serve(&ledger.0, 0).await?;
    let pool = pool(url)?;
    let mut client = pool.get().await?;
    oms_tasks::migrate(&mut client).await?;
    for n in 0..ARTICLES {
        let (sku, price_minor) = (article(n), PRICE_MINOR);
        let goods = Restock {
            sku: &sku,
            name: &sku,
            pieces: plan.per_article(),
            price_minor,
            currency: "EUR",
            warehouse: None,
        };
        restock(&client, &goods).await?;
    }
    drop(client);
    let engine = Engine::builder(url).migrate().build().await?;
    let workflows = definitions::v2::workflow_definitions()?;
    engine.register(&definitions::v2::task_definitions()?, &workflows).await?;
    let begun = Instant::now();
    let workers = workers::Workers::start(plan, &worker, url, sandbox.address())?;
    let kills = workers.kills();
    let sender =
        Sender::new(pool.clone(), Arc::new(MemoryNotifier::default()), SenderOptions::default());
    let stop = CancellationToken::new();
    let sending = tokio::spawn({
        let stop = stop.clone();
        async move { sender.run(stop).await }
    });
    let storm =
        Storm { plan, pool: pool.clone(), orders: Orders::new(engine.clone(), pool), begun };
    let raging = async {
        storm.place().await?;
        storm.until_all_ended(&kills, &tell).await
    };
    let raged = tokio::select! {
        raged = raging => raged,
        failed = workers.are_killed(&worker, Random::new(plan.seed ^ 1)) => failed,
    };
    stop.cancel();
    sending.await?;
    let standing = raged?;
    let report = report::settle(plan, &database, &ledger.0, standing, begun.elapsed()).await?;
    engine.shutdown(Duration::from_secs(5)).await;
    sandbox.stop().await;
    Ok(report)
}

struct Storm<'a> {
    plan: &'a Plan,
    pool: Pool,
    orders: Orders,
    begun: Instant,
}

impl Storm<'_> {
    /// Places all orders; some customers cancel after a while.
    async fn place(&self) -> Result<(), Failure> {
        let mut random = Random::new(self.plan.seed);
        let customers: Vec<Customer> =
            (0..self.plan.orders).map(|n| Customer::random(n, &mut random)).collect();
        let placing = customers.into_iter().map(|customer| {
            let orders = self.orders.clone();
            async move {
                customer.places(&orders).await?;
                if customer.cancels_after.is_some() {
                    tokio::spawn(async move { customer.cancels(&orders).await });
                }
                Ok::<_, Failure>(())
            }
        });
        let mut placing = futures_util::stream::iter(placing).buffer_unordered(PLACING);
        while let Some(placed) = placing.next().await {
            placed?;
        }
        Ok(())
    }

    /// Returns when every order has ended, all messages are sent, and nothing is being undone.
    async fn until_all_ended(
        &self,
        kills: &AtomicU64,
        tell: &impl Fn(&Standing),
    ) -> Result<Standing, Failure> {
        loop {
            let mut standing = report::look(&self.pool).await?;
            standing.kills = kills.load(Ordering::Relaxed);
            tell(&standing);
            if standing.is_over(self.plan.orders) {
                return Ok(standing);
            }
            if standing.only_waiting(self.plan.orders) {
                // There will be no more pieces.
                for id in report::waiting(&self.pool).await? {
                    self.orders.cancel(&id, "waited for too long").await?;
                }
            }
            if self.begun.elapsed() > self.plan.patience {
                return Err(format!("not over after {:?}: {standing:?}", self.plan.patience).into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
