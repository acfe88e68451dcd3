//! How a server begins, ends, and is missed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::command::oms;
use crate::running::{Running, result_of, server};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_is_well_and_which_version_it_is() {
    let (_database, server) = server().await;
    for path in ["/health", "/api/health"] {
        let health = server.get(path).expect(200).json();
        assert_eq!(health["healthy"], json!(true));
    }
    assert_eq!(server.get("/api/version").expect(200).text, env!("CARGO_PKG_VERSION"));
    server.post("/api/token", &json!({"keyId": "k", "keySecret": "s"})).expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_answers_who_waits_and_leaves_tasks_with_their_workers() {
    let (database, mut first) = server().await;
    let second = Running::start(database.url(), &[]);
    first.register("line", 1);
    let ids = [first.start_workflow("line"), first.start_workflow("line")];
    let had = first.poll();
    let url = format!("{}/api/tasks/poll/batch/none?timeout=5000", first.url);
    let waiting = std::thread::spawn(move || ureq::get(&url).call().unwrap().status().as_u16());
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    assert!(first.stop("-TERM"), "it ended badly");
    assert!(begun.elapsed() < Duration::from_secs(4), "stopped after {:?}", begun.elapsed());
    assert_eq!(waiting.join().unwrap(), 200);
    second.post("/api/tasks", &result_of(&had, "COMPLETED")).expect(200);
    let next = second.poll();
    assert_ne!(next["taskId"], had["taskId"]);
    second.post("/api/tasks", &result_of(&next, "COMPLETED")).expect(200);
    for id in ids {
        let run = second.run(&id);
        assert_eq!(
            (&run["status"], &run["tasks"][0]["pollCount"]),
            (&json!("COMPLETED"), &json!(1))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_is_missed_by_nobody_who_asks_the_other_one() {
    let (database, mut first) = server().await;
    let second = Running::start(database.url(), &[]);
    first.register("line", 2);
    let id = first.start_workflow("line");
    let task = first.poll();
    assert!(!first.stop("-KILL"));
    // Whoever has the task reports it to the other one.
    let next = second.post("/api/tasks/update-v2", &result_of(&task, "COMPLETED"));
    let next = if next.status == 200 { next.json() } else { second.poll() };
    second.post("/api/tasks", &result_of(&next, "COMPLETED")).expect(200);
    assert_eq!(second.run(&id)["status"], json!("COMPLETED"));
}

#[test]
fn what_it_cannot_do_it_says_in_a_line() {
    let unreachable = ["server", "--port", "0", "--database-url", "postgres://127.0.0.1:1/x"];
    let said = oms(&unreachable).expect(6);
    assert!(said.err.contains("cannot connect to PostgreSQL at 127.0.0.1:1/x"), "{said:?}");
    let said = oms(&["server", "--port", "many"]).expect(2);
    assert!(said.err.contains("--port"), "{said:?}");
}
