//! The five tasks of an order on their real tables, with a gateway and a carrier that answer at
//! once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, Pool};
use oms_engine::tokio_postgres::NoTls;
use oms_engine::{Engine, StartRequest};
use oms_tasks::ports::{
    BookingAnswer, BookingRequest, CancelAnswer, CancelRequest, Carrier, ChargeAnswer,
    ChargeRequest, PaymentGateway, PortError, RefundAnswer, RefundRequest,
};
use oms_tasks::{OrderTasks, definitions};

use super::linear::{RATE, beside, until_empty};
use super::{GRACE, Measured};
use crate::bench::Bench;
use crate::limit::{self, Shape};
use crate::measure::figures::{figure, value};
use crate::measure::linear::Line;
use crate::measure::orders::{DAY, check, open_shop, order};
use crate::measure::place::{Begun, Database, connect};
use crate::measure::{check as checks, float};

/// Connections of bare SQL, of the engine's transactional tasks, and of those who call a port.
const CONNECTIONS: usize = 16;
/// The orders of a batch of the engine.
const BATCH: usize = 100;
/// How bare SQL may take orders that go together.
const SHAPES: [Shape; 6] = [
    Shape { connections: 4, batch: 100 },
    Shape { connections: 4, batch: 300 },
    Shape { connections: 8, batch: 100 },
    Shape { connections: 8, batch: 300 },
    Shape { connections: CONNECTIONS, batch: 30 },
    Shape { connections: CONNECTIONS, batch: 100 },
];
/// How long the engine's orders wait for a full batch: those who call a port come back one by one.
const WAIT: Duration = Duration::from_millis(25);
/// Tasks of the engine at once.
const AT_ONCE: usize = 1_000;
/// The tasks that do many at once.
const TOGETHER: [&str; 3] = ["order_acknowledgement", "stock_booking", "notification"];
const ORDERS: Line = Line {
    name: "order_fulfilment",
    steps: &[
        "order_acknowledgement",
        "payment_processing",
        "stock_booking",
        "delivery_scheduling",
        "notification",
    ],
};

/// Each transactional task in a transaction of its own, against the same statements without an engine.
pub(super) async fn single(bench: &Bench, turn: usize) -> Measured {
    let shape = Shape { connections: CONNECTIONS, batch: 1 };
    beside_bare(bench, turn, (bench.size(200, 3_000), 1), shape).await
}

/// Many in one transaction; what has to ask a gateway or a carrier, one by one.
pub(super) async fn batch(bench: &Bench, turn: usize) -> Measured {
    let tried = bench.size(500, 3_000);
    let rate = async |shape| {
        let figures = bench.alone(async |database| bare(database, tried, shape).await).await?;
        Ok(value(&figures, RATE))
    };
    let shape = bench.shape_of_orders(&SHAPES, rate).await?;
    beside_bare(bench, turn, (bench.size(1_000, 10_000), BATCH), shape).await
}

async fn beside_bare(
    bench: &Bench,
    turn: usize,
    (orders, batch): (usize, usize),
    shape: Shape,
) -> Measured {
    let (ours, theirs) = bench
        .in_turn(
            turn,
            async |database| engine(database, orders, batch).await,
            async |database| bare(database, orders, shape).await,
        )
        .await?;
    Ok(beside(ours, theirs))
}

async fn bare(database: &Database<'_>, orders: usize, shape: Shape) -> Measured {
    limit::migrate(database.client()).await?;
    open_shop(&mut connect(database.url()).await?, orders).await?;
    let begun = database.begin().await?;
    limit::orders::work(database.url(), orders, shape).await?;
    finish(database, &begun, orders).await
}

async fn engine(database: &Database<'_>, orders: usize, batch: usize) -> Measured {
    open_shop(&mut connect(database.url()).await?, orders).await?;
    let manager = Manager::new(database.url().parse()?, NoTls);
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    let tasks = OrderTasks { pool, gateway: Arc::new(AtOnce), carrier: Arc::new(AtOnce) };
    let builder = Engine::builder(database.url()).migrate().transactional_pool_size(CONNECTIONS);
    // One pump makes the largest batches.
    let mut builder = tasks.register(builder).concurrency(AT_ONCE).pumps(1);
    for name in TOGETHER {
        let wait = if batch == 1 { Duration::ZERO } else { WAIT };
        builder = builder.task_batch_size(name, batch).task_batch_wait(name, wait);
    }
    let engine = builder.build().await?;
    engine
        .register(&definitions::task_definitions()?, &definitions::workflow_definitions()?)
        .await?;
    let begun = database.begin().await?;
    for chunk in (0..orders).collect::<Vec<_>>().chunks(1_000) {
        let requests = chunk.iter().map(|n| StartRequest::new(ORDERS.name).input(order(*n)));
        engine.start_many(requests.collect()).await?;
    }
    until_empty(database).await?;
    let figures = finish(database, &begun, orders).await?;
    engine.shutdown(GRACE).await;
    Ok(figures)
}

async fn finish(database: &Database<'_>, begun: &Begun, orders: usize) -> Measured {
    let used = database.used(begun, float(orders * ORDERS.steps.len())).await?;
    let mut figures = vec![(figure(RATE, "/s"), float(orders) / used.seconds)];
    figures.extend(used.figures());
    figures.extend(checks::durations(database.client(), ORDERS).await?);
    check(database.client(), orders).await?;
    Ok(figures)
}

/// A gateway and a carrier.
#[derive(Debug)]
struct AtOnce;

#[async_trait]
impl PaymentGateway for AtOnce {
    async fn charge(&self, request: &ChargeRequest) -> Result<ChargeAnswer, PortError> {
        Ok(ChargeAnswer::Charged { charge_id: format!("ch_{}", request.order_id) })
    }

    async fn refund(&self, _: &RefundRequest) -> Result<RefundAnswer, PortError> {
        Ok(RefundAnswer::NothingCharged)
    }
}

#[async_trait]
impl Carrier for AtOnce {
    async fn book(&self, request: &BookingRequest) -> Result<BookingAnswer, PortError> {
        let tracking_number = format!("tr_{}", request.order_id);
        Ok(BookingAnswer::Booked { tracking_number, delivery_date: DAY })
    }

    async fn cancel(&self, _: &CancelRequest) -> Result<CancelAnswer, PortError> {
        Ok(CancelAnswer::NothingBooked)
    }
}
