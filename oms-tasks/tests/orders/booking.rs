//! `stock_booking`.

use oms_engine::TransactionalBatchTask as _;
use serde_json::json;
use tokio_postgres::Client;

use crate::world::{Placed, World, until_blocked};

#[tokio::test]
async fn an_order_is_booked_in_full_or_not_at_all() {
    let world = World::new().await;
    let lines = json!([{"sku": "tea", "quantity": 6}, {"sku": "cup", "quantity": 6},
                       {"sku": "tea", "quantity": 6}]);
    let order = Placed::new("o").with("/lines", lines);
    world.take(&order, 2).await;
    let before = world.tables().await;
    let reason = world.refused(&order, "stock_booking").await;
    assert!(reason.ends_with("out of stock: cup, tea"), "{reason}");
    assert_eq!(world.tables().await, before);

    world.restock("tea", 2, 250).await;
    world.restock("cup", 1, 900).await;
    world.step(&order, "stock_booking").await.unwrap();
    assert_eq!((world.booked("tea").await, world.booked("cup").await), (12, 6));
}

#[tokio::test]
async fn two_orders_race_for_the_last_piece_and_one_gets_it() {
    let world = World::new().await;
    world.restock("last", 1, 250).await;
    let order = |id| Placed::new(id).with("/lines", json!([{"sku": "last", "quantity": 1}]));
    let (first, second) = (order("first"), order("second"));
    world.take(&first, 2).await;
    world.take(&second, 2).await;

    let mut session = world.client().await;
    let tx = Client::transaction(&mut session).await.unwrap();
    let input = serde_json::from_value(first.input("stock_booking")).unwrap();
    let cx = first.context("stock_booking");
    world.tasks.stock_booking().run(&tx, vec![(cx, input)]).await.unwrap();
    let watcher = world.client().await;
    let (refused, ()) = tokio::join!(world.refused(&second, "stock_booking"), async {
        until_blocked(&watcher).await;
        tx.commit().await.unwrap();
    });
    assert!(refused.contains("out of stock: last"), "{refused}");
    assert_eq!(world.booked("last").await, 1);
    assert_eq!(world.status("first").await, "BOOKED");
    assert_eq!(world.status("second").await, "PAID");
}

#[tokio::test]
async fn the_loser_gets_the_piece_when_the_winner_rolls_back() {
    let world = World::new().await;
    world.restock("last", 1, 250).await;
    let order = |id| Placed::new(id).with("/lines", json!([{"sku": "last", "quantity": 1}]));
    let (first, second) = (order("first"), order("second"));
    world.take(&first, 2).await;
    world.take(&second, 2).await;

    let mut session = world.client().await;
    let tx = Client::transaction(&mut session).await.unwrap();
    let input = serde_json::from_value(first.input("stock_booking")).unwrap();
    let cx = first.context("stock_booking");
    world.tasks.stock_booking().run(&tx, vec![(cx, input)]).await.unwrap();
    let watcher = world.client().await;
    let (booked, ()) = tokio::join!(world.step(&second, "stock_booking"), async {
        until_blocked(&watcher).await;
        tx.rollback().await.unwrap();
    });
    assert_eq!(booked.unwrap(), json!({"pieces": 1}));
    assert_eq!(world.booked("last").await, 1);
}

#[tokio::test]
async fn an_order_that_waits_for_a_shelf_sees_what_came_before_it() {
    let world = World::new().await;
    let (first, second) = (Placed::new("first"), Placed::new("second"));
    world.take(&first, 2).await;
    world.take(&second, 2).await;
    let mut session = world.client().await;
    let tx = Client::transaction(&mut session).await.unwrap();
    let input = serde_json::from_value(first.input("stock_booking")).unwrap();
    let cx = first.context("stock_booking");
    world.tasks.stock_booking().run(&tx, vec![(cx, input)]).await.unwrap();
    let watcher = world.client().await;
    let (booked, ()) = tokio::join!(world.step(&second, "stock_booking"), async {
        until_blocked(&watcher).await;
        tx.commit().await.unwrap();
    });
    booked.unwrap();
    assert_eq!(world.booked("tea").await, 4);
}

#[tokio::test]
async fn orders_with_the_same_shelves_in_another_order_do_not_deadlock() {
    let world = World::new().await;
    world.restock("tea", 1_000, 250).await;
    world.restock("cup", 1_000, 900).await;
    let there = json!([{"sku": "tea", "quantity": 1}, {"sku": "cup", "quantity": 1}]);
    let back = json!([{"sku": "cup", "quantity": 1}, {"sku": "tea", "quantity": 1}]);
    for round in 0..10 {
        let orders = [
            Placed::new(&format!("a{round}")).with("/lines", there.clone()),
            Placed::new(&format!("b{round}")).with("/lines", back.clone()),
            Placed::new(&format!("c{round}")).with("/lines", there.clone()),
        ];
        for order in &orders {
            world.take(order, 2).await;
        }
        let [a, b, c] = &orders;
        let (a, b, c) = tokio::join!(
            world.step(a, "stock_booking"),
            world.step(b, "stock_booking"),
            world.step(c, "stock_booking"),
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok(), "round {round}");
    }
    assert_eq!((world.booked("tea").await, world.booked("cup").await), (30, 30));
}

#[tokio::test]
async fn a_shelf_that_changed_since_it_was_read_is_read_again_instead_of_failing_the_order() {
    let world = World::new().await;
    world.restock("last", 1, 250).await;
    let client = world.client().await;
    let beyond = "UPDATE warehouse_stock SET booked = on_hand + 1 WHERE sku = 'last'";
    let source = client.batch_execute(beyond).await.unwrap_err();
    assert!(oms_tasks::Error::Database { doing: "booking stock", source }.is_retryable());
    let wrong = "UPDATE inventory SET price_minor = -1 WHERE sku = 'last'";
    let source = client.batch_execute(wrong).await.unwrap_err();
    assert!(!oms_tasks::Error::Database { doing: "booking stock", source }.is_retryable());
}
