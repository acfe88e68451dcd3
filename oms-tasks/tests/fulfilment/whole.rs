//! An order that goes through.

use std::sync::Arc;

use oms_engine::{StartRequest, TaskStatus, WorkflowStatus};
use oms_tasks::notifiers::MemoryNotifier;
use oms_tasks::sandbox::OrderTotals;
use oms_tasks::sender::{Sender, SenderOptions};
use serde_json::json;

use crate::common::{assert_all_ended, order, wait, with};
use crate::shop::{Shop, stages};

const STAGES: [&str; 5] = ["ACKNOWLEDGED", "PAID", "BOOKED", "SCHEDULED", "COMPLETED"];

#[tokio::test]
async fn an_order_goes_through_all_five_tasks() {
    let shop = Shop::open().await;
    let run = shop.run(&order("o", "tea", 2)).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let told: Vec<_> = run.tasks.iter().map(|task| task.reference_task_name.as_str()).collect();
    let steps = [
        "order_acknowledgement",
        "payment_processing",
        "stock_booking",
        "delivery_scheduling",
        "notification",
    ];
    assert_eq!(told, steps);
    assert!(run.tasks.iter().all(|t| t.status == TaskStatus::Completed && t.retry_count == 0));

    let order = shop.summary("o").await;
    assert_eq!((order.status.as_str(), order.total_minor), ("COMPLETED", Some(500)));
    assert_eq!(order.workflow_id.to_string(), run.workflow_id.to_string());
    assert_eq!(stages(&order), STAGES);
    let payment = order.payment.unwrap();
    assert_eq!((payment.status.as_str(), payment.amount_minor), ("CAPTURED", 500));
    assert_eq!((order.bookings[0].status.as_str(), order.bookings[0].quantity), ("BOOKED", 2));
    assert_eq!(shop.booked("tea").await, 2);
    let delivery = &order.deliveries[0];
    assert_eq!(delivery.status, "SCHEDULED");
    let output = json!({
        "order_id": "o",
        "order_status": "COMPLETED",
        "total_minor": 500,
        "currency": "EUR",
        "charge_id": payment.charge_id,
        "tracking_number": delivery.tracking_number,
    });
    assert_eq!(run.output, output);
    let totals = OrderTotals {
        charge_calls: 1,
        charges: 1,
        charged_minor: 500,
        booking_calls: 1,
        bookings: 1,
        ..OrderTotals::default()
    };
    assert_eq!(shop.totals("o"), totals);
    assert_all_ended(&shop.client).await;
}

#[tokio::test]
async fn the_stages_of_an_order_are_sent_in_their_order_and_once() {
    let shop = Shop::open().await;
    shop.run(&order("o", "tea", 1)).await;
    let notifier = Arc::new(MemoryNotifier::default());
    let pool = shop.tasks.pool.clone();
    let sender = Sender::new(pool, notifier.clone(), SenderOptions::default());
    assert_eq!(sender.send_pending().await.unwrap(), 5);
    assert_eq!(sender.send_pending().await.unwrap(), 0);
    let sent: Vec<_> = notifier.messages().into_iter().map(|m| m.message_id).collect();
    assert_eq!(sent, STAGES.map(|stage| format!("o:{stage}")));
}

#[tokio::test]
async fn a_gateway_that_times_out_after_charging_charges_once() {
    let shop = Shop::open().await;
    let input = with(order("o", "tea", 2), "/payment/token", "tok_timeout_after_charge");
    let run = shop.run(&input).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let attempts: Vec<_> = run
        .tasks
        .iter()
        .filter(|task| task.reference_task_name == "payment_processing")
        .map(|task| (task.retry_count, task.status))
        .collect();
    assert_eq!(attempts, [(0, TaskStatus::Failed), (1, TaskStatus::Completed)]);
    let totals = shop.totals("o");
    assert_eq!((totals.charge_calls, totals.charges, totals.charged_minor), (2, 1, 500));
    assert_eq!(stages(&shop.summary("o").await), STAGES);
}

#[tokio::test]
async fn an_order_that_is_placed_again_is_taken_once() {
    let shop = Shop::open().await;
    let request =
        StartRequest::new("order_fulfilment").input(order("o", "tea", 2)).idempotency_key("o");
    // As a caller does whose first answer was lost.
    let (first, second) =
        tokio::join!(shop.engine.start(request.clone()), shop.engine.start(request.clone()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.id, second.id);
    assert!(first.existed != second.existed, "one of them starts it");
    wait(&shop.engine, first.id).await;
    let third = shop.engine.start(request).await.unwrap();
    assert_eq!((third.id, third.existed), (first.id, true));
    assert_eq!((shop.totals("o").charges, shop.booked("tea").await), (1, 2));
}

/// Two runs of one order: whoever starts it without a key of its own.
#[tokio::test]
async fn a_second_run_of_an_order_leaves_the_first_one_s_alone() {
    let shop = Shop::open().await;
    let first = shop.run(&order("o", "tea", 2)).await;
    let before = shop.summary("o").await;
    let second = shop.run(&order("o", "tea", 2)).await;
    assert_eq!(second.status, WorkflowStatus::Failed);
    let reason = second.reason_for_incompletion.unwrap();
    assert!(reason.contains(&first.workflow_id.to_string()), "{reason}");
    let unwinding = wait(&shop.engine, second.failure_workflow_id.unwrap()).await;
    assert_eq!(unwinding.status, WorkflowStatus::Completed);
    assert_eq!(shop.summary("o").await, before);
    assert_eq!(shop.totals("o").refunds, 0);
}

/// As a newer version of the engine does that is rolled out beside this one.
#[tokio::test]
async fn engine_tables_that_are_migrated_under_a_running_engine_do_not_fail_an_order() {
    let shop = Shop::open().await;
    shop.run(&order("before", "tea", 1)).await;
    for change in [
        "ALTER TABLE oms_engine.open_tasks ALTER COLUMN queue TYPE varchar(300)",
        "ALTER TABLE oms_engine.workflows ALTER COLUMN correlation_id TYPE varchar(300)",
        "ALTER TABLE oms_engine.task_history ALTER COLUMN reference_name TYPE varchar(300)",
    ] {
        shop.client.batch_execute(change).await.unwrap();
        let input = with(order(change, "tea", 1), "/payment/token", "tok_fail_once");
        let run = shop.run(&with(input, "/order_id", change.split(' ').nth(2).unwrap())).await;
        assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    }
    let declined = with(order("declined", "tea", 1), "/payment/token", "tok_declined");
    let failed = shop.run(&declined).await;
    let unwinding = wait(&shop.engine, failed.failure_workflow_id.unwrap()).await;
    assert_eq!(unwinding.status, WorkflowStatus::Completed);
    assert_all_ended(&shop.client).await;
}
