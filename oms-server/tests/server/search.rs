//! Searches over HTTP.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::running::{Running, result_of, server};

/// As a client writes a query into an address.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

fn find(server: &Running, what: &str, query: &str, more: &str) -> Value {
    let path = format!("/api/{what}?query={}{more}", encoded(query));
    server.get(&path).expect(200).json()
}

fn refused(server: &Running, what: &str, parameters: &str) -> String {
    let answered = server.get(&format!("/api/{what}?{parameters}")).expect(400).json();
    answered["message"].as_str().unwrap().to_owned()
}

fn ids(found: &Value, key: &str) -> Vec<String> {
    let results = found["results"].as_array().unwrap();
    results.iter().map(|run| run[key].as_str().unwrap().to_owned()).collect()
}

fn start(server: &Running, name: &str, correlation_id: &str, input: &Value) -> String {
    let body = json!({"name": name, "correlationId": correlation_id, "input": input});
    server.post("/api/workflow", &body).expect(200).text
}

/// One run that completed, one that failed, one that runs; of `b` one more that runs.
fn four(server: &Running) -> [String; 4] {
    for name in ["a", "b"] {
        server.register(name, 1);
    }
    let completed = start(server, "a", "c-1", &json!({"n": 1, "customer": "Zoë_1%"}));
    server.post("/api/tasks", &result_of(&server.poll(), "COMPLETED")).expect(200);
    let failed = start(server, "a", "c-2", &json!({"n": {"deep": [1, "x"]}}));
    let mut result = result_of(&server.poll(), "FAILED_WITH_TERMINAL_ERROR");
    result["reasonForIncompletion"] = json!("no money");
    server.post("/api/tasks", &result).expect(200);
    let running = start(server, "a", "d-3", &json!({}));
    let other = start(server, "b", "d-4", &json!({}));
    [completed, failed, running, other]
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_found_by_every_field_and_all_clauses_count() {
    let (_database, server) = server().await;
    let [completed, failed, running, other] = four(&server);
    let run = |id: &String| server.run(id)["createTime"].as_i64().unwrap();
    let (second, third) = (run(&failed), run(&running));
    let all = [&other, &running, &failed, &completed];
    let checks: Vec<(String, Vec<&String>)> = vec![
        (String::new(), all.to_vec()),
        ("workflowType='a'".into(), vec![&running, &failed, &completed]),
        ("workflowType IN (b,none)".into(), vec![&other]),
        ("workflowType=*".into(), all.to_vec()),
        ("workflowType='a*' AND status=FAILED".into(), vec![&failed]),
        ("status IN (COMPLETED,FAILED)".into(), vec![&failed, &completed]),
        ("status = 'RUNNING' AND workflowType = \"a\"".into(), vec![&running]),
        ("version = 1 AND correlationId = 'c-*'".into(), vec![&failed, &completed]),
        ("version = 2".into(), vec![]),
        ("correlationId IN (c-1, d-4)".into(), vec![&other, &completed]),
        ("correlationId = '%'".into(), vec![]),
        (format!("workflowId = {failed}"), vec![&failed]),
        (format!("workflowId IN ({failed},{other},nonsense)"), vec![&other, &failed]),
        ("workflowId = nonsense".into(), vec![]),
        (format!("parentWorkflowId = {failed}"), vec![]),
        (format!("startTime > {second} AND startTime <= {third}"), vec![&running]),
        (format!("startTime < {second}"), vec![&completed]),
        ("endTime > 1".into(), vec![&failed, &completed]),
        ("endTime < 1".into(), vec![]),
    ];
    for (query, expected) in checks {
        let found = find(&server, "workflow/search", &query, "");
        let expected: Vec<String> = expected.into_iter().cloned().collect();
        assert_eq!(found["totalHits"], json!(expected.len()), "{query}");
        assert_eq!(ids(&found, "workflowId"), expected, "{query}");
        let whole = find(&server, "workflow/search-v2", &query, "");
        assert_eq!(ids(&whole, "workflowId"), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_orders_and_pages_are_heeded() {
    let (_database, server) = server().await;
    let [completed, failed, running, _] = four(&server);
    let with = |more: &str| find(&server, "workflow/search", "", more);
    let by_text = |text: &str| ids(&with(&format!("&freeText={}", encoded(text))), "workflowId");
    assert_eq!(by_text("*").len(), 4);
    assert_eq!(by_text("NO money"), [failed.as_str()]);
    assert_eq!(by_text("zoë_1%"), [completed.as_str()]);
    assert_eq!(by_text("zoë money"), Vec::<String>::new());
    assert_eq!(by_text("Customer"), [completed.as_str()]);
    let sorted = |sort: &str| ids(&with(&format!("&sort={sort}")), "correlationId");
    assert_eq!(sorted("startTime:ASC"), ["c-1", "c-2", "d-3", "d-4"]);
    assert_eq!(sorted("startTime:DESC"), ["d-4", "d-3", "c-2", "c-1"]);
    assert_eq!(sorted("correlationId:asc"), ["c-1", "c-2", "d-3", "d-4"]);
    assert_eq!(sorted("status:DESC"), ["d-4", "d-3", "c-2", "c-1"]);
    assert_eq!(sorted("workflowType:DESC"), ["d-4", "d-3", "c-2", "c-1"]);
    assert_eq!(sorted("endTime:DESC")[..2], ["c-2", "c-1"]);
    assert_eq!(sorted("endTime:ASC")[..2], ["c-1", "c-2"]);
    let page = with("&start=1&size=2");
    assert_eq!((&page["totalHits"], ids(&page, "workflowId")), (&json!(4), vec![running, failed]));
    let behind = with("&start=9");
    assert_eq!((&behind["totalHits"], ids(&behind, "workflowId").len()), (&json!(4), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_is_as_conductor_writes_it() {
    let (_database, server) = server().await;
    let [_, failed, ..] = four(&server);
    let found = find(&server, "workflow/search", &format!("workflowId={failed}"), "");
    let summary = &found["results"][0];
    let run = server.run(&failed);
    let time = |key: &str| {
        let text = summary[key].as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z') && text.contains('T'), "{text}");
    };
    ["startTime", "endTime", "updateTime"].into_iter().for_each(time);
    for (key, expected) in [
        ("input", json!("{n={deep=[1, x]}}")),
        ("inputSize", json!(17)),
        ("workflowType", json!("a")),
        ("version", json!(1)),
        ("correlationId", json!("c-2")),
        ("status", json!("FAILED")),
        ("failedReferenceTaskNames", json!("work_0")),
        ("reasonForIncompletion", run["reasonForIncompletion"].clone()),
        ("parentWorkflowId", json!("")),
        ("taskToDomain", json!({})),
        ("priority", json!(0)),
    ] {
        assert_eq!(summary[key], expected, "{key}");
    }
    let took = run["endTime"].as_i64().unwrap() - run["createTime"].as_i64().unwrap();
    assert_eq!(summary["executionTime"], json!(took));
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_found_and_so_are_runs_by_their_tasks() {
    let (_database, server) = server().await;
    let [completed, failed, running, other] = four(&server);
    let of = |id: &String| server.run(id)["tasks"][0]["taskId"].as_str().unwrap().to_owned();
    let [done, bad, open, open_too] = [&completed, &failed, &running, &other].map(of);
    let started = server.run(&completed)["tasks"][0]["startTime"].as_i64().unwrap();
    let checks: Vec<(String, Vec<&String>)> = vec![
        (String::new(), vec![&open_too, &open, &bad, &done]),
        ("taskType=work AND status=COMPLETED".into(), vec![&done]),
        ("taskDefName='wo*' AND status IN (SCHEDULED, IN_PROGRESS)".into(), vec![&open_too, &open]),
        ("taskType=other".into(), vec![]),
        ("status=FAILED_WITH_TERMINAL_ERROR".into(), vec![&bad]),
        ("workflowType=b".into(), vec![&open_too]),
        ("correlationId IN (c-2,c-1)".into(), vec![&bad, &done]),
        (format!("taskId={bad}"), vec![&bad]),
        (format!("taskId IN ({bad},{open},nonsense)"), vec![&open, &bad]),
        (format!("workflowId={running}"), vec![&open]),
        (format!("startTime={started} AND endTime>={started}"), vec![&done]),
        ("scheduledTime>1 AND updateTime>1 AND endTime<1".into(), vec![]),
    ];
    for (query, expected) in checks {
        let found = find(&server, "tasks/search", &query, "");
        let expected: Vec<String> = expected.into_iter().cloned().collect();
        assert_eq!(found["totalHits"], json!(expected.len()), "{query}");
        assert_eq!(ids(&found, "taskId"), expected, "{query}");
        let whole = find(&server, "tasks/search-v2", &query, "");
        assert_eq!(ids(&whole, "taskId"), expected, "{query}");
        let runs = find(&server, "workflow/search-by-tasks", &query, "");
        let of_tasks: Vec<&str> = expected.iter().map(|id| &id[..36]).collect();
        assert_eq!(ids(&runs, "workflowId"), of_tasks, "{query}");
        let runs = find(&server, "workflow/search-by-tasks-v2", &query, "");
        assert_eq!(ids(&runs, "workflowId"), of_tasks, "{query}");
    }
    let found = find(&server, "tasks/search", "", "&freeText=no%20money&sort=startTime:ASC");
    let summary = &found["results"][0];
    for (key, expected) in [
        ("taskId", json!(bad)),
        ("workflowId", json!(failed)),
        ("workflowType", json!("a")),
        ("correlationId", json!("c-2")),
        ("taskType", json!("work")),
        ("taskDefName", json!("work")),
        ("status", json!("FAILED_WITH_TERMINAL_ERROR")),
        ("reasonForIncompletion", json!("no money")),
        ("output", json!("{done=true}")),
    ] {
        assert_eq!(summary[key], expected, "{key}");
    }
    let set: BTreeSet<String> =
        ids(&find(&server, "tasks/search", "", "&size=2&start=1"), "taskId").into_iter().collect();
    assert_eq!(set, BTreeSet::from([open, bad]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_cannot_be_done_as_it_is_asked_is_refused() {
    let (_database, server) = server().await;
    for what in ["workflow/search", "workflow/search-v2", "tasks/search", "tasks/search-v2"] {
        let no = |query: &str| refused(&server, what, &format!("query={}", encoded(query)));
        assert!(no("nonsense").contains("has no operator behind \"nonsense\""));
        assert!(no("input.n = 1").contains("cannot search by \"input.n\", only by "));
        assert!(no("status = DONE").contains("\"DONE\", none of "));
        assert!(no("startTime > yesterday").contains("no time in epoch milliseconds"));
        assert!(no("status=FAILED OR status=COMPLETED").contains("has OR at"));
        assert!(no("workflowId=x* ").contains("cannot be searched by with *"));
        assert!(no("workflowId=x AND workflowId=y").contains("is there twice"));
        assert!(no("workflowType='a\0'").contains("NUL"));
        assert!(no(&format!("workflowType={}", "x".repeat(2_000))).contains("at most 1000"));
        assert!(refused(&server, what, "sort=startTime").contains("field:ASC"));
        assert!(refused(&server, what, "sort=input:ASC").contains("cannot sort by \"input\""));
        assert!(refused(&server, what, "size=0").contains("size"));
        assert!(refused(&server, what, "size=1001").contains("size"));
        assert!(refused(&server, what, "start=-1").contains("start"));
        assert!(refused(&server, what, "start=10000001").contains("start"));
        assert!(refused(&server, what, "freeText=%7B%7D").contains("JSON"));
    }
    assert!(refused(&server, "workflow/search", "classifier=agent").contains("classifier"));
    // What looks like SQL is a text like any other.
    let query = "workflowType=\"x'; DROP TABLE workflows; --\"";
    assert_eq!(find(&server, "workflow/search", query, "")["totalHits"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_runs_are_found_by_their_ids() {
    let (_database, server) = server().await;
    let [completed, failed, ..] = four(&server);
    let wanted = json!([completed, "none", failed]);
    let found = server.post("/api/workflow/bulk/search", &wanted).expect(200).json();
    let runs = found["bulkSuccessfulResults"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["tasks"][0]["referenceTaskName"], json!("work_0"));
    assert!(found["bulkErrorResults"]["none"].as_str().unwrap().contains("does not exist"));
    let without = server.post("/api/workflow/bulk/search?includeTasks=false", &wanted);
    assert_eq!(without.expect(200).json()["bulkSuccessfulResults"][0]["tasks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_workflows_are_left_out_where_only_the_top_is_asked_for() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let child = json!({"name": "child", "taskReferenceName": "child", "type": "SUB_WORKFLOW",
        "subWorkflowParam": {"name": "line", "version": 1}});
    let def = json!({"name": "outer", "version": 1, "schemaVersion": 2, "tasks": [child]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let outer = server.start_workflow("outer");
    server.poll();
    let of_outer = find(&server, "workflow/search", &format!("parentWorkflowId={outer}"), "");
    assert_eq!(of_outer["results"][0]["workflowType"], json!("line"));
    assert_eq!(of_outer["results"][0]["parentWorkflowId"], json!(outer));
    let top = find(&server, "workflow/search", "", "&topLevelOnly=true");
    assert_eq!(ids(&top, "workflowId"), [outer.as_str()]);
    let tasks = find(&server, "tasks/search", &format!("parentWorkflowId={outer}"), "");
    assert_eq!(
        (&tasks["totalHits"], &tasks["results"][0]["taskType"]),
        (&json!(1), &json!("work"))
    );
    let waiting = find(&server, "tasks/search", "taskType=SUB_WORKFLOW AND status=IN_PROGRESS", "");
    assert_eq!(ids(&waiting, "workflowId"), [outer]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_their_fires_are_found() {
    let (_database, server) = server().await;
    server.register("line", 1);
    for (name, cron) in [("often", "* * * * * *"), ("nightly", "0 30 2 * * *")] {
        let schedule = json!({"name": name, "cronExpression": cron, "zoneId": "UTC",
            "startWorkflowRequest": {"name": "line"}});
        server.post("/api/scheduler/schedules", &schedule).expect(200);
    }
    server.put("/api/scheduler/schedules/nightly/pause", &json!(null)).expect(200);
    let schedules = |more: &str| {
        let path = format!("/api/scheduler/schedules/search?{more}");
        ids(&server.get(&path).expect(200).json(), "name")
    };
    assert_eq!(schedules("sort=name:DESC"), ["often", "nightly"]);
    assert_eq!(schedules("paused=true"), ["nightly"]);
    assert_eq!(schedules("scheduleName=OFT&workflowName=lin"), ["often"]);
    assert_eq!(schedules("freeText=night"), ["nightly"]);
    assert_eq!(schedules("size=1&start=1&sort=name:ASC"), ["often"]);
    let begun = Instant::now();
    let fire = loop {
        let found = find(&server, "scheduler/search/executions", "scheduleName IN (often)", "");
        if found["totalHits"] != json!(0) {
            break found["results"][0].clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing fired");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((&fire["state"], &fire["workflowName"]), (&json!("EXECUTED"), &json!("line")));
    let id = fire["executionId"].as_str().unwrap();
    let query = format!("executionId={id} AND state IN (EXECUTED) AND workflowName=LINE");
    assert_eq!(find(&server, "scheduler/search/executions", &query, "")["totalHits"], json!(1));
    let none = find(&server, "scheduler/search/executions", "scheduleName=nightly", "");
    assert_eq!(none["totalHits"], json!(0));
    let no = refused(&server, "scheduler/search/executions", "query=state%3DPOLLED");
    assert!(no.contains("none of EXECUTED"), "{no}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_fires_of_an_expression_are_told() {
    let (_database, server) = server().await;
    let next = |more: &str| -> Vec<i64> {
        let path =
            format!("/api/scheduler/nextFewSchedules?cronExpression=0%200%20*%20*%20*%20*{more}");
        serde_json::from_value(server.get(&path).expect(200).json()).unwrap()
    };
    let five = next("");
    assert_eq!(five.len(), 5);
    assert!(five.windows(2).all(|two| two[1] - two[0] == 3_600_000));
    assert_eq!(next("&limit=2"), five[..2]);
    assert_eq!(next("&limit=50").len(), 5);
    assert_eq!(next(&format!("&scheduleStartTime={}", five[2]))[0], five[2]);
    assert_eq!(next(&format!("&scheduleStartTime=1&scheduleEndTime={}", five[1])), five[..2]);
    server.get("/api/scheduler/nextFewSchedules?cronExpression=often").expect(400);
    server.get("/api/scheduler/nextFewSchedules").expect(400);
}
