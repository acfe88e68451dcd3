//! The branches of dynamic forks on a run's page, over HTTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::running::{Running, server};

/// A run with a dynamic fork that has opened so many branches.
fn spread(server: &Running, branches: usize) -> String {
    let fork = json!({"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN_DYNAMIC",
        "dynamicForkTasksParam": "tasks", "dynamicForkTasksInputParamName": "inputs",
        "inputParameters": {"tasks": "${workflow.input.tasks}", "inputs": {}}});
    let join = json!({"name": "join", "taskReferenceName": "join", "type": "JOIN", "joinOn": []});
    let def = json!({"name": "spread", "version": 1, "tasks": [fork, join]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let branch =
        |n| json!({"name": "resize", "taskReferenceName": format!("<i>{n}"), "type": "SIMPLE"});
    let tasks: Vec<Value> = (0..branches).map(branch).collect();
    let start = json!({"name": "spread", "input": {"tasks": tasks}});
    server.post("/api/workflow", &start).expect(200).text
}

fn end(server: &Running, run: &str, name: &str, status: &str) {
    let begun = Instant::now();
    // The engine opens them a moment after the start.
    let task = loop {
        let shown = server.run(run);
        let tasks = shown["tasks"].as_array().unwrap();
        if let Some(task) = tasks.iter().find(|task| task["referenceTaskName"] == json!(name)) {
            break task["taskId"].clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{name} is not in {shown}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let result = json!({"workflowInstanceId": run, "taskId": task, "status": status,
        "reasonForIncompletion": "no pixels"});
    server.post("/api/tasks", &result).expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_of_a_dynamic_fork_are_drawn_and_what_is_more_is_counted_by_state() {
    let (_database, server) = server().await;
    let run = spread(&server, 30);
    end(&server, &run, "<i>2", "COMPLETED");
    end(&server, &run, "<i>25", "COMPLETED");
    let browser = Browser::new(&server.url);
    let page = browser.get(&format!("/runs/{run}")).expect(200);
    page.has("<title>&lt;i&gt;2, SIMPLE, completed,");
    page.has("<title>&lt;i&gt;9, SIMPLE, queued,").has_not("<title>&lt;i&gt;10,");
    page.has("<title>and 19 more, branches, queued, fork</title>");
    page.has("<title>and 1 more, branches, completed, fork</title>").has_not("<i>2");
    // Who looks at one sees it in the picture.
    let page = browser.get(&format!("/runs/{run}?task=%3Ci%3E25")).expect(200);
    page.has("class=\"node ok chosen\"").has_not("<title>&lt;i&gt;9,");
    page.has("<title>&lt;i&gt;25, SIMPLE, completed,");
    page.has("<title>and 20 more, branches, queued, fork</title>").has_not("and 1 more");
    end(&server, &run, "<i>28", "FAILED_WITH_TERMINAL_ERROR");
    let page = browser.get(&format!("/runs/{run}")).expect(200);
    page.has("<title>&lt;i&gt;28, SIMPLE, failed for good,").has("no pixels");
    page.has("more, branches, canceled, fork</title>");
    let definition = browser.get("/definitions/spread/1").expect(200);
    definition.has("<title>fork, FORK_JOIN_DYNAMIC, fork</title>").has_not("branches,");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_data_says_of_a_fork_that_opened_nothing_is_not_drawn() {
    let (_database, server) = server().await;
    let inner = json!([{"name": "x", "taskReferenceName": "planted", "type": "SIMPLE"}]);
    let fork = json!({"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN_DYNAMIC",
        "dynamicForkTasksParam": "tasks", "dynamicForkTasksInputParamName": "inputs",
        "inputParameters": {"tasks": 7, "inputs": {}, "forkedTaskDefs": inner}});
    let join = json!({"name": "join", "taskReferenceName": "join", "type": "JOIN", "joinOn": []});
    let def = json!({"name": "spread", "version": 1, "tasks": [fork, join]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let run = server.start_workflow("spread");
    let browser = Browser::new(&server.url);
    let page = browser.get(&format!("/runs/{run}")).expect(200);
    page.has("<title>fork, FORK_JOIN_DYNAMIC, ").has_not("<title>planted");
}
