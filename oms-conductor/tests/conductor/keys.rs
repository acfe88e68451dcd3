//! Servers that ask for keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use oms_conductor::{Conductor, Error, Worker};
use oms_engine::WorkflowStatus;
use serde_json::json;

use crate::wire::Harm;
use crate::world::{World, until, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_comes_with_the_key_that_the_server_knows() {
    let world = World::new(2).await;
    let sql = "INSERT INTO oms_engine.api_keys (id, name, role, secret_hash)
        VALUES ('id', 'worker', 'admin', sha256('secret'))";
    world.database.connect().await.unwrap().batch_execute(sql).await.unwrap();
    let with = |secret: &str| Conductor::builder(&world.address).key("id", secret).build().unwrap();
    let wrong = with("wrong");
    // The server looks at its keys from time to time.
    let is_refused =
        async || matches!(wrong.workflow("x").await, Err(Error::Refused { status: 401, .. }));
    until("a wrong key is refused", is_refused).await;
    let worker = Worker::builder(with("secret")).poll_wait(Duration::from_millis(200));
    let worker = worker.task(work(|_| async { Ok(json!({})) }.boxed())).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    worker.stop(Duration::from_secs(5)).await;
}

/// As a managed Conductor does: the token runs out while the worker works.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_run_out_is_renewed_once_for_all_who_wait() {
    let world = World::new(10).await;
    let (given, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gives, refuses) = (given.clone(), refused.clone());
    let mut asked_with_it = 0;
    world.wire.does(move |asked| {
        if asked.path == "/api/token" {
            assert_eq!(asked.body, json!({ "keyId": "id", "keySecret": "secret" }).to_string());
            asked_with_it = 0;
            let nth = given.fetch_add(1, Ordering::SeqCst);
            let tokens = ["{\"token\": \"t0\"}", "{\"token\": \"t1\"}"];
            return Harm::Answer(200, tokens[nth % 2]);
        }
        let token = format!("t{}", (given.load(Ordering::SeqCst) + 1) % 2);
        asked_with_it += 1;
        if asked.token != Some(token) || asked_with_it > 7 {
            refused.fetch_add(1, Ordering::SeqCst);
            return Harm::Answer(401, "{\"error\": \"EXPIRED_TOKEN\"}");
        }
        Harm::None
    });
    let conductor = Conductor::builder(&world.address).key("id", "secret").build().unwrap();
    let worker = Worker::builder(conductor).poll_wait(Duration::from_millis(200));
    let worker = worker.task(work(|_| async { Ok(json!({})) }.boxed())).start().unwrap();
    let run = world.end_of(world.start().await).await;
    assert_eq!(run.status, WorkflowStatus::Completed);
    assert!(refuses.load(Ordering::SeqCst) > 0 && gives.load(Ordering::SeqCst) > 1);
    worker.stop(Duration::from_secs(5)).await;
}
