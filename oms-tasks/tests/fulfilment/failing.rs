//! Each of the five steps fails for good; then an operator retries the run that was undone.

use std::sync::atomic::{AtomicBool, Ordering};

use oms_engine::{
    Execution, RetryOptions, StartRequest, TaskContext, TaskError, TransactionalBatchTask,
    WorkflowStatus,
};
use oms_tasks::notification::{self, Notification};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use crate::common::{assert_all_ended, order, stock, until, wait, with};
use crate::shop::{Shop, stages};

/// What must hold of an order that was undone, by the tables and by the ledger.
async fn assert_undone(shop: &Shop, run: &Execution) {
    let order = shop.summary("o").await;
    assert_eq!(order.status, "FAILED");
    assert_eq!(order.failure_reason, run.reason_for_incompletion);
    assert_eq!(shop.booked("tea").await, 0);
    assert!(order.bookings.iter().all(|booking| booking.status == "RELEASED"));
    let failures = stages(&order).into_iter().filter(|stage| *stage == "FAILED").count();
    assert_eq!((failures, stages(&order).contains(&"COMPLETED")), (1, false));
    let totals = shop.totals("o");
    assert_eq!((totals.charges, totals.charged_minor), (totals.refunds, totals.refunded_minor));
    assert_eq!(totals.bookings, totals.cancellations);
    if let Some(payment) = &order.payment {
        assert_eq!(payment.refunded_minor, totals.refunded_minor);
        assert!(["DECLINED", "REFUNDED"].contains(&payment.status.as_str()), "{payment:?}");
    } else {
        assert_eq!(totals.charges, 0);
    }
    for delivery in &order.deliveries {
        assert!(["REFUSED", "CANCELLED"].contains(&delivery.status.as_str()), "{delivery:?}");
    }
    assert_all_ended(&shop.client).await;
}

/// Waits for the failure workflow of a failed run.
async fn unwound(shop: &Shop, run: &Execution) -> Execution {
    assert_eq!(run.status, WorkflowStatus::Failed);
    let unwinding = wait(&shop.engine, run.failure_workflow_id.unwrap()).await;
    assert_eq!(unwinding.status, WorkflowStatus::Completed);
    assert_eq!(unwinding.output["order_status"], json!("FAILED"));
    unwinding
}

/// An operator's retry of an undone run fails, is undone once more, and has changed nothing.
async fn assert_retry_changes_nothing(shop: &Shop, run: &Execution, step: &str) {
    let (before, ledger) = (shop.summary("o").await, shop.totals("o"));
    shop.engine.retry(run.workflow_id, RetryOptions::default()).await.unwrap();
    let again = wait(&shop.engine, run.workflow_id).await;
    let attempt = again.task(step).unwrap();
    let reason = attempt.reason_for_incompletion.as_deref().unwrap();
    assert!(reason.contains("order o is FAILED"), "{step}: {reason}");
    assert_ne!(again.failure_workflow_id, run.failure_workflow_id, "an unwinding of its own");
    unwound(shop, &again).await;
    assert_eq!(shop.summary("o").await, before);
    assert_eq!(shop.totals("o"), ledger);
    assert_undone(shop, run).await;
}

/// Fails a step for good, checks that all was undone, mends the cause and retries.
async fn fails_at(step: &str, shop: &Shop, input: &Value, reason: &str) -> Execution {
    let run = shop.run(input).await;
    let failed = run.task(step).unwrap().status.as_str();
    assert_eq!(failed, "FAILED_WITH_TERMINAL_ERROR", "{step}");
    assert_eq!(run.failed_reference_task_names, [step]);
    let told = run.reason_for_incompletion.as_deref().unwrap();
    assert!(told.contains(reason), "{told}");
    let unwinding = unwound(shop, &run).await;
    assert_undone(shop, &run).await;
    for sku in ["tea", "cocoa"] {
        stock(&shop.client, sku, 100, 250).await;
    }
    Box::pin(assert_retry_changes_nothing(shop, &run, step)).await;
    unwinding
}

#[tokio::test]
async fn an_unknown_article_fails_the_acknowledgement_and_leaves_nothing() {
    let shop = Shop::open().await;
    let input = order("o", "cocoa", 1);
    let unwinding = fails_at("order_acknowledgement", &shop, &input, "unknown sku cocoa").await;
    assert_eq!(unwinding.output["refunded_minor"], json!(0));
    assert_eq!(stages(&shop.summary("o").await), ["FAILED"]);
}

#[tokio::test]
async fn a_declined_card_fails_the_payment_and_nothing_is_charged() {
    let shop = Shop::open().await;
    let input = with(order("o", "tea", 2), "/payment/token", "tok_declined");
    fails_at("payment_processing", &shop, &input, "payment declined: card_declined").await;
    assert_eq!(shop.totals("o").charges, 0);
}

#[tokio::test]
async fn an_empty_shelf_fails_the_booking_and_the_payment_is_refunded() {
    let shop = Shop::open().await;
    let input = order("o", "tea", 11);
    let unwinding = fails_at("stock_booking", &shop, &input, "out of stock: tea").await;
    assert_eq!(unwinding.output["refunded_minor"], json!(2_750));
    assert_eq!(shop.totals("o").refunded_minor, 2_750);
}

#[tokio::test]
async fn a_carrier_that_refuses_has_the_booking_released_and_the_payment_refunded() {
    let shop = Shop::open().await;
    let input = with(order("o", "tea", 2), "/ship_to/postal_code", "test_refused");
    let reason = "delivery refused: address_not_served";
    let unwinding = fails_at("delivery_scheduling", &shop, &input, reason).await;
    assert_eq!(unwinding.output["pieces_released"], json!(2));
    assert_eq!(shop.totals("o").refunded_minor, 500);
}

/// Fails for good when it runs for the first time; then it is the real one.
#[derive(Default)]
struct FailsFirst(AtomicBool);

impl TransactionalBatchTask for FailsFirst {
    const NAME: &'static str = Notification::NAME;
    type Input = notification::Input;
    type Output = notification::Output;

    async fn run(
        &self,
        tx: &Transaction<'_>,
        tasks: Vec<(TaskContext, Self::Input)>,
    ) -> Result<Vec<Result<Self::Output, TaskError>>, TaskError> {
        let outputs = Notification::default().run(tx, tasks).await?;
        if self.0.swap(true, Ordering::Relaxed) {
            return Ok(outputs);
        }
        Err(TaskError::terminal("nobody can be told"))
    }
}

#[tokio::test]
async fn a_notification_that_fails_has_everything_undone() {
    let shop = Shop::open_with(|_, tasks, builder| {
        tasks.register(builder).transactional_batch_task(FailsFirst::default())
    })
    .await;
    let input = order("o", "tea", 2);
    let unwinding = fails_at("notification", &shop, &input, "nobody can be told").await;
    assert_eq!(unwinding.output["delivery_cancelled"], json!(true));
    assert_eq!(shop.totals("o").cancellations, 1);
}

/// The order's run is given up by an operator; the unwinding is started by hand.
#[tokio::test]
async fn a_terminated_run_is_undone_by_an_unwinding_that_is_started_by_hand() {
    let shop = Shop::open().await;
    let input = with(order("o", "tea", 2), "/ship_to/postal_code", "test_timeout_after_booking");
    let id = shop.place(&input).await;
    until(&shop.client, "SELECT count(*) = 1 FROM delivery_schedule").await;
    shop.engine.terminate(id, "given up").await.unwrap();
    let asked = json!({
        "order_id": "o", "workflowId": id, "reason": "given up", "customer": input["customer"],
    });
    let request = StartRequest::new("order_unwinding").input(asked);
    let unwinding = shop.engine.start(request).await.unwrap().id;
    let unwinding = wait(&shop.engine, unwinding).await;
    assert_eq!(unwinding.status, WorkflowStatus::Completed);
    let run = shop.engine.get(id).await.unwrap();
    assert_eq!((run.status, run.failure_workflow_id), (WorkflowStatus::Terminated, None));
    assert_undone(&shop, &run).await;
    assert_eq!(shop.totals("o").refunded_minor, 500);
}

/// The operator is quicker than the unwinding: two of them undo one order side by side.
#[tokio::test]
async fn a_retry_while_the_order_is_being_undone_undoes_it_once() {
    let shop = Shop::open().await;
    let input = with(order("o", "tea", 2), "/ship_to/postal_code", "test_refused");
    let first = shop.run(&input).await;
    shop.engine.retry(first.workflow_id, RetryOptions::default()).await.unwrap();
    let second = wait(&shop.engine, first.workflow_id).await;
    assert_ne!(second.failure_workflow_id, first.failure_workflow_id);
    for run in [&first, &second] {
        Box::pin(unwound(&shop, run)).await;
    }
    let reason = shop.summary("o").await.failure_reason;
    let closed_by = [&first, &second].into_iter().find(|r| r.reason_for_incompletion == reason);
    assert_undone(&shop, closed_by.unwrap()).await;
    let totals = shop.totals("o");
    assert_eq!((totals.charges, totals.refunds, totals.bookings), (1, 1, 0));
}
