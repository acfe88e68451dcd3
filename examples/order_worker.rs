//! Runs some of the order tasks in Rust, beside workers in other languages that run the rest
//! through `oms server` on the same database.
//!
//! `cargo run --example order_worker -- --task payment_processing --task stock_booking`

#![expect(clippy::print_stdout, reason = "says what it does")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use deadpool_postgres::{Manager, Pool};
use oms_engine::{Engine, EngineBuilder};
use oms_tasks::OrderTasks;
use oms_tasks::sandbox::SandboxClient;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::NoTls;

/// Runs some of the order tasks until Ctrl-C or SIGTERM.
#[derive(Parser)]
struct Options {
    /// A task to run; can be given more than once.
    #[arg(long = "task", required = true)]
    tasks: Vec<Name>,
    /// The database of the server and of the order tables.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Where `oms-sandbox` listens.
    #[arg(long, env = "SANDBOX", default_value = "127.0.0.1:7070")]
    sandbox: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Name {
    OrderAcknowledgement,
    PaymentProcessing,
    StockBooking,
    DeliveryScheduling,
    Notification,
    OrderClosure,
    DeliveryCancellation,
    StockRelease,
    PaymentRefund,
    OrderFailure,
}

fn add(engine: EngineBuilder, tasks: &OrderTasks, name: Name) -> EngineBuilder {
    match name {
        Name::OrderAcknowledgement => {
            engine.transactional_batch_task(tasks.order_acknowledgement())
        }
        Name::PaymentProcessing => engine.task(tasks.payment_processing()),
        Name::StockBooking => engine.transactional_batch_task(tasks.stock_booking()),
        Name::DeliveryScheduling => engine.task(tasks.delivery_scheduling()),
        Name::Notification => engine.transactional_batch_task(tasks.notification()),
        Name::OrderClosure => engine.transactional_task(tasks.order_closure()),
        Name::DeliveryCancellation => engine.task(tasks.delivery_cancellation()),
        Name::StockRelease => engine.transactional_task(tasks.stock_release()),
        Name::PaymentRefund => engine.task(tasks.payment_refund()),
        Name::OrderFailure => engine.transactional_task(tasks.order_failure()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let mut term = signal(SignalKind::terminate())?;
    let client = Arc::new(SandboxClient::new(options.sandbox));
    let manager = Manager::new(options.database_url.parse()?, NoTls);
    let pool = Pool::builder(manager).max_size(16).build()?;
    let tasks = OrderTasks { pool, gateway: client.clone(), carrier: client };
    let builder = Engine::builder(&options.database_url).migrate();
    let engine = options.tasks.iter().fold(builder, |engine, name| add(engine, &tasks, *name));
    let engine = engine.build().await?;
    println!("runs {:?} until Ctrl-C", options.tasks);
    tokio::select! {
        stop = tokio::signal::ctrl_c() => stop?,
        _ = term.recv() => {}
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
