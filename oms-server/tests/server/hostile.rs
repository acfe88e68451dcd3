//! Clients that are slow, vanish, or come in crowds.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use oms_engine::Engine;
use oms_engine::testkit::TestDatabase;
use oms_server::{Settings, serve};
use serde_json::{Value, json};

use crate::running::{Running, result_of, server};

/// Connections that wait for tasks at once; each takes a file descriptor on either side.
const IDLE: usize = 1_500;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn sent(address: &str, text: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// What comes until the other side closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is reset gives what came before.
    drop(stream.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

fn head_of(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_come_in_time_is_given_up() {
    let database = TestDatabase::migrated().await.unwrap().as_application().await.unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let mut settings = Settings::default();
    let limits = &mut settings.limits;
    (limits.request, limits.head) = (Duration::from_millis(800), Duration::from_millis(800));
    let server = serve(engine, "127.0.0.1:0".parse().unwrap(), settings).await.unwrap();
    let address = server.address().to_string();
    let begun = Instant::now();
    let asked = tokio::task::spawn_blocking(move || {
        let head = sent(&address, "POST /api/workflow HTTP/1.1\r\nhost: x\r\nslow");
        let body = "POST /api/workflow HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"name\"";
        let body = sent(&address, body);
        let chunks =
            "POST /api/tasks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n";
        let mut chunks = sent(&address, chunks);
        // One byte at a time is no excuse.
        for _ in 0..30 {
            std::thread::sleep(Duration::from_millis(50));
            if chunks.write_all(b"1\r\n \r\n").is_err() {
                break;
            }
        }
        (rest(head), rest(body), rest(chunks))
    });
    let (head, body, chunks) = asked.await.unwrap();
    assert!(head.is_empty() || head_of(&head).contains("408"), "{head}");
    for answer in [body, chunks] {
        assert!(answer.is_empty() || head_of(&answer).contains("503"), "{answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    server.stop(Duration::from_secs(1)).await;
}

/// A worker that goes away while it waits, or before it has read its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_worker_has_gone_is_given_to_the_next() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let poll =
        "GET /api/tasks/poll/batch/work?workerid=gone&timeout=5000 HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut gone: Vec<TcpStream> = (0..8).map(|_| sent(server.address(), poll)).collect();
    for stream in gone.iter().take(4) {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    gone.drain(4..);
    let id = server.start_workflow("line");
    let begun = Instant::now();
    let task = server.poll();
    // Who only stopped to send may still get it; then it is theirs until they are given up.
    assert_eq!(task["workflowInstanceId"], json!(id));
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    assert_eq!(server.run(&id)["status"], json!("COMPLETED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_whole_is_done_though_nobody_waits_for_the_answer() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let result = result_of(&server.poll(), "COMPLETED").to_string();
    let head =
        format!("POST /api/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", result.len());
    drop(sent(server.address(), &(head + &result)));
    let begun = Instant::now();
    while server.run(&id)["status"] != json!("COMPLETED") {
        if begun.elapsed() > Duration::from_secs(2) {
            // It was gone before the request was read: nothing was done, and the task is open.
            assert_eq!(server.run(&id)["status"], json!("RUNNING"));
            return;
        }
    }
}

/// Memory of a process that is in use, in KiB.
fn resident(server: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_idle_workers_takes_little_memory_and_keeps_nobody_waiting() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let before = resident(&server);
    let poll = "GET /api/tasks/poll/batch/none?timeout=5000 HTTP/1.1\r\nhost: x\r\n\r\n";
    let crowd: Vec<TcpStream> = (0..IDLE).map(|_| sent(server.address(), poll)).collect();
    let begun = Instant::now();
    let task = server.poll();
    server.post("/api/tasks", &result_of(&task, "COMPLETED")).expect(200);
    assert_eq!(server.run(&id)["status"], json!("COMPLETED"));
    assert!(begun.elapsed() < Duration::from_secs(10), "after {:?}", begun.elapsed());
    let each = resident(&server).saturating_sub(before) / u64::try_from(IDLE).unwrap();
    assert!(each < 64, "an idle worker takes {each} KiB");
    drop(crowd);
    server.get("/health").expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_do_not_stay_in_memory() {
    let (_database, server) = server().await;
    server.register("line", 1);
    server.start_workflow("line");
    let before = resident(&server);
    let huge = vec![b' '; 30 << 20];
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| server.send("POST", "/api/workflow", huge.clone()).expect(413));
        }
    });
    let deep = "[".repeat(5 << 20).into_bytes();
    for path in ["/api/workflow", "/api/tasks", "/api/metadata/workflow", "/api/event"] {
        server.send("POST", path, deep.clone()).expect(400);
    }
    let grown = resident(&server).saturating_sub(before) / 1_024;
    assert!(grown < 150, "it grew by {grown} MiB");
    server.start_workflow("line");
}

/// Every endpoint that takes a body, with what it does not mean.
#[tokio::test(flavor = "multi_thread")]
async fn no_endpoint_fails_by_itself_whatever_it_is_sent() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let id = server.start_workflow("line");
    let task = server.poll()["taskId"].as_str().unwrap().to_owned();
    let names = [id.as_str(), task.as_str(), "line", "none", "%00", "%F0%9F%98%80", "a%2Fb", "-1"];
    let bodies: [&[u8]; 8] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[1, {\"a\": 18446744073709551616}]",
        b"{\"name\": [], \"tasks\": 1, \"taskId\": {}, \"version\": 1e400}",
        b"\"text\"",
    ];
    let mut sent = 0;
    for (n, endpoint) in oms_server::endpoints().into_iter().enumerate() {
        if endpoint.path.contains("/poll/") {
            continue;
        }
        for (m, body) in bodies.iter().enumerate() {
            let mut turn = n + m;
            let parts = endpoint.path.split('/').map(|part| {
                turn += 1;
                if part.starts_with('{') { names[turn % names.len()] } else { part }
            });
            let path = parts.collect::<Vec<_>>().join("/");
            let more = "start=x&size=-1&query=%27&version=99999999999&waitForSeconds=1";
            let path = if m % 2 == 0 { path } else { format!("{path}?{more}") };
            let answered = server.send(&endpoint.method, &path, body.to_vec());
            let status = answered.status;
            let fine = if endpoint.supported { status < 500 } else { status == 501 };
            let what = format!(
                "{} {path} {:?}: {answered:?}",
                endpoint.method,
                String::from_utf8_lossy(body)
            );
            assert!(fine, "{what}");
            if status >= 400 {
                let error: Value = answered.json();
                assert_eq!(error["status"], json!(status), "{what}");
                assert!(!error["message"].as_str().unwrap().is_empty(), "{what}");
            }
            sent += 1;
        }
    }
    assert!(sent > 500, "{sent}");
    server.get("/health").expect(200);
}
