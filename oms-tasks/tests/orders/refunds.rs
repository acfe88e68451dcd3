//! Parts of payments that are given back.

use std::sync::Arc;

use serde_json::json;

use crate::payments::{assert_sound, is, reason, refund, row, step, with_card};

#[tokio::test]
async fn parts_are_given_back_once_each_and_never_more_than_was_captured() {
    let (world, order) = with_card("tok_refund_timeout_after").await;
    let early = reason(refund(&world, &order, "early", 1).await, true);
    assert_eq!(early, "order o does not exist");
    step(&world, &order, "payment_authorisation").await.unwrap();
    let early = reason(refund(&world, &order, "early", 1).await, true);
    assert!(early.contains("is AUTHORISED (payment)"), "{early}");
    step(&world, &order, "payment_capture").await.unwrap();

    reason(refund(&world, &order, "a", 200).await, false);
    let first = refund(&world, &order, "a", 200).await.unwrap();
    assert_eq!(first["refunded_minor"], 200);
    assert_eq!(refund(&world, &order, "a", 200).await.unwrap(), first);
    assert_eq!(row(&world).await, is("CAPTURED", 500, 200));
    let beyond = reason(refund(&world, &order, "b", 301).await, true);
    assert_eq!(beyond, "order o: 300 minor units can be given back, not 301");
    for wrong in [0, -5] {
        reason(refund(&world, &order, "c", wrong).await, true);
    }
    // Another amount under the same step is nothing that anybody asks for.
    let other = reason(refund(&world, &order, "a", 100).await, true);
    assert!(other.contains("another refund"), "{other}");

    reason(refund(&world, &order, "d", 300).await, false);
    refund(&world, &order, "d", 300).await.unwrap();
    assert_eq!(row(&world).await, is("REFUNDED", 500, 500));
    let told = world.totals("o");
    assert_eq!((told.part_refunds, told.part_refunded_minor), (2, 500));
    reason(refund(&world, &order, "e", 1).await, true);
    assert_sound(&world).await;
}

#[tokio::test]
async fn a_reversal_gives_back_what_parts_have_not_and_a_part_whose_answer_was_lost() {
    let (world, order) = with_card("tok_refund_timeout_after").await;
    step(&world, &order, "payment_authorisation").await.unwrap();
    step(&world, &order, "payment_capture").await.unwrap();
    reason(refund(&world, &order, "a", 120).await, false);
    // The refund of the rest is not answered either, for the first time.
    reason(step(&world, &order, "payment_reversal").await, false);
    let late = reason(refund(&world, &order, "b", 10).await, true);
    assert_eq!(late, "order o: its payment was reversed");
    let reversed = step(&world, &order, "payment_reversal").await.unwrap();
    assert_eq!(reversed, json!({"status": "REFUNDED", "refunded_minor": 500, "currency": "EUR"}));
    let told = world.totals("o");
    assert_eq!((told.part_refunds, told.part_refunded_minor), (2, 500));
    assert_sound(&world).await;
}

#[tokio::test]
async fn a_refund_that_the_gateway_refuses_is_final_and_keeps_its_amount_free() {
    let (world, order) = with_card("tok_refund_refused").await;
    step(&world, &order, "payment_authorisation").await.unwrap();
    step(&world, &order, "payment_capture").await.unwrap();
    for _ in 0..2 {
        let told = reason(refund(&world, &order, "a", 500).await, true);
        assert_eq!(told, "order o: refund refused: not_refundable");
    }
    let sql = "SELECT promised_minor FROM payment_intents";
    let promised: i64 = world.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!((promised, row(&world).await), (0, is("CAPTURED", 500, 0)));
}

#[tokio::test]
async fn many_partial_refunds_at_once_give_back_what_was_captured_and_no_more() {
    let (world, order) = with_card("tok_visa").await;
    let (world, order) = (Arc::new(world), Arc::new(order));
    step(&world, &order, "payment_authorisation").await.unwrap();
    step(&world, &order, "payment_capture").await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (world, order) = (Arc::clone(&world), Arc::clone(&order));
        // Each comes twice, at once.
        let name = format!("r{}", n / 2);
        running.spawn(async move { refund(&world, &order, &name, 90).await.is_ok() });
    }
    let made = running.join_all().await.into_iter().filter(|made| *made).count();
    assert_eq!(made, 10, "five of 90 go into 500, each asked for twice");
    assert_eq!(row(&world).await, is("CAPTURED", 500, 450));
    assert_eq!(world.totals("o").part_refunded_minor, 450);
    assert_sound(&world).await;
}
