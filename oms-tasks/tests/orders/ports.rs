//! `payment_processing` and `delivery_scheduling`, as the gateway and the carrier answer.

use serde_json::json;

use crate::world::{Placed, World, pool};

#[tokio::test]
async fn a_declined_card_fails_for_good_and_is_not_tried_again() {
    let world = World::new().await;
    let order = Placed::new("o").with("/payment/token", json!("tok_declined"));
    world.take(&order, 1).await;
    let reason = world.refused(&order, "payment_processing").await;
    assert!(reason.contains("payment declined: card_declined"), "{reason}");
    let before = world.tables().await;
    assert_eq!(world.refused(&order, "payment_processing").await, reason);
    assert_eq!(world.tables().await, before);
    let payment = world.summary("o").await.unwrap().payment.unwrap();
    assert_eq!((payment.status.as_str(), payment.refunded_minor), ("DECLINED", 0));
    let totals = world.totals("o");
    assert_eq!((totals.charge_calls, totals.charges), (1, 0));
}

#[tokio::test]
async fn a_gateway_that_times_out_after_charging_has_charged_once() {
    let world = World::new().await;
    let order = Placed::new("o").with("/payment/token", json!("tok_timeout_after_charge"));
    world.take(&order, 1).await;
    let reason = world.failed(&order, "payment_processing").await;
    assert!(reason.contains("no answer within"), "{reason}");
    let payment = world.summary("o").await.unwrap().payment.unwrap();
    assert_eq!((payment.status.as_str(), world.totals("o").charges), ("PENDING", 1));
    world.step(&order, "payment_processing").await.unwrap();
    let totals = world.totals("o");
    assert_eq!((totals.charge_calls, totals.charges, totals.charged_minor), (2, 1, 500));
    assert_eq!(world.status("o").await, "PAID");
}

#[tokio::test]
async fn a_gateway_that_fails_or_times_out_is_asked_again() {
    let world = World::new().await;
    for token in ["tok_fail_once", "tok_timeout"] {
        let order = Placed::new(token).with("/payment/token", json!(token));
        world.take(&order, 1).await;
        world.failed(&order, "payment_processing").await;
        assert_eq!(world.totals(token).charges, 0);
        world.step(&order, "payment_processing").await.unwrap();
        assert_eq!(world.totals(token).charges, 1);
    }
}

#[tokio::test]
async fn a_slow_gateway_is_waited_for() {
    let world = World::new().await;
    let order = Placed::new("o").with("/payment/token", json!("tok_slow"));
    world.take(&order, 1).await;
    world.step(&order, "payment_processing").await.unwrap();
    assert_eq!(world.totals("o").charge_calls, 1);
}

#[tokio::test]
async fn a_method_that_the_gateway_does_not_take_is_declined() {
    let world = World::new().await;
    let order = Placed::new("o").with("/payment/method", json!("barter"));
    world.take(&order, 1).await;
    let reason = world.refused(&order, "payment_processing").await;
    assert!(reason.contains("unsupported_method"), "{reason}");
}

#[tokio::test]
async fn two_attempts_at_once_charge_once_and_write_once() {
    let world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 1).await;
    let (one, two) = tokio::join!(
        world.step(&order, "payment_processing"),
        world.step(&order, "payment_processing"),
    );
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(world.totals("o").charges, 1);
    let summary = world.summary("o").await.unwrap();
    let paid = summary.notifications.iter().filter(|n| n.stage == "PAID");
    assert_eq!(paid.count(), 1);
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_is_asked_again_later() {
    let mut world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 1).await;
    world.stop_sandbox().await;
    world.failed(&order, "payment_processing").await;
    world.start_sandbox().await;
    world.step(&order, "payment_processing").await.unwrap();
    assert_eq!(world.totals("o").charges, 1);
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_tried_again_and_nobody_is_charged() {
    let mut world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 1).await;
    let reachable = std::mem::replace(&mut world.tasks.pool, pool("postgres://o@127.0.0.1:1/o", 1));
    for step in ["payment_processing", "delivery_scheduling"] {
        world.failed(&order, step).await;
    }
    world.tasks.pool = reachable;
    let totals = world.totals("o");
    assert_eq!((totals.charge_calls, totals.booking_calls), (0, 0));
    world.step(&order, "payment_processing").await.unwrap();
}

#[tokio::test]
async fn tables_that_are_migrated_under_a_running_program_do_not_fail_an_order() {
    let mut world = World::new().await;
    world.tasks.pool = pool(world.url(), 1);
    let (first, second) = (Placed::new("first"), Placed::new("second"));
    world.take(&first, 2).await;
    world.take(&second, 1).await;
    let wider = "ALTER TABLE payments ALTER COLUMN decline_code TYPE varchar(200)";
    world.client().await.batch_execute(wider).await.unwrap();
    let reason = world.failed(&second, "payment_processing").await;
    let told = "intend_payment: cached plan must not change result type, SQLSTATE 0A000";
    assert_eq!(reason, told);
    world.step(&second, "payment_processing").await.unwrap();
    assert_eq!(world.totals("second").charges, 1);
}

#[tokio::test]
async fn a_step_that_the_database_refuses_says_what_the_database_said() {
    let world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 1).await;
    world.client().await.batch_execute("DROP TABLE payments").await.unwrap();
    let reason = world.refused(&order, "payment_processing").await;
    let told = "intend_payment: relation \"payments\" does not exist, SQLSTATE 42P01";
    assert_eq!(reason, told);
}

#[tokio::test]
async fn a_client_survives_a_restart_of_its_sandbox() {
    let mut world = World::new().await;
    let order = Placed::new("o");
    world.take(&order, 2).await;
    world.stop_sandbox().await;
    world.start_sandbox().await;
    // The connection that it kept is dead; nobody is told.
    world.step(&order, "stock_booking").await.unwrap();
    world.step(&order, "delivery_scheduling").await.unwrap();
    assert_eq!(world.totals("o").bookings, 1);
}

#[tokio::test]
async fn a_refused_address_fails_for_good_and_is_not_tried_again() {
    let world = World::new().await;
    let order = Placed::new("o").with("/ship_to/postal_code", json!("test_refused"));
    world.take(&order, 3).await;
    let reason = world.refused(&order, "delivery_scheduling").await;
    assert!(reason.contains("delivery refused: address_not_served"), "{reason}");
    assert_eq!(world.refused(&order, "delivery_scheduling").await, reason);
    let totals = world.totals("o");
    assert_eq!((totals.booking_calls, totals.bookings), (1, 0));
}

#[tokio::test]
async fn a_carrier_that_fails_or_times_out_books_once() {
    let world = World::new().await;
    for place in ["test_fail_once", "test_timeout", "test_timeout_after_booking"] {
        let order = Placed::new(place).with("/ship_to/postal_code", json!(place));
        world.take(&order, 3).await;
        world.failed(&order, "delivery_scheduling").await;
        let output = world.step(&order, "delivery_scheduling").await.unwrap();
        let totals = world.totals(place);
        assert_eq!((totals.booking_calls, totals.bookings), (2, 1), "{place}");
        let delivery = &world.summary(place).await.unwrap().deliveries[0];
        assert_eq!(output["tracking_number"], json!(delivery.tracking_number));
    }
}
