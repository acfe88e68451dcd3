//! Many orders in one transaction.

use serde_json::{Value, json};

use crate::world::{Placed, World};

pub(crate) fn lines(skus: &[(&str, i32)]) -> Value {
    skus.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect()
}

/// Orders `o0`, `o1` and so on.
pub(crate) fn orders(lines_of: &[Value]) -> Vec<Placed> {
    let order =
        |(n, lines): (usize, &Value)| Placed::new(&format!("o{n}")).with("/lines", lines.clone());
    lines_of.iter().enumerate().map(order).collect()
}

/// What each is answered, in a batch of all; `Err` with the reason.
async fn all(world: &World, name: &str, orders: &[Placed]) -> Vec<Result<Value, String>> {
    let tasks = orders.iter().map(|order| (order.context(name), order.input(name))).collect();
    let answers = match name {
        "order_acknowledgement" => {
            world.transact_all(world.tasks.order_acknowledgement(), tasks).await
        }
        "stock_booking" => world.transact_all(world.tasks.stock_booking(), tasks).await,
        "notification" => world.transact_all(world.tasks.notification(), tasks).await,
        other => panic!("{other} does not do many at once"),
    };
    let told = |error: oms_engine::TaskError| {
        assert!(error.is_terminal());
        error.reason().to_owned()
    };
    answers.into_iter().map(|answer| answer.map_err(told)).collect()
}

#[tokio::test]
async fn a_batch_writes_what_its_orders_write_one_by_one() {
    let (one_by_one, at_once) = (World::new().await, World::new().await);
    let orders = orders(&[
        lines(&[("tea", 2)]),
        lines(&[("cup", 1), ("tea", 1)]),
        lines(&[("tea", 1), ("cup", 1), ("tea", 3)]),
    ]);
    for name in crate::world::STEPS {
        let mut answers = Vec::new();
        for order in &orders {
            answers.push(Ok(one_by_one.step(order, name).await.unwrap()));
        }
        if ["payment_processing", "delivery_scheduling"].contains(&name) {
            for order in &orders {
                at_once.step(order, name).await.unwrap();
            }
            continue;
        }
        assert_eq!(all(&at_once, name, &orders).await, answers, "{name}");
        assert_eq!(all(&at_once, name, &orders).await, answers, "{name}, repeated");
    }
    let (mut here, mut there) = (one_by_one.tables().await, at_once.tables().await);
    for tables in [&mut here, &mut there] {
        without_chance(tables);
    }
    assert_eq!(here, there);
}

/// Takes out of the tables what differs from run to run: times, and what the ports drew.
pub(crate) fn without_chance(tables: &mut Value) {
    for rows in tables.as_object_mut().unwrap().values_mut() {
        let rows = rows.as_array_mut().unwrap();
        for row in rows.iter_mut() {
            let row = row.as_object_mut().unwrap();
            row.retain(|column, _| {
                !column.ends_with("_at")
                    && ![
                        "notification_id",
                        "charge_id",
                        "payment_id",
                        "tracking_number",
                        "delivery_date",
                    ]
                    .contains(&column.as_str())
            });
        }
        rows.sort_by_key(Value::to_string);
    }
}

#[tokio::test]
async fn an_order_that_is_refused_stands_in_its_place_and_keeps_no_other_from_its_answer() {
    let world = World::new().await;
    let good = lines(&[("tea", 1)]);
    let mut orders = orders(&[good.clone(), good.clone(), good.clone(), good]);
    orders[1] = orders[1].clone().with("/lines/0/quantity", json!(0));
    orders[2] = orders[2].clone().with("/lines/0/sku", json!("tee"));
    let answers = all(&world, "order_acknowledgement", &orders).await;
    assert_eq!(answers[0].as_ref().unwrap()["order_id"], "o0");
    assert!(answers[1].as_ref().unwrap_err().contains("$.lines[0].quantity"), "{answers:?}");
    assert!(answers[2].as_ref().unwrap_err().contains("unknown sku tee"), "{answers:?}");
    assert_eq!(answers[3].as_ref().unwrap()["order_id"], "o3");
}

#[tokio::test]
async fn of_two_runs_with_one_order_id_in_a_batch_the_first_has_it() {
    let world = World::new().await;
    let (first, second) = (Placed::new("o"), Placed::new("o"));
    let answers = all(&world, "order_acknowledgement", &[first.clone(), second.clone()]).await;
    assert!(answers[0].is_ok(), "{answers:?}");
    let taken = answers[1].as_ref().unwrap_err();
    assert!(taken.contains(&first.workflow_id.to_string()), "{taken}");
    // A bad one does not keep a good one from it.
    let bad = second.clone().with("/lines/0/sku", json!("tee"));
    let answers = all(&world, "order_acknowledgement", &[bad, first]).await;
    assert!(answers[0].is_err() && answers[1].is_ok(), "{answers:?}");
}

#[tokio::test]
async fn where_there_is_not_enough_for_all_those_who_want_it_are_answered_that_it_is_short() {
    let world = World::new().await;
    // There are 5 cups.
    let orders =
        orders(&[lines(&[("cup", 3)]), lines(&[("tea", 4)]), lines(&[("tea", 1), ("cup", 3)])]);
    for order in &orders {
        world.take(order, 2).await;
    }
    let before = world.tables().await;
    let answers = all(&world, "stock_booking", &orders).await;
    for n in [0, 2] {
        assert!(answers[n].as_ref().unwrap_err().ends_with("out of stock: cup"), "{answers:?}");
    }
    assert_eq!(answers[1], Ok(json!({"pieces": 4})));
    assert_eq!(world.tables().await, before, "a batch with an error in it is rolled back");
    // By itself each is told what holds for it.
    assert_eq!(world.step(&orders[0], "stock_booking").await.unwrap(), json!({"pieces": 3}));
    assert!(world.refused(&orders[2], "stock_booking").await.ends_with("out of stock: cup"));
    assert_eq!((world.booked("cup").await, world.booked("tea").await), (3, 0));
}

#[tokio::test]
async fn batches_with_the_same_shelves_and_orders_in_another_order_do_not_deadlock() {
    let world = World::new().await;
    world.restock("tea", 10_000, 250).await;
    world.restock("cup", 10_000, 900).await;
    for round in 0..5 {
        let mut orders: Vec<Placed> = Vec::new();
        for n in 0..20 {
            let (first, second) = if n % 2 == 0 { ("tea", "cup") } else { ("cup", "tea") };
            let order = Placed::new(&format!("r{round}n{n}"));
            orders.push(order.with("/lines", lines(&[(first, 1), (second, 1)])));
        }
        let back: Vec<Placed> = orders.iter().rev().cloned().collect();
        let names = ["order_acknowledgement", "stock_booking"];
        for name in names {
            // Both have all of them: whoever is second finds them done.
            let (one, other) = tokio::join!(all(&world, name, &orders), all(&world, name, &back));
            for answer in one.iter().chain(&other) {
                assert!(answer.is_ok(), "{name}: {answer:?}");
            }
            if name == "order_acknowledgement" {
                for order in &orders {
                    world.step(order, "payment_processing").await.unwrap();
                }
            }
        }
    }
    assert_eq!((world.booked("tea").await, world.booked("cup").await), (100, 100));
}
