//! A worker that outlives its lease and reports late: it is stopped in the middle of a step,
//! another one takes the order to its end, and it goes on.

use std::time::Duration;

use oms_engine::{StartRequest, WorkflowId, WorkflowStatus};
use serde_json::json;

use crate::common::worker::{Launch, Worker};
use crate::common::{assert_all_ended, order, until, wait, with};
use crate::shop::{Shop, stages};

/// After so long a silence a worker is taken for dead.
const LIMIT: Duration = Duration::from_secs(1);

/// An order, and the worker that was stopped while it waited for a port.
struct Stopped {
    shop: Shop,
    launch: Launch,
    late: Worker,
    id: WorkflowId,
}

impl Stopped {
    /// Slow is half a second: on a busy machine the worker can be through before it is stopped.
    async fn when(in_the_middle: &str, pointer: &str, slow: &str) -> Self {
        let mut tries = 0;
        loop {
            let stopped = Self::at(in_the_middle, pointer, slow).await;
            let row = stopped.shop.client.query_one(in_the_middle, &[]).await.unwrap();
            if row.get(0) {
                return stopped;
            }
            tries += 1;
            assert!(tries < 10, "a worker that does not wait: {in_the_middle}");
        }
    }

    async fn at(in_the_middle: &str, pointer: &str, slow: &str) -> Self {
        // This process runs no task, but it notices who is silent.
        let shop = Shop::open_with(|_, _, builder| builder.heartbeat(LIMIT / 4, LIMIT)).await;
        let launch = Launch {
            url: shop.database.url().to_owned(),
            sandbox: shop.sandbox.address,
            messages: None,
            limit: LIMIT,
        };
        let late = launch.start();
        let id = shop.place(&with(order("o", "tea", 2), pointer, slow)).await;
        until(&shop.client, in_the_middle).await;
        late.signal("-STOP");
        Self { shop, launch, late, id }
    }

    /// Lets the worker go on once it was taken for dead; returns when it works in a new session.
    async fn goes_on(&self) {
        for (dead, living) in [(1, 0), (1, 1)] {
            let sessions = format!(
                "SELECT count(*) FILTER (WHERE dead_at IS NOT NULL) = {dead}
                    AND count(*) FILTER (WHERE dead_at IS NULL) = {living}
                 FROM oms_engine.sessions WHERE name = '{}'",
                self.late.name()
            );
            until(&self.shop.client, &sessions).await;
            self.late.signal("-CONT");
        }
    }
}

async fn outlives_its_lease(step: &str, in_the_middle: &str, pointer: &str, slow: &str) {
    let stopped = Stopped::when(in_the_middle, pointer, slow).await;
    let Stopped { shop, launch, late, id } = &stopped;
    let other = launch.start();
    let run = wait(&shop.engine, *id).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let (step, by_other) = (run.task(step).unwrap(), Some(other.name()));
    assert_eq!((step.poll_count, step.retry_count, &step.worker_id), (2, 0, &by_other));
    let (summary, totals) = (shop.summary("o").await, shop.totals("o"));
    assert_eq!((totals.charges, totals.bookings), (1, 1));

    stopped.goes_on().await;
    other.kill();
    let next = shop.run(&order("next", "tea", 1)).await;
    assert!(next.tasks.iter().all(|task| task.worker_id == Some(late.name())));

    assert_eq!(shop.summary("o").await, summary);
    assert_eq!(summary.status, "COMPLETED");
    assert_eq!(stages(&summary).len(), 5);
    let now = shop.totals("o");
    assert_eq!((now.charges, now.charged_minor, now.bookings), (1, 500, 1));
    assert_eq!(shop.engine.get(*id).await.unwrap().output, run.output);
    assert_eq!(shop.booked("tea").await, 3);
    assert_all_ended(&shop.client).await;
}

const CHARGES: &str = "SELECT count(*) = 1 FROM payments WHERE status = 'PENDING'";
const BOOKS: &str = "SELECT count(*) = 1 FROM delivery_schedule WHERE status = 'PENDING'";

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_of_a_charge_has_no_second_effect() {
    let late = outlives_its_lease("payment_processing", CHARGES, "/payment/token", "tok_slow");
    Box::pin(late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_of_a_delivery_has_no_second_effect() {
    let late =
        outlives_its_lease("delivery_scheduling", BOOKS, "/ship_to/postal_code", "test_slow");
    Box::pin(late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_is_reported_after_the_order_was_undone_stays_undone() {
    let stopped = Stopped::when(CHARGES, "/payment/token", "tok_slow").await;
    let Stopped { shop, launch, id, .. } = &stopped;
    shop.engine.terminate(*id, "given up").await.unwrap();
    let other = launch.start();
    let asked = json!({"order_id": "o", "workflowId": id, "reason": "given up"});
    let request = StartRequest::new("order_unwinding").input(asked);
    let unwinding = shop.engine.start(request).await.unwrap().id;
    assert_eq!(wait(&shop.engine, unwinding).await.status, WorkflowStatus::Completed);
    let before = shop.summary("o").await;

    stopped.goes_on().await;
    other.kill();
    let next = shop.run(&order("next", "tea", 1)).await;
    assert_eq!(next.status, WorkflowStatus::Completed);
    assert_eq!(shop.summary("o").await, before);
    assert_eq!(
        (before.status.as_str(), stages(&before)),
        ("FAILED", vec!["ACKNOWLEDGED", "FAILED"])
    );
    let totals = shop.totals("o");
    // It was charged and refunded, or the charge came too late to be made.
    assert_eq!((totals.charges + totals.closed_keys, totals.charges), (1, totals.refunds));
    assert_eq!(totals.charged_minor, totals.refunded_minor);
    assert_all_ended(&shop.client).await;
}
