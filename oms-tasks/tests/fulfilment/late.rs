//! A worker that outlives its lease and reports late: it is stopped in the middle of a step,
//! another one takes the order to its end, and it goes on.

use std::time::Duration;

use oms_engine::WorkflowStatus;

use crate::common::worker::Launch;
use crate::common::{assert_all_ended, order, until, wait, with};
use crate::shop::{Shop, stages};

/// Stops the worker while it waits for the port; gives the order to another, and lets it go on.
async fn outlives_its_lease(step: &str, pointer: &str, slow: &str, in_the_middle: &str) {
    // This process runs no task, but it notices who is silent.
    let limit = Duration::from_secs(1);
    let shop = Shop::open_with(|_, _, builder| builder.heartbeat(limit / 4, limit)).await;
    let launch = Launch {
        url: shop.database.url().to_owned(),
        sandbox: shop.sandbox.address,
        messages: None,
        limit,
    };
    let late = launch.start();
    let id = shop.place(&with(order("o", "tea", 2), pointer, slow)).await;
    until(&shop.client, in_the_middle).await;
    late.signal("-STOP");
    let other = launch.start();
    let run = wait(&shop.engine, id).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let (step, by_other) = (run.task(step).unwrap(), Some(other.name()));
    assert_eq!((step.poll_count, step.retry_count, &step.worker_id), (2, 0, &by_other));
    let (summary, totals) = (shop.summary("o").await, shop.totals("o"));
    assert_eq!((totals.charges, totals.bookings), (1, 1));

    late.signal("-CONT");
    // It has noticed that it was taken for dead, and works on in a new session.
    let back = format!(
        "SELECT count(*) FILTER (WHERE dead_at IS NULL) = 1 AND count(*) = 2
         FROM oms_engine.sessions WHERE name = '{}'",
        late.name()
    );
    until(&shop.client, &back).await;
    other.kill();
    let next = shop.run(&order("next", "tea", 1)).await;
    assert!(next.tasks.iter().all(|task| task.worker_id == Some(late.name())));

    assert_eq!(shop.summary("o").await, summary);
    assert_eq!(summary.status, "COMPLETED");
    assert_eq!(stages(&summary).len(), 5);
    let now = shop.totals("o");
    assert_eq!((now.charges, now.charged_minor, now.bookings), (1, 500, 1));
    assert_eq!(shop.engine.get(id).await.unwrap().output, run.output);
    assert_eq!(shop.booked("tea").await, 3);
    assert_all_ended(&shop.client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_of_a_charge_has_no_second_effect() {
    let asked = "SELECT count(*) = 1 FROM payments WHERE status = 'PENDING'";
    outlives_its_lease("payment_processing", "/payment/token", "tok_slow", asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_of_a_delivery_has_no_second_effect() {
    let asked = "SELECT count(*) = 1 FROM delivery_schedule WHERE status = 'PENDING'";
    outlives_its_lease("delivery_scheduling", "/ship_to/postal_code", "test_slow", asked).await;
}
