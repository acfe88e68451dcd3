//! `order_acknowledgement` and `notification`.

use serde_json::json;

use crate::world::{Placed, STEPS, World};

#[tokio::test]
async fn an_order_is_priced_from_the_inventory() {
    let world = World::new().await;
    let lines = json!([{"sku": "tea", "quantity": 2}, {"sku": "cup", "quantity": 1},
                       {"sku": "tea", "quantity": 1}]);
    let order = Placed::new("o").with("/lines", lines);
    let output = world.step(&order, "order_acknowledgement").await.unwrap();
    assert_eq!(output, json!({"order_id": "o", "total_minor": 1650, "currency": "EUR"}));
    let summary = world.summary("o").await.unwrap();
    assert_eq!((summary.status.as_str(), summary.total_minor), ("ACKNOWLEDGED", Some(1650)));
    assert_eq!(summary.workflow_id, order.workflow_id.as_uuid());
    let lines: Vec<_> =
        summary.items.iter().map(|i| (i.sku.as_str(), i.quantity, i.unit_price_minor)).collect();
    assert_eq!(lines, [("tea", 2, 250), ("cup", 1, 900), ("tea", 1, 250)]);
    let stages: Vec<_> = summary.notifications.iter().map(|n| n.stage.as_str()).collect();
    assert_eq!(stages, ["ACKNOWLEDGED"]);
}

#[tokio::test]
async fn a_later_price_does_not_change_an_order() {
    let world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 1).await;
    world.restock("tea", 0, 9_999).await;
    let output = world.step(&order, "order_acknowledgement").await.unwrap();
    assert_eq!(output["total_minor"], 500);
    world.step(&order, "payment_processing").await.unwrap();
    assert_eq!(world.totals("o").charged_minor, 500);
}

#[tokio::test]
async fn what_cannot_be_priced_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    world.restock("gold", 10, 9_007_199_254_740_991).await;
    let before = world.tables().await;
    let order = Placed::new("o");
    for (order, reason) in [
        (order.clone().with("/lines/0/sku", json!("tee")), "unknown sku tee"),
        (order.clone().with("/currency", json!("CHF")), "priced in another currency: tea"),
        (order.clone().with("/lines/0/sku", json!("gold")), "total exceeds"),
        (order.clone().with("/lines/0/quantity", json!(0)), "$.lines[0].quantity"),
        (order.clone().with("/lines", json!([])), "$.lines"),
        (order.clone().with("/order_id", json!("")), "$.order_id"),
        (order.clone().with("/order_id", json!("a\u{0}b")), "$.order_id"),
        (order.with("/customer", json!({"name": "Ada"})), "email"),
    ] {
        let refused = world.refused(&order, "order_acknowledgement").await;
        assert!(refused.contains(reason), "{refused}");
    }
    assert_eq!(world.tables().await, before);
}

#[tokio::test]
async fn an_order_id_belongs_to_the_workflow_that_used_it_first() {
    let world = World::new().await;
    world.take(&Placed::new("o"), 2).await;
    let before = world.tables().await;
    let second = Placed::new("o").with("/lines/0/quantity", json!(1));
    let reason = world.refused(&second, "order_acknowledgement").await;
    assert!(reason.contains("belongs to workflow"), "{reason}");
    world.unwind(&second).await;
    assert_eq!(world.tables().await, before, "another run's order was unwound");
    assert_eq!(world.totals("o").refunds, 0);
}

#[tokio::test]
async fn the_five_steps_complete_an_order() {
    let world = World::new().await;
    let order = Placed::new("o");
    for (step, status) in
        STEPS.iter().zip(["ACKNOWLEDGED", "PAID", "BOOKED", "SCHEDULED", "COMPLETED"])
    {
        world.step(&order, step).await.unwrap();
        let summary = world.summary("o").await.unwrap();
        assert_eq!(summary.status, status);
        assert_eq!(summary.notifications.last().unwrap().stage, status);
    }
    let summary = world.summary("o").await.unwrap();
    assert_eq!(summary.notifications.len(), 5);
    assert!(summary.completed_at >= summary.acknowledged_at);
    assert_eq!(summary.payment.unwrap().status, "CAPTURED");
    assert!(summary.deliveries[0].tracking_number.is_some());
    assert_eq!(world.booked("tea").await, 2);
}

#[tokio::test]
async fn a_repeated_step_gives_the_same_output_and_changes_nothing() {
    let world = World::new().await;
    let order = Placed::new("o");
    let mut outputs = Vec::new();
    for step in STEPS {
        outputs.push(world.step(&order, step).await.unwrap());
        let before = world.tables().await;
        // Also those before it, as after a restart of the run.
        for (step, first) in STEPS.iter().zip(&outputs) {
            assert_eq!(world.step(&order, step).await.unwrap(), *first, "{step}");
        }
        assert_eq!(world.tables().await, before);
    }
    let totals = world.totals("o");
    assert_eq!((totals.charges, totals.charge_calls), (1, 1));
    assert_eq!((totals.bookings, totals.booking_calls), (1, 1));
}

#[tokio::test]
async fn a_step_before_its_turn_is_refused() {
    let world = World::new().await;
    let order = Placed::new("o");
    for step in &STEPS[1..] {
        let reason = world.refused(&order, step).await;
        assert!(reason.contains("does not exist"), "{step}: {reason}");
    }
    world.take(&order, 1).await;
    let before = world.tables().await;
    for step in &STEPS[2..] {
        let reason = world.refused(&order, step).await;
        assert!(reason.contains("is ACKNOWLEDGED"), "{step}: {reason}");
    }
    assert_eq!(world.tables().await, before);
}
