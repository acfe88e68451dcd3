//! Keys, tokens and roles.

use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_server::endpoints;
use serde_json::{Value, json};

use crate::command::oms_with;
use crate::running::{Answered, Running, server};

/// A key of a role in a database.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Key {
    pub(crate) fn create(database: &TestDatabase, role: &str) -> Self {
        let arguments = ["--json", "key", "create", "--name", "test", "--role", role];
        let made = oms_with(&arguments, "", &[("DATABASE_URL", database.url())]).expect(0).json();
        assert_eq!(made["role"], json!(role));
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { id: text("keyId"), secret: text("keySecret") }
    }

    pub(crate) fn ask(&self, server: &Running) -> Answered {
        server.post("/api/token", &json!({"keyId": self.id, "keySecret": self.secret}))
    }

    pub(crate) fn token(&self, server: &Running) -> String {
        self.ask(server).expect(200).json()["token"].as_str().unwrap().to_owned()
    }
}

fn get(server: &Running, path: &str, token: &str) -> Answered {
    server.send_with("GET", path, Vec::new(), &[("x-authorization", token)])
}

/// Until it is so; a server looks at the keys every five seconds.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const LIST: &str = "/api/metadata/taskdefs";

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_key_on_everybody_is_asked_also_when_it_is_revoked() {
    let (database, server) = server().await;
    server.get(LIST).expect(200);
    server.post("/api/token", &json!({"keyId": "k", "keySecret": "s"})).expect(404);
    let key = Key::create(&database, "read");
    wait_for("it is asked", || server.get(LIST).status == 401);
    let refused = server.get(LIST).expect(401).json();
    assert!(refused["message"].as_str().unwrap().contains("/api/token"), "{refused}");
    let token = key.token(&server);
    get(&server, LIST, &token).expect(200);
    let variables = [("DATABASE_URL", database.url())];
    oms_with(&["key", "revoke", &key.id], "", &variables).expect(0);
    wait_for("it is revoked", || get(&server, LIST, &token).status == 401);
    let refused = get(&server, LIST, &token).expect(401).json();
    assert_eq!(refused["error"], json!("INVALID_TOKEN"));
    server.get(LIST).expect(401);
    key.ask(&server).expect(401);
    oms_with(&["key", "revoke", "none"], "", &variables).expect(3);
    let keys = oms_with(&["--json", "key", "list"], "", &variables).expect(0);
    assert!(keys.json()[0]["revokedAt"].is_i64() && !keys.out.contains(&key.secret), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_at_every_server_until_it_expires() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let key = Key::create(&database, "work");
    let (first, second) =
        (Running::start(database.url(), &[]), Running::start(database.url(), &[]));
    let token = key.token(&first);
    get(&first, LIST, &token).expect(200);
    get(&second, LIST, &token).expect(200);
    let client = database.connect().await.unwrap();
    let past = "UPDATE oms_engine.api_tokens SET expires_at = now() - interval '1 second'";
    assert_eq!(client.execute(past, &[]).await.unwrap(), 1);
    let third = Running::start(database.url(), &[]);
    let refused = get(&third, LIST, &token).expect(401).json();
    assert_eq!(refused["error"], json!("EXPIRED_TOKEN"));
    // What has expired goes when another is made.
    key.token(&third);
    let left = client.query_one("SELECT count(*) FROM oms_engine.api_tokens", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_is_refused() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let key = Key::create(&database, "admin");
    let server = Running::start(database.url(), &[]);
    let token = key.token(&server);
    let other = format!("{}.{}", key.id, "0".repeat(64));
    for wrong in ["", "x", "x.y", &token[1..], &format!("{token}0"), &other, "Bearer x"] {
        let refused = get(&server, LIST, wrong).expect(401).json();
        assert_eq!(refused["error"], json!("INVALID_TOKEN"), "{wrong}");
    }
    for body in [
        json!({"keyId": key.id, "keySecret": "wrong"}),
        json!({"keyId": "none", "keySecret": key.secret}),
        json!({"keyId": key.id, "keySecret": ""}),
    ] {
        let refused = server.post("/api/token", &body).expect(401).json();
        assert_eq!(refused["message"], json!("keyId or keySecret is wrong"));
    }
    server.post("/api/token", &json!({"keyId": key.id})).expect(400);
    server.send("POST", "/api/token", vec![b' '; 5_000]).expect(413);
    let client = database.connect().await.unwrap();
    let rows = client
        .query("SELECT k::text || t::text FROM oms_engine.api_keys k, oms_engine.api_tokens t", &[])
        .await
        .unwrap();
    let kept: String = rows[0].get(0);
    assert!(!kept.contains(&key.secret) && !kept.contains(&token), "only hashes are kept: {kept}");
}

/// What a key of the role `work` may change; nothing else is open below `admin`.
const WORKERS: [&str; 12] = [
    "GET /api/tasks/poll/batch/{type}",
    "GET /api/tasks/poll/{type}",
    "POST /api/tasks",
    "POST /api/tasks/update-v2",
    "POST /api/tasks/{id}/ack",
    "POST /api/tasks/{id}/log",
    "POST /api/tasks/{id}/{reference}/{status}",
    "POST /api/tasks/{id}/{reference}/{status}/sync",
    "POST /api/workflow",
    "POST /api/workflow/execute/{name}/{version}",
    "POST /api/workflow/test",
    "POST /api/workflow/{id}",
];

#[test]
fn who_only_looks_changes_nothing_and_who_works_only_what_workers_do() {
    let all = endpoints();
    let name = |e: &oms_server::Endpoint| format!("{} {}", e.method, e.path);
    let of = |role: Option<&'static str>| all.iter().filter(move |e| e.role == role);
    let open: Vec<String> = of(None).map(name).collect();
    assert_eq!(open, ["GET /api/health", "POST /api/token", "GET /api/version", "GET /health"]);
    for endpoint in of(Some("read")) {
        let name = name(endpoint);
        let harmless = endpoint.method == "GET"
            || name.ends_with("/validate")
            || name.ends_with("/correlated")
            || name == "POST /api/workflow/bulk/search";
        assert!(harmless && !endpoint.path.contains("/poll/"), "{name}");
    }
    let working: Vec<String> = of(Some("work")).map(name).collect();
    for known in WORKERS {
        assert!(working.iter().any(|name| name == known), "{known}");
    }
    for name in working.iter().filter(|name| !WORKERS.contains(&name.as_str())) {
        let tells = ["/signal", "/api/queue/update/", "/messages"];
        assert!(tells.iter().any(|part| name.contains(part)), "{name}");
    }
    assert!(of(Some("admin")).count() > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_asks_for_its_role() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let keys = ["read", "work", "admin"].map(|role| Key::create(&database, role));
    let server = Running::start(database.url(), &[]);
    let tokens = keys.each_ref().map(|key| key.token(&server));
    let rank = |role: &str| ["read", "work", "admin"].iter().position(|r| *r == role).unwrap();
    for endpoint in endpoints() {
        let path: Vec<&str> = endpoint
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect();
        let path = path.join("/");
        let send = |token: Option<&String>| {
            let header = token.map(|token| ("x-authorization", token.as_str()));
            server.send_with(&endpoint.method, &path, Vec::new(), header.as_slice())
        };
        let Some(role) = endpoint.role else {
            assert!(![401, 403].contains(&send(None).status) || path == "/api/token", "{path}");
            continue;
        };
        send(None).expect(401);
        for (has, token) in tokens.iter().enumerate() {
            let answered = send(Some(token));
            if has < rank(role) {
                let refused = answered.expect(403).json();
                let why = refused["message"].as_str().unwrap();
                assert!(why.contains(&format!("needs {role}")), "{why}");
            } else {
                assert!(![401, 403].contains(&answered.status), "{path}: {answered:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_comes_with_a_key() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let (work, admin) = (Key::create(&database, "work"), Key::create(&database, "admin"));
    let server = Running::start(database.url(), &[]);
    let run = |key: Option<&Key>, arguments: &[&str]| {
        let mut variables = vec![("OMS_SERVER", server.url.as_str())];
        if let Some(key) = key {
            variables.extend([("OMS_KEY_ID", key.id.as_str()), ("OMS_KEY_SECRET", &key.secret)]);
        }
        oms_with(
            arguments,
            r#"{"name": "line", "tasks": [{"name": "t", "taskReferenceName": "t"}]}"#,
            &variables,
        )
    };
    let register = ["definition", "register", "-"];
    let refused = run(None, &register).expect(5);
    assert!(refused.err.contains("OMS_KEY_ID"), "{refused:?}");
    let refused = run(Some(&work), &register).expect(5);
    assert!(refused.err.contains("needs admin"), "{refused:?}");
    run(Some(&admin), &register).expect(0);
    let id = run(Some(&work), &["--json", "workflow", "start", "line"]).expect(0).json();
    let id = id["workflowId"].as_str().unwrap();
    run(Some(&work), &["workflow", "terminate", id]).expect(5);
    run(Some(&admin), &["workflow", "terminate", id]).expect(0);
    let wrong = Key { id: work.id, secret: "wrong".to_owned() };
    run(Some(&wrong), &["task", "queues"]).expect(5);
    let bench = ["bench", "--workflows", "2", "--steps", "1", "--workers", "1"];
    let told: Value = run(Some(&admin), &[&["--json"][..], &bench].concat()).expect(0).json();
    assert_eq!(told["workflows"], json!(2));
}
