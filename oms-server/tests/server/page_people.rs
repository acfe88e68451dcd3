//! Who looks at the page, and who did what it shows.

use std::time::Duration;

use oms_engine::Engine;
use oms_engine::testkit::TestDatabase;
use serde_json::json;

use crate::access::Key;
use crate::browser::Browser;
use crate::running::{Running, server};

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_renewed_on_use_before_it_runs_out() {
    let database = TestDatabase::migrated().await.unwrap();
    let reader = Key::create(&database, "read");
    let server = Running::start(database.url(), &[]);
    let mut browser = Browser::new(&server.url);
    browser.sign_in(&reader).expect(303);
    assert_eq!(browser.get("/").expect(200).header("set-cookie"), "");
    drop(server);
    // Half an hour later.
    let client = database.connect().await.unwrap();
    let later = "UPDATE oms_engine.api_tokens SET expires_at = expires_at - interval '40 minutes'";
    client.batch_execute(later).await.unwrap();
    let server = Running::start(database.url(), &[]);
    let mut later = Browser::new(&server.url);
    later.cookie.clone_from(&browser.cookie);
    let page = later.get("/").expect(200);
    let cookie = page.header("set-cookie");
    assert!(cookie.contains("; Max-Age=3600;") && cookie.contains("; HttpOnly"), "{cookie}");
    let renewed = cookie.split(';').next().unwrap().to_owned();
    assert_ne!(Some(&renewed), later.cookie.as_ref());
    // One that was altered is none of this server's.
    later.cookie = Some(format!("{renewed}9"));
    later.get("/").expect(303);
    later.cookie = Some(renewed);
    assert_eq!(later.get("/").expect(200).header("set-cookie"), "");
    client.batch_execute("UPDATE oms_engine.api_keys SET revoked_at = now()").await.unwrap();
    drop(server);
    let server = Running::start(database.url(), &[]);
    let mut last = Browser::new(&server.url);
    last.cookie = later.cookie;
    last.get("/").expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_over_the_api_is_recorded_with_who_did_it() {
    let (database, server) = server().await;
    server.register("line", 2);
    let id = server.start_workflow("line");
    server.put(&format!("/api/workflow/{id}/pause"), &json!(null)).expect(200);
    server.put("/api/workflow/bulk/resume", &json!([id])).expect(200);
    let skipped = format!("/api/workflow/{id}/skiptask/work_1");
    server.put(&skipped, &json!({})).expect(200);
    server.delete(&format!("/api/workflow/{id}?reason=no+more")).expect(200);
    let browser = Browser::new(&server.url);
    let page = browser.get(&format!("/runs/{id}")).expect(200);
    page.has("<b>pause</b>").has("by anonymous, from 127.0.0.1</span>").has("no more");
    let key = Key::create(&database, "admin");
    drop(server);
    let server = Running::start(database.url(), &[]);
    let token = key.token(&server);
    let with = [("x-authorization", token.as_str())];
    server.send_with("POST", &format!("/api/workflow/{id}/retry"), Vec::new(), &with).expect(204);
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let said = engine.operator_actions(id.parse().unwrap()).await.unwrap();
    let said: Vec<(&str, &str, &str)> =
        said.iter().map(|one| (&*one.action, &*one.operator, &*one.reason)).collect();
    let named = format!("test (key {})", key.id);
    let anonymous = "anonymous, from 127.0.0.1";
    let expected = [
        ("retry", &*named, ""),
        ("terminate", anonymous, "no more"),
        ("skip a task of", anonymous, ""),
        ("resume", anonymous, ""),
        ("pause", anonymous, ""),
    ];
    assert_eq!(said, expected);
    engine.shutdown(Duration::from_secs(5)).await;
}
