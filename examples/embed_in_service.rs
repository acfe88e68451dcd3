//! Somebody else's web service, with a pool and a table of its own, that takes orders over HTTP.
//!
//! An order's row and its workflow are committed by one transaction: both are there or neither.
//! Run it by `cargo run --example embed_in_service`.

#![expect(clippy::print_stdout, reason = "says where it listens")]

use std::{error::Error as StdError, time::Duration};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use deadpool_postgres::{Manager, Pool};
use oms_engine::embedded::Postgres;
use oms_engine::{
    Engine, StartRequest, TaskContext, TaskError, TransactionalTask, WorkflowDef, WorkflowTask,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::{NoTls, Transaction, error::SqlState};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS shop_orders (
    number text PRIMARY KEY,
    quantity int NOT NULL CHECK (quantity > 0),
    status text NOT NULL DEFAULT 'NEW',
    workflow_id uuid NOT NULL)";

#[derive(Deserialize, Serialize)]
struct Order {
    number: String,
    quantity: i32,
}

/// Its write and the step's end commit together: an order is packed exactly once.
struct PackOrder;

impl TransactionalTask for PackOrder {
    const NAME: &'static str = "pack_order";
    type Input = Order;
    type Output = ();

    async fn run(
        &self,
        _: &TaskContext,
        tx: &Transaction<'_>,
        new: Order,
    ) -> Result<(), TaskError> {
        let packed = "UPDATE shop_orders SET status = 'PACKED' WHERE number = $1";
        tx.execute(packed, &[&new.number]).await?;
        Ok(())
    }
}

/// The shop's routes on the database of this URL, and the engine behind them.
pub(crate) async fn shop(url: &str) -> Result<(Router, Engine), Box<dyn StdError + Send + Sync>> {
    let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(8).build()?;
    pool.get().await?.batch_execute(TABLE).await?;
    let engine = Engine::builder(url).migrate().transactional_task(PackOrder).build().await?;
    let pack = WorkflowTask::simple("pack_order", "pack")
        .input("number", "${workflow.input.number}")
        .input("quantity", "${workflow.input.quantity}");
    engine.register_workflow(&WorkflowDef::builder("shop_order").task(pack).build()?).await?;
    let router = Router::new()
        .route("/orders", post(take_order))
        .route("/orders/{number}", get(show_order))
        .with_state((engine.clone(), pool));
    Ok((router, engine))
}

async fn take_order(State((engine, pool)): Shop, Json(order): Json<Order>) -> Answer {
    let mut client = pool.get().await.map_err(refuse)?;
    let tx = client.transaction().await.map_err(refuse)?;
    let request = StartRequest::new("shop_order").input(&order);
    let run = engine.start_in(&tx, request).await.map_err(refuse)?;
    let insert = "INSERT INTO shop_orders (number, quantity, workflow_id) VALUES ($1, $2, $3)";
    let row = [&order.number as _, &order.quantity as _, &run.id.as_uuid() as _];
    tx.execute(insert, &row).await.map_err(refuse)?;
    tx.commit().await.map_err(refuse)?;
    Ok((StatusCode::CREATED, Json(json!({ "number": order.number, "workflow_id": run.id }))))
}

async fn show_order(State((_, pool)): Shop, Path(number): Path<String>) -> Answer {
    let client = pool.get().await.map_err(refuse)?;
    let select = "SELECT status FROM shop_orders WHERE number = $1";
    let row = client.query_opt(select, &[&number]).await.map_err(refuse)?;
    let status = row.map(|row| row.get::<_, String>(0));
    let code = if status.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok((code, Json(json!({ "number": number, "status": status }))))
}

type Shop = State<(Engine, Pool)>;
type Answer = Result<(StatusCode, Json<Value>), (StatusCode, String)>;

/// What the engine or the table's constraints refuse is the client's fault, all else is ours.
fn refuse(error: impl StdError + 'static) -> (StatusCode, String) {
    let any = &error as &dyn StdError;
    let sql = any.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
    let code = match (sql, any.downcast_ref()) {
        (Some(&SqlState::UNIQUE_VIOLATION), _) => StatusCode::CONFLICT,
        (Some(&SqlState::CHECK_VIOLATION), _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, Some(oms_engine::Error::InvalidInput { .. })) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, format!("{}\n", error.source().unwrap_or(any)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let database = Postgres::builder().database().await?;
    let (router, engine) = shop(database.url()).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let at = format!("http://{}/orders", listener.local_addr()?);
    println!("Takes orders at {at} until Ctrl-C. Try:");
    println!(r#"  curl {at} --json '{{"number": "A-1", "quantity": 2}}' && curl {at}/A-1"#);
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
