//! The tasks of version 2 that do many orders at once: what they write for many is what they write for each.

use oms_engine::TaskError;
use oms_tasks::payment::CaptureAt;
use serde_json::{Value, json};

use crate::batches::{lines, orders, without_chance};
use crate::world::{Placed, World};

/// Acknowledged, paid and reserved.
async fn prepared(world: &World, order: &Placed) {
    world.take(order, 1).await;
    let cx = order.context("payment_authorisation");
    let authorise = world.tasks.payment_authorisation(CaptureAt::default());
    world.call(authorise, &cx, order.input("payment_processing")).await.unwrap();
    let task = vec![(order.context("stock_reservation"), json!({"order_id": order.id()}))];
    let reserved = world.transact_all(world.tasks.stock_reservation(), task).await;
    assert_eq!(reserved[0].as_ref().unwrap()["status"], "RESERVED");
}

/// What each is answered, in a batch of these.
async fn all(world: &World, name: &str, orders: &[Placed]) -> Vec<Result<Value, TaskError>> {
    let tasks =
        orders.iter().map(|order| (order.context(name), json!({"order_id": order.id()}))).collect();
    match name {
        "order_confirmation" => world.transact_all(world.tasks.order_confirmation(), tasks).await,
        "order_dispatch" => world.transact_all(world.tasks.order_dispatch(), tasks).await,
        other => panic!("{other} does not do many at once"),
    }
}

fn told(answers: Vec<Result<Value, TaskError>>) -> Vec<Value> {
    answers.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_batch_writes_what_its_orders_write_one_by_one() {
    let (one_by_one, at_once) = (World::new().await, World::new().await);
    let orders = orders(&[
        lines(&[("tea", 2)]),
        lines(&[("cup", 1), ("tea", 1)]),
        lines(&[("tea", 1), ("cup", 1), ("tea", 3)]),
    ]);
    for world in [&one_by_one, &at_once] {
        for order in &orders {
            prepared(world, order).await;
        }
    }
    for name in ["order_confirmation", "order_dispatch"] {
        let mut answers = Vec::new();
        for order in &orders {
            answers.extend(told(all(&one_by_one, name, std::slice::from_ref(order)).await));
        }
        for again in ["first", "again"] {
            assert_eq!(told(all(&at_once, name, &orders).await), answers, "{name}, {again}");
        }
        for world in [&one_by_one, &at_once] {
            for order in orders.iter().filter(|_| name == "order_confirmation") {
                world.step(order, "delivery_scheduling").await.unwrap();
            }
        }
    }
    let (mut here, mut there) = (one_by_one.tables().await, at_once.tables().await);
    for tables in [&mut here, &mut there] {
        without_chance(tables);
    }
    assert_eq!(here, there);
    assert_eq!(one_by_one.status("o0").await, "COMPLETED");
}

#[tokio::test]
async fn an_order_that_is_refused_stands_in_its_place_and_keeps_no_other_from_its_answer() {
    let world = World::new().await;
    let tea = lines(&[("tea", 1)]);
    let mut orders = orders(&[tea.clone(), tea.clone(), tea]);
    for order in &orders {
        prepared(&world, order).await;
    }
    let client = world.client().await;
    let unpaid = "DELETE FROM payment_intents WHERE order_id = 'o1'";
    client.execute(unpaid, &[]).await.unwrap();
    orders.push(Placed::new("nobody's"));
    for (name, early) in [("order_confirmation", "not paid"), ("order_dispatch", "ACKNOWLEDGED")] {
        let answers = all(&world, name, &orders).await;
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{name}: {answers:?}");
        let reason = answers[1].as_ref().unwrap_err();
        assert!(reason.is_terminal() && reason.reason().contains(early), "{name}: {reason:?}");
        let reason = answers[3].as_ref().unwrap_err().reason();
        assert!(reason.contains("nobody's"), "{name}: {reason}");
        // The engine runs the good ones again without the others.
        let good = [orders[0].clone(), orders[2].clone()];
        told(all(&world, name, &good).await);
        for order in &good {
            if name == "order_confirmation" {
                world.step(order, "delivery_scheduling").await.unwrap();
            }
        }
    }
    assert_eq!(world.status("o1").await, "ACKNOWLEDGED");
    assert_eq!(world.status("o2").await, "COMPLETED");
}
