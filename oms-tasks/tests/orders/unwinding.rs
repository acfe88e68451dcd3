//! `order_unwinding`, after each prefix of the five steps.

use serde_json::{Value, json};

use crate::world::{Placed, STEPS, UNWINDING, World};

/// What must hold of an order that was unwound, by the tables and by the ledger.
async fn assert_undone(world: &World, order: &Placed) {
    let id = order.id();
    let summary = world.summary(id).await.unwrap();
    assert_eq!(summary.status, "FAILED");
    assert_eq!(summary.failure_reason.as_deref(), Some("it had to be"));
    assert_eq!(world.booked("tea").await, 0);
    let failures = summary.notifications.iter().filter(|n| n.stage == "FAILED");
    assert_eq!(failures.count(), 1);
    let totals = world.totals(id);
    assert_eq!(totals.charged_minor, totals.refunded_minor);
    assert_eq!(totals.charges, totals.refunds);
    assert_eq!(totals.bookings, totals.cancellations);
    if let Some(payment) = &summary.payment {
        assert_eq!(payment.refunded_minor, totals.refunded_minor);
        assert!(["DECLINED", "VOIDED", "REFUNDED"].contains(&payment.status.as_str()));
    }
    for delivery in &summary.deliveries {
        assert!(["REFUSED", "CANCELLED"].contains(&delivery.status.as_str()));
    }
    assert!(summary.bookings.iter().all(|b| b.status == "RELEASED"));
}

/// A retry of the unwound run, and another unwinding after it, change nothing.
async fn assert_settled(world: &World, order: &Placed) {
    let (tables, totals) = (world.tables().await, world.totals(order.id()));
    for step in STEPS {
        let reason = world.refused(order, step).await;
        assert!(reason.contains("is FAILED"), "{step}: {reason}");
    }
    world.unwind(order).await;
    let again = Placed { unwinding_id: oms_engine::WorkflowId::new(), ..order.clone() };
    world.unwind(&again).await;
    assert_eq!(world.tables().await, tables);
    assert_eq!(world.totals(order.id()), totals);
}

#[tokio::test]
async fn every_prefix_of_the_steps_is_undone() {
    for steps in 0..=STEPS.len() {
        let world = World::new().await;
        let order = Placed::new("o");
        world.take(&order, steps).await;
        for name in UNWINDING {
            let first = world.step(&order, name).await.unwrap();
            let second = world.step(&order, name).await.unwrap();
            if name != "order_closure" {
                assert_eq!(first, second, "{name} after {steps} steps");
            }
        }
        assert_undone(&world, &order).await;
        assert_settled(&world, &order).await;
    }
}

#[tokio::test]
async fn the_unwinding_tells_what_was_given_back() {
    let world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 4).await;
    let mut outputs = Vec::new();
    for name in UNWINDING {
        outputs.push(world.step(&order, name).await.unwrap());
    }
    let refund_id = outputs[3]["refund_id"].clone();
    assert!(refund_id.is_string());
    let told = [
        json!({"closed": true, "status_before": "SCHEDULED"}),
        json!({"cancelled": true}),
        json!({"pieces": 2}),
        json!({"refunded_minor": 500, "currency": "EUR", "refund_id": refund_id}),
        json!({"status": "FAILED"}),
    ];
    assert_eq!(outputs, told);
}

#[tokio::test]
async fn each_step_that_fails_for_good_is_undone() {
    for (failing, order) in [
        ("order_acknowledgement", Placed::new("o").with("/lines/0/sku", json!("tee"))),
        ("payment_processing", Placed::new("o").with("/payment/token", json!("tok_declined"))),
        ("stock_booking", Placed::new("o").with("/lines/0/quantity", json!(11))),
        (
            "delivery_scheduling",
            Placed::new("o").with("/ship_to/postal_code", json!("test_refused")),
        ),
    ] {
        let world = World::new().await;
        let steps = STEPS.iter().position(|step| *step == failing).unwrap();
        world.take(&order, steps).await;
        world.refused(&order, failing).await;
        world.unwind(&order).await;
        assert_undone(&world, &order).await;
        assert_settled(&world, &order).await;
    }
}

#[tokio::test]
async fn a_charge_or_booking_without_an_answer_is_undone_by_its_key() {
    for (field, silent, steps, closed_keys) in [
        ("/payment/token", "tok_timeout_after_charge", 1, 0),
        ("/payment/token", "tok_timeout", 1, 1),
        ("/ship_to/postal_code", "test_timeout_after_booking", 3, 0),
        ("/ship_to/postal_code", "test_timeout", 3, 1),
    ] {
        let world = World::new().await;
        let order = Placed::new("o").with(field, json!(silent));
        world.take(&order, steps).await;
        world.failed(&order, STEPS[steps]).await;
        world.unwind(&order).await;
        assert_undone(&world, &order).await;
        assert_eq!(world.totals("o").closed_keys, closed_keys, "{silent}");
        assert_settled(&world, &order).await;
    }
}

#[tokio::test]
async fn a_refused_order_is_not_fulfilled_once_the_cause_is_mended() {
    let world = World::new().await;
    let order = Placed::new("o").with("/lines/0/sku", json!("cocoa"));
    world.refused(&order, "order_acknowledgement").await;
    world.unwind(&order).await;
    world.restock("cocoa", 10, 100).await;
    let reason = world.refused(&order, "order_acknowledgement").await;
    assert!(reason.contains("is FAILED"), "{reason}");
    let summary = world.summary("o").await.unwrap();
    assert_eq!((summary.total_minor, summary.items.len()), (None, 0));
    assert_eq!(summary.notifications[0].recipient, "ada@example.com");
}

#[tokio::test]
async fn an_input_that_names_no_possible_order_leaves_nothing_to_undo() {
    let world = World::new().await;
    let before = world.tables().await;
    for id in [Value::Null, json!(5), json!(""), json!({"a": 1}), json!("x".repeat(101))] {
        let order = Placed::new("o").with("/order_id", id.clone());
        world.refused(&order, "order_acknowledgement").await;
        world.unwind(&order).await;
        assert_eq!(world.tables().await, before, "{id}");
    }
}

#[tokio::test]
async fn a_customer_who_cannot_be_told_does_not_stop_the_unwinding() {
    let world = World::new().await;
    for (i, customer) in
        [Value::Null, json!("Ada"), json!({"name": "Ada", "email": "?"})].into_iter().enumerate()
    {
        let order = Placed::new(&format!("o{i}")).with("/customer", customer);
        world.refused(&order, "order_acknowledgement").await;
        world.unwind(&order).await;
        let summary = world.summary(order.id()).await.unwrap();
        assert_eq!((summary.status.as_str(), summary.notifications.len()), ("FAILED", 0));
    }
}

#[tokio::test]
async fn an_order_that_was_not_closed_is_not_undone() {
    let world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 4).await;
    let before = world.tables().await;
    for name in &UNWINDING[1..] {
        let reason = world.refused(&order, name).await;
        assert!(reason.contains("is SCHEDULED"), "{name}: {reason}");
    }
    assert_eq!(world.tables().await, before);
    let totals = world.totals("o");
    assert_eq!((totals.refunds, totals.cancellations), (0, 0));
}

#[tokio::test]
async fn an_order_of_which_something_stands_is_not_marked_failed() {
    let world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 4).await;
    world.step(&order, "order_closure").await.unwrap();
    let reason = world.refused(&order, "order_failure").await;
    assert!(reason.ends_with("not undone: booking, delivery, payment"), "{reason}");
    assert_eq!(world.status("o").await, "UNWINDING");
}

#[tokio::test]
async fn a_closed_order_is_refused_by_each_step_before_any_effect() {
    for steps in 0..STEPS.len() {
        let world = World::new().await;
        let order = Placed::new("o");
        world.take(&order, steps).await;
        world.step(&order, "order_closure").await.unwrap();
        let (tables, totals) = (world.tables().await, world.totals("o"));
        for step in STEPS {
            let reason = world.refused(&order, step).await;
            assert!(reason.contains("is UNWINDING"), "{step}: {reason}");
        }
        assert_eq!((world.tables().await, world.totals("o")), (tables, totals));
    }
}
