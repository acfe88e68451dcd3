//! The page, over HTTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use oms_engine::Engine;
use oms_engine::testkit::TestDatabase;
use serde_json::json;

use crate::access::Key;
use crate::browser::Browser;
use crate::running::{Running, result_of, server};

/// A run whose only task has failed for good.
fn failed(server: &Running) -> String {
    let id = server.start_workflow("line");
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "FAILED_WITH_TERMINAL_ERROR")).expect(200);
    assert_eq!(server.run(&id)["status"], json!("FAILED"));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_page_allows_nothing_from_elsewhere() {
    let (_database, server) = server().await;
    server.register("line", 2);
    let id = server.start_workflow("line");
    let browser = Browser::new(&server.url);
    let run = format!("/runs/{id}");
    let paths = [
        ("/", 200),
        (&*run, 200),
        (&*format!("{run}?task=work_1"), 200),
        (&*format!("{run}/json"), 200),
        ("/start", 200),
        ("/sign-in", 200),
        ("/runs/none", 404),
        ("/?status=NONE", 400),
        ("/page/page.css", 200),
        ("/page/page.js", 200),
        ("/page/icon.svg", 200),
        ("/page/other", 404),
    ];
    for (path, status) in paths {
        let page = browser.get(path).expect(status);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        if page.header("content-type").starts_with("text/html") {
            for inline in ["<script>", " style=", "<style", " onclick", "http://", "https://"] {
                let text = page.text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(inline), "{path}: {inline}");
            }
            assert_eq!(page.header("cache-control"), "no-store", "{path}");
        }
    }
    browser.send("HEAD", "/", "", &[]).expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_says_is_text_in_the_page() {
    let (_database, server) = server().await;
    let hostile = "</pre></details><script>alert(1)</script>\"><img src=x onerror=alert(2)>'";
    let task = json!({"name": hostile, "taskReferenceName": "a\"><u>", "type": "SIMPLE",
        "description": hostile, "inputParameters": {"x": "${workflow.input.x}"}});
    let def = json!({"name": hostile, "version": 1, "tasks": [task]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let start =
        json!({"name": hostile, "correlationId": hostile, "input": {"x": hostile, hostile: 1}});
    let id = server.post("/api/workflow", &start).expect(200).text;
    let task = server.run(&id)["tasks"][0]["taskId"].as_str().unwrap().to_owned();
    server.post(&format!("/api/tasks/{task}/log"), &json!(hostile)).expect(200);
    let result = json!({"taskId": task, "workflowInstanceId": id, "workerId": hostile,
        "status": "FAILED_WITH_TERMINAL_ERROR", "reasonForIncompletion": hostile,
        "outputData": {"out": hostile}});
    server.post("/api/tasks", &result).expect(200);
    let browser = Browser::new(&server.url);
    browser
        .post(&format!("/runs/{id}/operate"), "action=restart&reason=%3Cscript%3E&who=%3Cimg%3E")
        .expect(303);
    let paths = [
        "/".to_owned(),
        format!("/runs/{id}"),
        format!("/runs/{id}?task=a%22%3E%3Cu%3E"),
        format!("/runs/{id}?task=%3Cscript%3E"),
        "/?words=%3Cscript%3E%22%3E%3Cimg&name=%22%3E%3Cscript%3E".to_owned(),
        "/?status=%3Cscript%3E".to_owned(),
        "/sign-in?to=/%22%3E%3Cscript%3E".to_owned(),
        "/start?name=%22%3E%3Cscript%3E".to_owned(),
    ];
    for path in paths {
        let page = browser.get(&path);
        for bad in ["<script>", "<img", "<u>", "</pre></details><"] {
            page.has_not(bad);
        }
    }
    browser.get(&format!("/runs/{id}?task=a%22%3E%3Cu%3E")).has("alert(2)");
    browser.get(&format!("/runs/{id}")).has("waits for a worker in the queue");
    browser.get(&format!("/runs/{id}")).has("Where the time went").has("◆ critical");
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_fields_stay_masked_and_large_payloads_are_cut() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let server = Running::start(database.url(), &["--mask-field", "card"]);
    let task = json!({"name": "work", "taskReferenceName": "work_0", "type": "SIMPLE",
        "inputParameters": {"all": "${workflow.input}"}});
    let def = json!({"name": "line", "version": 1, "tasks": [task]});
    server.post("/api/metadata/workflow", &def).expect(200);
    let start = json!({"name": "line", "input": {
        "list": [{"card": "4111"}], "seen": "coral", "large": "x".repeat(300_000)}});
    let id = server.post("/api/workflow", &start).expect(200).text;
    let browser = Browser::new(&server.url);
    for path in [format!("/runs/{id}"), format!("/runs/{id}?task=work_0")] {
        let page = browser.get(&path).expect(200);
        page.has_not("4111").has("The beginning of 29");
        assert!(page.text.len() < 60_000, "{} bytes", page.text.len());
    }
    let whole = browser.get(&format!("/runs/{id}/json")).expect(200);
    whole.has_not("4111").has("***").has("coral").has(&"x".repeat(300_000));
    browser.get("/?words=4111").expect(200).has("No run fits");
    browser.get("/?words=coral").expect(200).has(&id);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_found_by_status_name_and_words() {
    let (_database, server) = server().await;
    server.register("line", 1);
    server.register("other", 1);
    let bad = failed(&server);
    let (good, other) = (server.start_workflow("line"), server.start_workflow("other"));
    let browser = Browser::new(&server.url);
    let fits = |path: &str| {
        let page = browser.get(path).expect(200);
        [&bad, &good, &other].map(|id| page.text.contains(&format!("<code>{id}</code>")))
    };
    assert_eq!(fits("/"), [true, true, true]);
    assert_eq!(fits("/?status=FAILED"), [true, false, false]);
    assert_eq!(fits("/?name=li*&since=1h"), [true, true, false]);
    assert_eq!(fits("/?name=other&top=1&correlation="), [false, false, true]);
    assert_eq!(fits("/?start=1"), [true, true, false]);
    assert_eq!(fits("/?words=nothing+of+that"), [false, false, false]);
    let page = browser.get(&format!("/?words={good}")).expect(303);
    assert_eq!(page.header("location"), format!("/runs/{good}"));
    browser.get("/").has("failed</span> <b>1</b>").has("running</span> <b>2</b>");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_from_the_page_is_recorded_with_who_did_it_and_why() {
    let (database, server) = server().await;
    server.register("line", 2);
    let id = failed(&server);
    let browser = Browser::new(&server.url);
    let (run, operate) = (format!("/runs/{id}"), format!("/runs/{id}/operate"));
    browser.get(&run).expect(200).has("value=\"retry\"").has_not("value=\"pause\"");
    browser.post(&operate, "action=retry&reason=+").expect(400);
    browser.post(&operate, "action=other&reason=r").expect(400);
    assert_eq!(server.run(&id)["status"], json!("FAILED"));
    let page = browser.post(&operate, "action=retry&reason=it+is+back&who=Ann").expect(303);
    assert_eq!(page.header("location"), run);
    browser.get(&run).expect(200).has("Ann (without a key)").has("it is back");
    for (form, status) in [
        ("action=pause&reason=r1", "PAUSED"),
        ("action=resume&reason=r2", "RUNNING"),
        ("action=skip&task=work_1&reason=r3&output=%7B%22s%22%3A1%7D", "RUNNING"),
    ] {
        browser.post(&operate, form).expect(303);
        assert_eq!(server.run(&id)["status"], json!(status), "{form}");
    }
    let signal = "action=complete&task=work_0&reason=r4&output=%7B%22a%22%3A1%7D";
    browser.post(&format!("/runs/{id}/signal"), signal).expect(303);
    assert_eq!(server.run(&id)["status"], json!("COMPLETED"));
    browser.post(&operate, "action=pause&reason=late").expect(409).has("ended COMPLETED");
    browser.post(&operate, "action=rerun&task=work_0&reason=r5").expect(303);
    browser.post(&operate, "action=terminate&reason=r6").expect(303);
    assert_eq!(server.run(&id)["reasonForIncompletion"], json!("r6"));
    let begun = "name=line&correlation=c1&input=%7B%22n%22%3A1%7D&reason=r7";
    let page = browser.post("/start", begun).expect(303);
    browser.get(page.header("location")).expect(200).has("r7").has("c1");
    browser.post("/start", "name=none&reason=r").expect(404);
    browser.post("/start", "name=line&reason=r&input=%5B%5D").expect(400);
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let said = engine.operator_actions(id.parse().unwrap()).await.unwrap();
    let said: Vec<(String, Option<String>, String)> =
        said.into_iter().rev().map(|one| (one.action, one.reference_name, one.reason)).collect();
    let expected = [
        ("retry", None, "it is back"),
        ("pause", None, "r1"),
        ("resume", None, "r2"),
        ("skip a task of", Some("work_1"), "r3"),
        ("signal", Some("work_0"), "r4"),
        ("rerun", Some("work_0"), "r5"),
        ("terminate", None, "r6"),
    ];
    let expected = expected.map(|(action, task, reason)| {
        (action.to_owned(), task.map(str::to_owned), reason.to_owned())
    });
    assert_eq!(said, expected);
    server.delete(&format!("/api/workflow/{id}/remove?archiveWorkflow=false")).expect(200);
    assert!(engine.operator_actions(id.parse().unwrap()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_page_of_this_server_may_act() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let browser = Browser::new(&server.url);
    let path = format!("/runs/{id}/operate");
    let own = server.url.as_str();
    for headers in [
        &[][..],
        &[("origin", "https://evil.example.com")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", own)],
        &[("sec-fetch-site", "none"), ("origin", own)],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example.com")],
    ] {
        browser.send("POST", &path, "action=pause&reason=r", headers).expect(403);
        browser.send("POST", "/start", "name=line&reason=r", headers).expect(403);
        browser.send("POST", "/sign-in", "key=a&secret=b", headers).expect(403);
    }
    assert_eq!(server.run(&id)["status"], json!("RUNNING"));
    browser.send("POST", &path, "action=pause&reason=r", &[("origin", own)]).expect(303);
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    browser.send("GET", "/", "", &link).expect(200);
    browser.send("GET", "/", "", &link[..1]).expect(403);
    let frame = [link[0], link[1], ("sec-fetch-dest", "iframe")];
    browser.send("GET", "/", "", &frame).expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_the_page_asks_for_one_and_shows_and_does_what_its_role_allows() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let (reader, admin) = (Key::create(&database, "read"), Key::create(&database, "admin"));
    let server = Running::start(database.url(), &[]);
    let token = admin.token(&server);
    let with = [("x-authorization", token.as_str())];
    let def = json!({"name": "line", "version": 1,
        "tasks": [{"name": "work", "taskReferenceName": "work_0", "type": "SIMPLE"}]});
    let def = def.to_string().into_bytes();
    server.send_with("POST", "/api/metadata/workflow", def, &with).expect(200);
    let start = json!({"name": "line"}).to_string().into_bytes();
    let id = server.send_with("POST", "/api/workflow", start, &with).expect(200).text;
    let (run, operate) = (format!("/runs/{id}"), format!("/runs/{id}/operate"));
    let mut browser = Browser::new(&server.url);
    let page = browser.get(&format!("{run}?task=work_0")).expect(303);
    let encoded = run.replace('/', "%2F");
    assert_eq!(page.header("location"), format!("/sign-in?to={encoded}%3Ftask%3Dwork_0"));
    browser.get("/live").expect(303);
    browser.post(&operate, "action=pause&reason=r").expect(401);
    browser.get("/page/page.css").expect(200);
    // A link from elsewhere comes without the cookie: it is asked for once more from here.
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    browser.send("GET", "/", "", &link).expect(200).has("http-equiv=\"refresh\"");
    let wrong = Key { id: admin.id.clone(), secret: "wrong".to_owned() };
    browser.sign_in(&wrong).expect(401).has("keyId or keySecret is wrong").has_not("wrong\"");
    let page = browser.sign_in(&reader).expect(303);
    let cookie = page.header("set-cookie");
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    browser.get(&run).expect(200).has(&reader.id).has_not("value=\"pause\"");
    browser.post(&operate, "action=pause&reason=r").expect(403);
    // The cookie is for the page alone.
    let cookie = browser.cookie.clone().unwrap();
    server
        .send_with("GET", "/api/metadata/taskdefs", Vec::new(), &[("cookie", &cookie)])
        .expect(401);
    browser.sign_in(&admin).expect(303);
    browser.post(&operate, "action=pause&reason=r").expect(303);
    browser.get(&run).expect(200).has(&format!("by test (key {})", admin.id));
    let gone = browser.post("/sign-out", "").expect(303);
    assert!(gone.header("set-cookie").contains("Max-Age=0"), "{gone:?}");
    browser.cookie = None;
    browser.send("GET", &format!("{run}/json"), "", &with).expect(200);
}

/// The lines of an answer that does not end.
fn listen(server: &Running, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    BufReader::new(stream)
}

/// Until something has changed. Out: how long that took.
fn changed(lines: &mut BufReader<TcpStream>) -> Duration {
    let begun = Instant::now();
    let mut line = String::new();
    while !line.starts_with("event: changed") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended");
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_hears_of_what_it_shows_and_of_nothing_else() {
    let (_database, mut server) = server().await;
    server.register("line", 2);
    let (id, other) = (server.start_workflow("line"), server.start_workflow("line"));
    let mut run = listen(&server, &format!("/live?runs={id}"));
    let mut list = listen(&server, "/live?starts=1");
    // Once for what may have changed before they listened.
    changed(&mut run);
    changed(&mut list);
    server.put(&format!("/api/workflow/{other}/pause"), &json!(null)).expect(200);
    let begun = Instant::now();
    server.start_workflow("line");
    changed(&mut list);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    run.get_ref().set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    let mut rest = String::new();
    while run.read_line(&mut rest).is_ok() {}
    assert!(!rest.contains("changed"), "{rest}");
    run.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let task = server.poll();
    assert!(changed(&mut run) < Duration::from_secs(2));
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    assert!(changed(&mut run) < Duration::from_secs(2));
    server.get("/live?runs=x").expect(400);
    // Who listens keeps no server from its end.
    let begun = Instant::now();
    assert!(server.stop("-TERM"));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_stands_in_any_axum_program_below_any_path() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let page = oms_server::page(engine.clone(), oms_server::Settings::default());
    let program = axum::Router::new().nest("/in/ops", page);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, program).await });
    let asked = tokio::task::spawn_blocking(move || {
        let browser = Browser::new(&url);
        let list = browser.get("/in/ops").expect(200);
        list.has("href=\"/in/ops/start\"").has("src=\"/in/ops/page/page.js?");
        browser.get("/in/ops/runs/none").expect(404).has("href=\"/in/ops/\"");
        browser.get("/in/ops/page/page.css").expect(200);
        browser.post("/in/ops/start", "name=none&reason=r").expect(404);
        browser.get("/").expect(404);
    });
    asked.await.unwrap();
    engine.shutdown(Duration::from_secs(5)).await;
}
