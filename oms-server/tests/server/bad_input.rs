//! What nobody should send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::running::{Running, server};

fn raw(server: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_meant_is_refused_with_the_reason() {
    let (_database, server) = server().await;
    server.register("line", 1);
    let start = |body: &[u8]| server.send("POST", "/api/workflow", body.to_vec());
    let message = |answered: crate::running::Answered, status: u16| {
        answered.expect(status).json()["message"].as_str().unwrap().to_owned()
    };
    assert!(message(start(b"{"), 400).contains("EOF"));
    assert!(message(start(b""), 400).contains("EOF"));
    assert!(message(start(b"{\"name\": \"\xff\"}"), 400).contains("$.name"));
    assert!(message(start(br#"{"name": 7}"#), 400).contains("$.name"));
    assert!(message(start(br#"{"name": "line"} x"#), 400).contains("trailing"));
    assert!(message(start(br#"{"input": {}}"#), 400).contains("name: is missing"));
    assert!(message(start(br#"{"name": "line", "priority": 100}"#), 400).contains("priority"));
    assert!(message(start(br#"{"name": "line", "createdBy": "me"}"#), 400).contains("createdBy"));
    let nul = br#"{"name": "line", "input": {"a": "\u0000"}}"#;
    assert!(message(start(nul), 400).contains("NUL"));
    for depth in [110, 100_000] {
        let deep = format!(
            r#"{{"name": "line", "input": {{"a": {}1{}}}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        start(deep.as_bytes()).expect(400);
    }
    let large = format!(r#"{{"name": "line", "input": {{"a": "{}"}}}}"#, "x".repeat(6 << 20));
    assert!(message(start(large.as_bytes()), 400).contains("5242880"));
    let huge = vec![b' '; 12 << 20];
    assert!(message(start(&huge), 413).contains("body"));
    server.start_workflow("line");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there_are_told_apart() {
    let (_database, server) = server().await;
    server.get("/nothing").expect(404);
    let unknown = server.get("/api/users").expect(404).json();
    assert_eq!(unknown["message"], json!("there is no endpoint GET /api/users"));
    server.send("PATCH", "/api/workflow", Vec::new()).expect(405);
    let refused = server.get("/api/secrets?x=y").expect(501).json();
    assert_eq!(refused["message"], json!("GET /api/secrets is not supported by this server"));
    server.get("/api/workflow/not-an-id").expect(404);
    server.get("/api/workflow/%ff").expect(400);
    server.get("/api/workflow/running/line?version=x").expect(400);
    let id = "0190b0a0-0000-7000-8000-000000000000";
    server.get(&format!("/api/workflow/{id}")).expect(404);
    server.get(&format!("/api/workflow/{id}?includeTasks=maybe")).expect(404);
    server.delete(&format!("/api/workflow/{id}")).expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_harms_nobody() {
    let (_database, server) = server().await;
    assert!(raw(&server, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(1 << 20));
    let mut stream = TcpStream::connect(server.address()).unwrap();
    // It may be refused half way.
    drop(stream.write_all(head.as_bytes()));
    let chunked = b"POST /api/workflow HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
        e\r\n{\"name\": \"no\"}\r\n0\r\n\r\n";
    assert!(raw(&server, chunked).starts_with("HTTP/1.1 404"));
    // Bodies that never come, and polls that wait.
    let mut idle = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let path = if n % 2 == 0 {
            "POST /api/workflow HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
        } else {
            "GET /api/tasks/poll/batch/x?timeout=5000 HTTP/1.1\r\nhost: x\r\n\r\n"
        };
        stream.write_all(path.as_bytes()).unwrap();
        idle.push(stream);
    }
    server.get("/health").expect(200);
    server.register("line", 1);
    server.start_workflow("line");
    server.poll();
}
