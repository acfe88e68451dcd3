//! How it stands, and how it ended.

use std::path::Path;
use std::time::Duration;

use deadpool_postgres::Pool;
use oms_engine::testkit::TestDatabase;
use oms_tasks::audit::{Audit, Finding};
use oms_tasks::sandbox::Ledger;
use serde::Serialize;

use super::{ARTICLES, Failure, Plan, article};

const STANDING: &str = "SELECT
    count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE status = 'FAILED') AS failed,
    count(*) FILTER (WHERE status = 'CANCELLED') AS cancelled,
    count(*) FILTER (WHERE status = 'ACKNOWLEDGED' AND EXISTS (
        SELECT FROM stock_reservations r
        JOIN payment_intents p ON p.order_id = r.order_id AND p.status IN ('AUTHORISED', 'CAPTURED')
        WHERE r.order_id = orders.order_id AND r.status = 'BACKORDERED')) AS waiting,
    (SELECT count(*) FROM oms_engine.workflows
     WHERE status IN (0, 1) AND name <> 'reservation_expiry') AS runs,
    (SELECT count(*) FROM notifications WHERE status = 'PENDING') AS unsent
    FROM orders";
const WAITING: &str = "SELECT o.order_id FROM orders o
    JOIN stock_reservations r ON r.order_id = o.order_id AND r.status = 'BACKORDERED'
    WHERE o.status = 'ACKNOWLEDGED'";
const SOLD: &str = "SELECT coalesce(sum(shipped), 0)::bigint, coalesce(sum(on_hand), 0)::bigint
    FROM warehouse_stock";

/// Orders by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) completed: i64,
    pub(crate) failed: i64,
    pub(crate) cancelled: i64,
    /// For pieces, and paid.
    pub(crate) waiting: i64,
    runs: i64,
    unsent: i64,
    pub(crate) kills: u64,
}

impl Standing {
    pub(crate) fn ended(&self) -> i64 {
        self.completed + self.failed + self.cancelled
    }

    pub(super) fn is_over(&self, orders: u32) -> bool {
        self.ended() == i64::from(orders) && self.runs == 0 && self.unsent == 0
    }

    pub(super) fn only_waiting(&self, orders: u32) -> bool {
        self.waiting > 0 && self.ended() + self.waiting == i64::from(orders)
    }
}

pub(super) async fn look(pool: &Pool) -> Result<Standing, Failure> {
    let row = pool.get().await?.query_one(STANDING, &[]).await?;
    Ok(Standing {
        completed: row.get("completed"),
        failed: row.get("failed"),
        cancelled: row.get("cancelled"),
        waiting: row.get("waiting"),
        runs: row.get("runs"),
        unsent: row.get("unsent"),
        kills: 0,
    })
}

pub(super) async fn waiting(pool: &Pool) -> Result<Vec<String>, Failure> {
    let rows = pool.get().await?.query(WAITING, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// How it ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Whether the books are, and no finding is below.
    pub(crate) balanced: bool,
    pub(crate) orders: u32,
    pub(crate) completed: i64,
    pub(crate) failed: i64,
    pub(crate) cancelled: i64,
    pub(crate) kills: u64,
    pub(crate) orders_per_second: f64,
    pub(crate) seconds: f64,
    pub(crate) pieces: u32,
    pub(crate) pieces_shipped: i64,
    pub(crate) pieces_left: i64,
    /// What the gateway says, in minor units.
    pub(crate) authorised_minor: i64,
    pub(crate) captured_minor: i64,
    pub(crate) given_back_minor: i64,
    pub(crate) findings: Vec<Finding>,
}

/// Holds the books to the ledger.
pub(super) async fn settle(
    plan: &Plan,
    database: &TestDatabase,
    ledger: &Path,
    standing: Standing,
    took: Duration,
) -> Result<Report, Failure> {
    let client = database.connect().await?;
    let witness = Ledger::read(ledger)?.by_order();
    let mut sums = (0, 0, 0);
    for told in witness.values() {
        sums.0 += told.authorised_minor;
        sums.1 += told.captured_minor;
        sums.2 += told.part_refunded_minor;
    }
    let mut audit = Audit::default();
    audit.witness = Some(witness);
    audit.came_in = (0..ARTICLES).map(|n| (article(n), plan.per_article())).collect();
    let findings = audit.run(&client).await?;
    let sold = client.query_one(SOLD, &[]).await?;
    let seconds = took.as_secs_f64();
    Ok(Report {
        balanced: findings.is_empty(),
        orders: plan.orders,
        completed: standing.completed,
        failed: standing.failed,
        cancelled: standing.cancelled,
        kills: standing.kills,
        orders_per_second: f64::from(plan.orders) / seconds,
        seconds,
        pieces: plan.pieces,
        pieces_shipped: sold.get(0),
        pieces_left: sold.get(1),
        authorised_minor: sums.0,
        captured_minor: sums.1,
        given_back_minor: sums.2,
        findings,
    })
}
