//! The shop that the examples share: a PostgreSQL, the order tables, and the engine with
//! the order tasks.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;

use deadpool_postgres::{Manager, Pool};
use oms_engine::embedded::{Database, Postgres, Progress};
use oms_engine::{Engine, EngineBuilder};
use oms_tasks::fulfilment::FulfilmentOptions;
use oms_tasks::sandbox::SandboxClient;
use oms_tasks::{OrderTasks, Restock, definitions, restock};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

pub(crate) type Failure = Box<dyn StdError + Send + Sync>;

/// An article that nobody ever puts on the shelf.
pub(crate) const SOLD_OUT: &str = "sold-out";

/// A database with the order tables. The server runs as long as this is held.
pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) pool: Pool,
}

impl Shop {
    /// Finds or starts PostgreSQL and makes the order tables.
    pub(crate) async fn open(
        on_progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let told = move |progress| on_progress(&progress_text(&progress));
        let database = Postgres::builder().on_progress(told).database().await?;
        let pool = Self::pool(database.url())?;
        let mut client = pool.get().await?;
        oms_tasks::migrate(&mut client).await?;
        drop(client);
        Ok(Self { database, pool })
    }

    /// Connections for the tasks that call a port, and for looking at the tables.
    pub(crate) fn pool(url: &str) -> Result<Pool, Failure> {
        Ok(Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(16).build()?)
    }

    /// Puts so many pieces on the shelf as the orders need; none of [`SOLD_OUT`].
    pub(crate) async fn stock(&self, sku: &str, pieces: i64) -> Result<(), Failure> {
        let pieces = if sku == SOLD_OUT { 0 } else { pieces };
        let name = format!("Article {sku}");
        let goods = Restock {
            sku,
            name: &name,
            pieces,
            price_minor: 2_499,
            currency: "EUR",
            warehouse: None,
        };
        restock(&*self.pool.get().await?, &goods).await?;
        Ok(())
    }
}

/// An engine that runs the order tasks against the sandbox at this address.
pub(crate) async fn engine(url: &str, pool: Pool, sandbox: SocketAddr) -> Result<Engine, Failure> {
    let client = Arc::new(SandboxClient::new(sandbox));
    let tasks = OrderTasks { pool, gateway: client.clone(), carrier: client };
    // The tasks of both versions: a database that was used before may have runs of either.
    let options = FulfilmentOptions::default();
    let builder: EngineBuilder = tasks.register_v2(Engine::builder(url).migrate(), &options);
    let engine = builder.build().await?;
    let mut workflows = definitions::workflow_definitions()?;
    workflows.extend(definitions::v2::workflow_definitions()?);
    engine.register(&definitions::v2::task_definitions()?, &workflows).await?;
    Ok(engine)
}

/// The input of `order_fulfilment`.
pub(crate) fn order(order_id: &str, sku: &str, quantity: i32, card: &str) -> Value {
    json!({
        "order_id": order_id,
        "customer": { "name": "Ada Lovelace", "email": "ada@example.com" },
        "lines": [{ "sku": sku, "quantity": quantity }],
        "payment": { "method": "card", "token": format!("tok_{card}") },
        "ship_to": {
            "street": "St James's Square 12", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB"
        },
        "currency": "EUR"
    })
}

fn progress_text(progress: &Progress) -> String {
    match progress {
        Progress::Downloading { received, total } => {
            let total = total.map(|t| format!(" of {}", t / 1_000_000)).unwrap_or_default();
            format!("downloading PostgreSQL, once: {}{total} MB", received / 1_000_000)
        }
        Progress::Unpacking => "unpacking PostgreSQL".to_owned(),
        Progress::Initializing => "making a data folder".to_owned(),
        Progress::Starting => "starting PostgreSQL".to_owned(),
        _ => "preparing PostgreSQL".to_owned(),
    }
}
