//! The page's definitions, queues, engines and schedules, over HTTP.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{Browser, Page};
use crate::running::{result_of, server};

/// The queues, once they say so: they are looked at for all browsers, now and then.
async fn until(browser: &Browser, text: &str) -> Page {
    let begun = Instant::now();
    loop {
        let page = browser.get("/queues").expect(200);
        if page.text.contains(text) {
            return page;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{text} is not in {}", page.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_shown_with_their_graph_and_what_validation_says() {
    let (_database, server) = server().await;
    server.register("a/b ü", 2);
    let more = json!({"name": "a/b ü", "version": 2, "maskedFields": ["x"],
        "tasks": [{"name": "w", "taskReferenceName": "only", "type": "SIMPLE"}]});
    server.post("/api/metadata/workflow", &more).expect(200);
    let browser = Browser::new(&server.url);
    let path = "/definitions/a%2Fb%20%C3%BC";
    browser.get("/definitions").expect(200).has(&format!("href=\"{path}/1\"")).has("a/b ü");
    let page = browser.get(&format!("{path}/1")).expect(200);
    page.has("Nothing is wrong with it").has("work_1").has(&format!("{path}/2"));
    browser.get(&format!("{path}/2")).expect(200).has("Without an effect").has("maskedFields");
    let json = browser.get(&format!("{path}/1/json")).expect(200);
    assert_eq!(json.header("content-type"), "application/json");
    json.has("\"taskReferenceName\":\"work_0\"");
    browser.get(&format!("{path}/3")).expect(404);
    browser.get("/definitions/none/x").expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_engines_and_schedules_say_how_they_stand() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let browser = Browser::new(&server.url);
    browser.get("/queues").expect(200).has("Nothing waits");
    server.start_workflow("line");
    server.start_workflow("line");
    until(&browser, "data-label=\"ready\">2<").await.has("class=\"name\">work<");
    let task = server.poll();
    until(&browser, "data-label=\"with workers\">1<").await.has("data-label=\"ended a minute\">0<");
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    until(&browser, "data-label=\"ended a minute\">0.2<").await.has("over the last 5 min 00 s");
    browser.get("/engines").expect(200).has("oms-server-").has("alive</span>");
    browser.get("/schedules").expect(200).has("There is no schedule");
    let schedule = json!({"name": "<nightly>", "cronExpression": "0 0 3 * * *", "paused": true,
        "pausedReason": "<holidays>", "startWorkflowRequest": {"name": "line"}});
    server.post("/api/scheduler/schedules", &schedule).expect(200);
    let page = browser.get("/schedules").expect(200);
    page.has("&#60;nightly&#62;").has("paused</span>").has("0 0 3 * * *").has("&#60;holidays&#62;");
}
