//! HTTP tasks against a server over a real socket: what is sent, what counts as what, and where
//! no definition gets to.

#[path = "../common/stand_in.rs"]
mod stand_in;

use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, Execution, HttpSettings, Signal, StartRequest, TaskDef, WorkflowDef};
use serde_json::{Value, json};
use stand_in::StandIn;

struct Setup {
    server: StandIn,
    engine: Engine,
    _database: TestDatabase,
}

/// An engine whose definitions may call the stand-in alone, by `localhost` and by its address.
async fn setup() -> Setup {
    let server = StandIn::new().await;
    let port = server.port;
    let http = HttpSettings::allow([format!("127.0.0.1:{port}"), format!("localhost:{port}")]);
    with(server, http).await
}

async fn with(server: StandIn, http: HttpSettings) -> Setup {
    let database = crate::common::database().await;
    let engine = crate::common::engine(&database).http(http).build().await.unwrap();
    Setup { server, engine, _database: database }
}

impl Setup {
    /// Runs a workflow of one HTTP task.
    async fn run(&self, request: Value) -> Execution {
        self.run_with(request, json!({})).await
    }

    async fn run_with(&self, request: Value, more: Value) -> Execution {
        let id = self.start(request, more).await;
        crate::common::wait(&self.engine, id).await
    }

    async fn start(&self, request: Value, more: Value) -> oms_engine::WorkflowId {
        let mut task = json!({
            "name": "call", "taskReferenceName": "h", "type": "HTTP",
            "inputParameters": {"http_request": request},
        });
        for (key, value) in more.as_object().unwrap() {
            task[key] = value.clone();
        }
        let def = json!({"name": "w", "version": 1, "tasks": [task]});
        let def = WorkflowDef::from_json(&def.to_string()).unwrap();
        self.engine.register_workflow(&def).await.unwrap();
        self.engine.start(StartRequest::new("w")).await.unwrap().id
    }
}

fn only(run: &Execution) -> (&str, &Value, &str) {
    let task = run.tasks.last().unwrap();
    let reason = task.reason_for_incompletion.as_deref().unwrap_or_default();
    (task.status.as_str(), &task.output_data, reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_as_it_is_written_and_the_answer_is_the_output() {
    let setup = setup().await;
    setup.server.on("/orders", [json!({
        "status": 201, "reason": "Created", "body": {"id": 7}, "headers": {"X-Trace": "t1"}, "chunked": true,
    })]);
    let run = setup
        .run(json!({
            "uri": setup.server.url("/orders?a=1 2&b=ü#part"), "method": "post", "body": {"sku": "x", "n": 2},
            "headers": {"X-Key": "secret", "X-Many": ["1", "2"], "X-Number": 5},
        }))
        .await;
    let (status, output, _) = only(&run);
    assert_eq!(status, "COMPLETED");
    let response = &output["response"];
    assert_eq!(response["statusCode"], 201);
    assert_eq!(response["reasonPhrase"], "Created");
    assert_eq!(response["body"], json!({"id": 7}));
    assert_eq!(response["headers"]["x-trace"], json!(["t1"]));
    let asked = setup.server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked[0].path, "/orders?a=1%202&b=%C3%BC");
    assert_eq!(serde_json::from_str::<Value>(&asked[0].body).unwrap(), json!({"sku": "x", "n": 2}));
    let header = |name: &str| asked[0].headers[name].as_str();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("accept"), "application/json");
    assert_eq!((header("x-key"), header("x-number")), ("secret", "5"));
    assert_eq!(header("host"), format!("127.0.0.1:{}", setup.server.port));
    let id = run.workflow_id.to_string();
    assert!(header("idempotency-key").contains(&id), "{:?}", asked[0].headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_failed_is_made_again_by_the_task_definition_with_the_same_key() {
    let setup = setup().await;
    let def: TaskDef = serde_json::from_value(json!({
        "name": "call", "retryCount": 2, "retryDelaySeconds": 0,
    }))
    .unwrap();
    setup.engine.register_task(&def).await.unwrap();
    setup.server.on(
        "/pay",
        [
            json!({"status": 500, "reason": "Oops", "body": "no luck"}),
            json!({"cut": true, "body": "half of"}),
            json!({"body": {"paid": true}}),
        ],
    );
    let request = json!({"uri": setup.server.url("/pay"), "method": "POST", "body": "plain", "contentType": "text/plain"});
    let run = setup.run(request).await;
    let statuses: Vec<&str> = run.tasks.iter().map(|task| task.status.as_str()).collect();
    assert_eq!(statuses, ["FAILED", "FAILED", "COMPLETED"]);
    let first = &run.tasks[0];
    assert_eq!(first.reason_for_incompletion.as_deref(), Some("no luck"));
    assert_eq!(first.output_data["response"]["statusCode"], 500);
    assert_eq!(first.output_data["response"]["body"], "no luck");
    let second = run.tasks[1].reason_for_incompletion.as_deref().unwrap();
    assert!(second.starts_with("Failed to invoke HTTP task due to: "), "{second}");
    let asked = setup.server.asked();
    assert_eq!(asked[0].body, "plain");
    assert_eq!(asked[0].headers["content-type"], "text/plain");
    let keys: Vec<&String> = asked.iter().map(|asked| &asked.headers["idempotency-key"]).collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_in_time_fails_the_attempt_and_closes_the_connection() {
    let setup = setup().await;
    setup.server.on("/slow", [json!({"hang": true})]);
    let request = json!({"uri": setup.server.url("/slow"), "method": "GET", "readTimeOut": 100});
    let run = setup.run(request).await;
    let (status, _, reason) = only(&run);
    assert_eq!(status, "FAILED");
    assert!(reason.contains("readTimeOut: nothing within 100 ms"), "{reason}");
    gone(&setup.server).await;
}

/// Waits until nobody is connected.
async fn gone(server: &StandIn) {
    let begun = Instant::now();
    while server.open_connections() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the connection stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_taken_away_closes_its_connection() {
    let setup = setup().await;
    setup.server.on("/slow", [json!({"hang": true})]);
    let request = json!({"uri": setup.server.url("/slow"), "method": "GET", "readTimeOut": 0});
    let id = setup.start(request, json!({})).await;
    let begun = Instant::now();
    while setup.server.open_connections() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody calls");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    setup.engine.terminate(id, "no longer").await.unwrap();
    gone(&setup.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_call_has_a_deadline_whatever_the_task_says() {
    let server = StandIn::new().await;
    server.on("/slow", [json!({"hang": true})]);
    let http = HttpSettings::allow([format!("127.0.0.1:{}", server.port)])
        .deadline(Duration::from_millis(200));
    let setup = with(server, http).await;
    let request = json!({"uri": setup.server.url("/slow"), "method": "GET", "readTimeOut": 0});
    let run = setup.run(request).await;
    assert!(only(&run).2.contains("no answer within 0.2 s"), "{:?}", only(&run));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_fails_the_task_for_good() {
    let setup = setup().await;
    setup.server.on("/huge", [json!({"bytes": 4_000_000})]);
    let run = setup.run(json!({"uri": setup.server.url("/huge"), "method": "GET"})).await;
    let (status, _, reason) = only(&run);
    assert_eq!(status, "FAILED_WITH_TERMINAL_ERROR");
    assert!(reason.contains("larger than 3145728 bytes"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_to_allowed_hosts_alone() {
    let setup = setup().await;
    let (server, port) = (&setup.server, setup.server.port);
    let to =
        |location: &str, status: u16| json!({"status": status, "headers": {"location": location}});
    server.on("/a", [to("/b?x=1", 302)]);
    server.on("/b", [to(&format!("http://localhost:{port}/c"), 307)]);
    server.on("/c", [json!({"body": {"there": true}})]);
    let headers = json!({"Authorization": "Bearer x", "X-Own": "y"});
    let request =
        json!({"uri": server.url("/a"), "method": "POST", "body": {"n": 1}, "headers": headers});
    let run = setup.run(request).await;
    assert_eq!(only(&run).1["response"]["body"], json!({"there": true}));
    let asked = server.asked();
    let lines: Vec<(&str, &str)> =
        asked.iter().map(|a| (a.method.as_str(), a.path.as_str())).collect();
    assert_eq!(lines, [("POST", "/a"), ("GET", "/b?x=1"), ("GET", "/c")]);
    assert!(asked[1].headers.contains_key("authorization"));
    assert!(!asked[2].headers.contains_key("authorization"), "it is another origin");
    assert_eq!((asked[2].body.as_str(), asked[2].headers["x-own"].as_str()), ("", "y"));

    let forbidden = [
        "http://169.254.169.254/latest".to_owned(),
        "http://10.0.0.1/".to_owned(),
        format!("http://127.0.0.1:{}/", port.wrapping_add(1)),
        format!("http://127.0.0.1:{port}@evil.example/"),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
    ];
    for location in forbidden {
        server.on("/out", [to(&location, 302)]);
        let run = setup.run(json!({"uri": server.url("/out"), "method": "GET"})).await;
        let (status, output, reason) = only(&run);
        assert_eq!(status, "FAILED_WITH_TERMINAL_ERROR", "{location}: {output}");
        assert!(reason.contains("called"), "{location}: {reason}");
    }
    server.on("/round", [to("/round", 302)]);
    let run = setup.run(json!({"uri": server.url("/round"), "method": "GET"})).await;
    assert!(only(&run).2.contains("more than 10 redirects"), "{:?}", only(&run));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_hosts_are_called_and_at_addresses_that_are_public_or_listed() {
    let server = StandIn::new().await;
    let port = server.port;
    // The name is listed, what it resolves to is not.
    let setup = with(server, HttpSettings::allow([format!("localhost:{port}")])).await;
    let table = [
        (format!("http://localhost:{port}/"), "localhost has no public address"),
        (format!("http://127.0.0.1:{port}/"), "is not among the hosts"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "is not among the hosts"),
        ("http://localhost/".to_owned(), "is not among the hosts"),
        ("http://example.com/".to_owned(), "is not among the hosts"),
        (format!("http://localhost:{port}@example.com/"), "a name and password"),
    ];
    for (uri, why) in table {
        let run = setup.run(json!({"uri": uri, "method": "GET"})).await;
        let (status, _, reason) = only(&run);
        assert_eq!(status, "FAILED_WITH_TERMINAL_ERROR", "{uri}");
        assert!(reason.contains(why), "{uri}: {reason}");
    }
    assert!(setup.server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_completes_from_outside_waits_until_it_is_told() {
    let setup = setup().await;
    let server = &setup.server;
    server.on("/start", [json!({"status": 202, "reason": "Accepted", "body": {"ticket": 1}})]);
    let request = json!({"uri": server.url("/start"), "method": "POST"});
    let id = setup.start(request, json!({"asyncComplete": true})).await;
    let begun = Instant::now();
    let waiting = loop {
        let run = setup.engine.get(id).await.unwrap();
        let task = run.tasks[0].clone();
        if task.output_data["response"]["statusCode"] == 202 {
            break task;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{task:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(waiting.status.as_str(), "IN_PROGRESS");
    setup.engine.signal(id, "h", Signal::completed(json!({"done": true}))).await.unwrap();
    let run = crate::common::wait(&setup.engine, id).await;
    assert_eq!(only(&run).0, "COMPLETED");
    // By its name the output is added to what is there.
    let output = only(&run).1;
    assert_eq!(
        (&output["done"], &output["response"]["body"]),
        (&json!(true), &json!({"ticket": 1}))
    );
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_to_be_told_times_out_by_its_task_definition() {
    let setup = setup().await;
    let def: TaskDef = serde_json::from_value(json!({
        "name": "call", "timeoutSeconds": 1, "responseTimeoutSeconds": 1, "timeoutPolicy": "RETRY",
        "retryCount": 1, "retryDelaySeconds": 0,
    }))
    .unwrap();
    setup.engine.register_task(&def).await.unwrap();
    let request =
        json!({"uri": setup.server.url("/start"), "method": "POST", "asyncComplete": true});
    let run = setup.run(request).await;
    let statuses: Vec<&str> = run.tasks.iter().map(|task| task.status.as_str()).collect();
    assert_eq!(statuses, ["TIMED_OUT", "TIMED_OUT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_off_until_it_is_switched_on_and_its_hosts_are_checked() {
    let database = crate::common::database().await;
    let engine = crate::common::engine(&database).build().await.unwrap();
    let def = json!({"name": "w", "version": 1, "tasks": [{
        "name": "h", "taskReferenceName": "h", "type": "HTTP",
        "inputParameters": {"uri": "http://example.com", "method": "GET"},
    }]});
    let def = WorkflowDef::from_json(&def.to_string()).unwrap();
    let error = engine.register_workflow(&def).await.unwrap_err().to_string();
    assert!(error.contains("$.tasks[0].type"), "{error}");
    assert!(error.contains("EngineBuilder::http"), "{error}");
    let broken = crate::common::engine(&database).http(HttpSettings::allow(["*"])).build().await;
    assert!(broken.unwrap_err().to_string().contains("too wide"));
}
