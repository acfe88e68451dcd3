//! What carriers say of deliveries: in any order, more than once, applied once and only forward.

use chrono::{DateTime, TimeDelta, Utc};
use oms_engine::WorkflowStatus;
use oms_tasks::Error;
use oms_tasks::orders::{Orders, PlaceOptions};
use oms_tasks::shipping::DeliveryStatus::{Booked, Delivered, Dispatched, Failed, OutForDelivery};
use oms_tasks::shipping::{DeliveryStatus, DeliveryUpdated, TrackingNumber};

use crate::common::order;
use crate::shop::{Shop, stages};
use crate::v2::{happened, open, run};

/// A moment of the carrier's clock.
fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minute)
}

/// A delivery on its way, and its number.
async fn on_its_way(shop: &Shop, orders: &Orders, id: &str) -> String {
    let run = run(shop, orders, order(id, "tea", 1), &PlaceOptions::default()).await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{:?}", run.reason_for_incompletion);
    let number = shop.summary(id).await.deliveries[0].tracking_number.clone().unwrap();
    number.parse::<TrackingNumber>().unwrap();
    number
}

#[tokio::test]
async fn a_delivery_goes_on_step_by_step_and_the_customer_is_told_once_that_it_arrived() {
    let (shop, orders) = open().await;
    let number = on_its_way(&shop, &orders, "o").await;
    for (minute, status) in [Booked, Dispatched, OutForDelivery, Delivered].into_iter().enumerate()
    {
        let at = at(i64::try_from(minute).unwrap());
        for answer in [DeliveryUpdated::Applied, DeliveryUpdated::Already] {
            assert_eq!(orders.delivery_update(&number, status, at).await.unwrap(), answer);
        }
        let delivery = shop.summary("o").await.deliveries.pop().unwrap();
        assert_eq!(delivery.progress.as_deref(), Some(status.as_str()));
        assert_eq!(delivery.progress_at, Some(at));
    }
    let order = shop.summary("o").await;
    let told = stages(&order);
    assert_eq!(told.last(), Some(&"DELIVERED"));
    assert_eq!(told.iter().filter(|stage| **stage == "DELIVERED").count(), 1);
    assert!(order.notifications.last().unwrap().body.contains(" o "), "it names the order");
    let happened = happened(&order);
    assert!(happened.contains(&"DELIVERY_OUT_FOR_DELIVERY"), "{happened:?}");
}

#[tokio::test]
async fn the_customer_is_told_once_that_a_delivery_failed() {
    let (shop, orders) = open().await;
    let number = on_its_way(&shop, &orders, "o").await;
    for status in [Failed, Failed, Delivered, Dispatched, Failed] {
        orders.delivery_update(&number, status, at(1)).await.unwrap();
    }
    let order = shop.summary("o").await;
    let told = stages(&order);
    assert_eq!(told.iter().filter(|stage| **stage == "DELIVERY_FAILED").count(), 1);
    assert!(!told.contains(&"DELIVERED"));
    assert!(order.notifications.last().unwrap().body.contains(" o."), "it names the order");
}

#[tokio::test]
async fn what_comes_late_is_kept_and_changes_nothing() {
    let (shop, orders) = open().await;
    let number = on_its_way(&shop, &orders, "o").await;
    let update = async |status: DeliveryStatus, minute: i64| {
        orders.delivery_update(&number, status, at(minute)).await.unwrap()
    };
    assert_eq!(update(Delivered, 9).await, DeliveryUpdated::Applied);
    assert_eq!(update(Dispatched, 1).await, DeliveryUpdated::Behind);
    assert_eq!(update(Failed, 10).await, DeliveryUpdated::Behind);
    assert_eq!(update(Dispatched, 1).await, DeliveryUpdated::Already);
    let order = shop.summary("o").await;
    let delivery = &order.deliveries[0];
    assert_eq!(
        (delivery.progress.as_deref(), delivery.progress_at),
        (Some("DELIVERED"), Some(at(9)))
    );
    assert!(happened(&order).contains(&"DELIVERY_DISPATCHED"));
    let unknown = orders.delivery_update("RR473124829GB", Delivered, at(0)).await.unwrap_err();
    assert!(matches!(unknown, Error::DeliveryNotFound { .. }), "{unknown}");
    assert!(!unknown.is_retryable());
}

#[tokio::test]
async fn a_delivery_that_was_called_off_does_not_go_on() {
    let (shop, orders) = open().await;
    let number = on_its_way(&shop, &orders, "o").await;
    let sql = "UPDATE delivery_schedule SET status = 'CANCELLED', cancelled_at = now()";
    shop.client.batch_execute(sql).await.unwrap();
    let answer = orders.delivery_update(&number, Delivered, at(0)).await.unwrap();
    assert_eq!(answer, DeliveryUpdated::CalledOff);
    let order = shop.summary("o").await;
    assert_eq!(order.deliveries[0].progress, None);
    assert!(!stages(&order).contains(&"DELIVERED"));
}

/// All orders in which five things can be said, each said twice and at once with others.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_order_a_delivery_ends_as_far_as_was_heard() {
    let (shop, orders) = open().await;
    let number = on_its_way(&shop, &orders, "o").await;
    let mut seed = 0x2545_f491_u64;
    for round in 0..40 {
        let reset = "DELETE FROM delivery_updates; UPDATE delivery_schedule SET progress = NULL,
            progress_at = NULL; DELETE FROM notifications WHERE stage LIKE 'DELIVER%'";
        shop.client.batch_execute(reset).await.unwrap();
        let mut said: Vec<DeliveryStatus> = [DeliveryStatus::ALL, DeliveryStatus::ALL].concat();
        for place in (1..said.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            said.swap(place, usize::try_from(seed >> 33).unwrap() % (place + 1));
        }
        said.truncate(1 + round % said.len());
        let updates = said.iter().map(|status| {
            let (orders, number, status) = (orders.clone(), number.clone(), *status);
            tokio::spawn(
                async move { orders.delivery_update(&number, status, at(0)).await.unwrap() },
            )
        });
        let mut answers = Vec::new();
        for update in updates.collect::<Vec<_>>() {
            answers.push(update.await.unwrap());
        }
        let mut heard = said.clone();
        heard.sort();
        heard.dedup();
        let again = answers.iter().filter(|a| **a == DeliveryUpdated::Already).count();
        assert_eq!(again, said.len() - heard.len(), "{said:?}: {answers:?}");
        let order = shop.summary("o").await;
        let progress = order.deliveries[0].progress.clone().unwrap();
        let furthest = heard.last().unwrap().as_str();
        let ends = [Delivered.as_str(), Failed.as_str()];
        let both = heard.contains(&Delivered) && heard.contains(&Failed);
        assert!(
            progress == furthest || (both && ends.contains(&&*progress)),
            "{said:?}: {progress}"
        );
        let told = stages(&order).into_iter().filter(|stage| *stage == "DELIVERED").count();
        assert_eq!(told, usize::from(progress == "DELIVERED"), "{said:?}");
    }
}
