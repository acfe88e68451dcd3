//! What others see of a server: its address, TLS, logs, web pages, masks.

use std::process::{Command, Stdio};

use oms_engine::testkit::TestDatabase;
use serde_json::json;

use crate::access::Key;
use crate::cli::Scratch;
use crate::command::oms_with;
use crate::running::{Running, result_of, server};

#[tokio::test(flavor = "multi_thread")]
async fn where_others_reach_it_a_server_without_keys_does_not_start() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let bind = ["server", "--port", "0", "--bind", "0.0.0.0"];
    let refused = oms_with(&bind, "", &[("DATABASE_URL", database.url())]).expect(4);
    assert!(refused.err.contains("oms key create"), "{refused:?}");
    drop(Running::start(database.url(), &["--bind", "0.0.0.0", "--without-keys"]));
    Key::create(&database, "read");
    drop(Running::start(database.url(), &["--bind", "0.0.0.0"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_clients_come_by_tls_alone_and_a_new_one_is_read() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let scratch = Scratch::new("tls");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let path = |name: &str| scratch.0.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let renew = || {
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    renew();
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    let mut server = Running::start(database.url(), &tls);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let ask = ["task", "queues", "--server", &server.url];
    let said = oms_with(&ask, "", &[]).expect(6);
    assert!(said.err.contains("certificate"), "{said:?}");
    oms_with(&[&ask[..], &["--ca-cert", &certificate]].concat(), "", &[]).expect(0);
    let plain = server.url.replace("https", "http");
    oms_with(&["task", "queues", "--server", &plain], "", &[]).expect(6);
    // Whoever says nothing keeps nobody else.
    let silent = std::net::TcpStream::connect(plain.strip_prefix("http://").unwrap()).unwrap();
    oms_with(&[&ask[..], &["--ca-cert", &certificate]].concat(), "", &[]).expect(0);
    let before = path("before.pem");
    std::fs::copy(&certificate, &before).unwrap();
    renew();
    let begun = std::time::Instant::now();
    while oms_with(&[&ask[..], &["--ca-cert", &certificate]].concat(), "", &[]).code != 0 {
        assert!(begun.elapsed().as_secs() < 60, "a new certificate is not read");
    }
    oms_with(&[&ask[..], &["--ca-cert", &before]].concat(), "", &[]).expect(6);
    assert!(server.stop("-TERM"));
    drop(silent);
    let wrong = ["server", "--port", "0", "--tls-cert", &key, "--tls-key", &certificate];
    oms_with(&wrong, "", &[("DATABASE_URL", database.url())]).expect(4);
    oms_with(&wrong[..5], "", &[("DATABASE_URL", database.url())]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tls_is_refused_to_who_asks_for_it() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let more = if database.url().contains('?') { '&' } else { '?' };
    let url = |mode: &str| format!("{}{more}sslmode={mode}", database.url());
    let status = |url: &str| oms_with(&["migrate", "status"], "", &[("DATABASE_URL", url)]);
    status(&url("disable")).expect(0);
    let refused = status(&url("require")).expect(6);
    assert!(refused.err.to_lowercase().contains("tls"), "{refused:?}");
    let refused = status(&url("perhaps")).expect(4);
    assert!(refused.err.contains("sslmode"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_whatever_the_level() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let key = Key::create(&database, "admin");
    let scratch = Scratch::new("logs");
    let log = scratch.0.join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_oms"));
    let more = if database.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{more}password=sesame", database.url());
    command
        .args(["server", "--port", "0"])
        .env("DATABASE_URL", url)
        .env("RUST_LOG", "trace")
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let mut server = Running::launch(command);
    let token = key.token(&server);
    let wrong = json!({"keyId": key.id, "keySecret": "open-up"});
    server.post("/api/token", &wrong).expect(401);
    let header = [("x-authorization", token.as_str())];
    server.send_with("GET", "/api/metadata/taskdefs", Vec::new(), &header).expect(200);
    server.send_with("GET", "/api/workflow/x", Vec::new(), &header).expect(404);
    server.get("/api/metadata/taskdefs").expect(401);
    assert!(server.stop("-TERM"));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("requests were refused for who sent them"), "{said}");
    for secret in ["sesame", "open-up", &key.secret, &token] {
        assert!(!said.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_of_other_origins_may_not_call_unless_they_are_named() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let server = Running::start(database.url(), &["--cors-origin", "https://ops.example.com"]);
    let get = |headers: &[(&str, &str)]| {
        server.send_with("GET", "/api/metadata/taskdefs", Vec::new(), headers)
    };
    assert_eq!(get(&[]).expect(200).allowed, None);
    let good = get(&[("origin", "https://ops.example.com")]).expect(200);
    assert_eq!(good.allowed.as_deref(), Some("https://ops.example.com"));
    get(&[("origin", &server.url)]).expect(200);
    get(&[("sec-fetch-site", "same-origin")]).expect(200);
    for foreign in [
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let refused = get(&[foreign]).expect(403);
        assert_eq!(refused.allowed, None);
        assert!(refused.text.contains("--cors-origin"), "{refused:?}");
    }
    let config = server.get("/api/admin/config").expect(200).json();
    assert_eq!(config["refused"], json!({"unknown": 0, "forbidden": 0, "foreign": 3}));
    let plain = Running::start(database.url(), &[]);
    let headers = [("origin", "https://ops.example.com")];
    let refused = plain.send_with("POST", "/api/workflow", b"{}".to_vec(), &headers).expect(403);
    assert_eq!(refused.allowed, None);
    // A name of a page's own that points here.
    for path in ["/api/metadata/taskdefs", "/", "/health"] {
        let mut asked = plain.send_with("GET", path, Vec::new(), &[("host", "evil.example.com")]);
        assert_eq!(asked.status, 403, "{path}: {asked:?}");
        asked = server.send_with("GET", path, Vec::new(), &[("host", "ops.example.com")]);
        assert_eq!(asked.status, 200, "{path}: {asked:?}");
    }
    let wild = ["server", "--port", "0", "--cors-origin", "*"];
    oms_with(&wild, "", &[("DATABASE_URL", database.url())]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_fields_are_shown_to_workers_alone() {
    let (database, plain) = server().await;
    let server = Running::start(database.url(), &["--mask-field", "n"]);
    server.register("line", 1);
    let id = server.start_workflow("line");
    let task = server.poll();
    assert_eq!(task["inputData"]["n"], json!(7));
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    let run = server.run(&id);
    assert_eq!(
        (&run["input"]["n"], &run["tasks"][0]["inputData"]["n"]),
        (&json!("***"), &json!("***"))
    );
    assert_eq!(run["status"], json!("COMPLETED"));
    let path = format!("/api/tasks/{}", task["taskId"].as_str().unwrap());
    assert_eq!(server.get(&path).expect(200).json()["inputData"]["n"], json!("***"));
    let def = server.get("/api/metadata/workflow/line").expect(200).json();
    assert_eq!(def["tasks"][0]["inputParameters"]["n"], json!("${workflow.input.n}"));
    let found = server.get("/api/workflow/search").expect(200).json();
    assert_eq!(found["results"][0]["input"], json!("***"));
    assert_eq!(plain.run(&id)["input"]["n"], json!(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_values_are_not_found_either() {
    let (database, plain) = server().await;
    let server = Running::start(database.url(), &["--mask-field", "n", "--mask-field", "p(i)n"]);
    server.register("line", 1);
    let start = |input: &serde_json::Value| {
        server.post("/api/workflow", &json!({"name": "line", "input": input})).expect(200).text
    };
    let id = start(&json!({"n": "pearl, \"ruby\" ]}", "seen": "coral", "later": [1]}));
    start(&json!({"n": 4711, "p(i)n": [{"a": "topaz"}], "seen_after": "amber"}));
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    let hits = |server: &Running, what: &str, word: &str| {
        let path = format!("/api/{what}/search?freeText={word}");
        server.get(&path).expect(200).json()["totalHits"].as_u64().unwrap()
    };
    for word in ["pearl", "ruby", "4711", "topaz", "PEARL"] {
        assert_eq!(hits(&server, "workflow", word), 0, "{word}");
        assert_eq!(hits(&server, "tasks", word), 0, "{word}");
        assert_eq!(hits(&plain, "workflow", word), 1, "{word}");
    }
    assert_eq!(hits(&plain, "tasks", "pearl"), 1);
    // What stands behind a value that holds others is not told apart from it.
    for (word, found) in [("coral", 1), ("later", 1), (id.as_str(), 1), ("amber", 0), ("line", 2)] {
        assert_eq!(hits(&server, "workflow", word), found, "{word}");
    }
    assert_eq!(hits(&server, "tasks", "done"), 1);
}
