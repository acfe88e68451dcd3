//! A stand-in for somebody's HTTP server, over a real socket: it keeps what it was asked, and
//! answers, or does not, as it is told.

#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses some of it")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct Told {
    /// By path, one entry a call; the last one stays.
    acts: HashMap<String, Vec<Value>>,
    asked: Vec<Asked>,
    /// Connections that are open.
    open: usize,
}

/// The server; it ends when it is dropped.
pub(crate) struct StandIn {
    pub(crate) port: u16,
    told: Arc<Mutex<Told>>,
    task: AbortHandle,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::new(Mutex::new(Told::default()));
        let shared = told.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = shared.clone();
                tokio::spawn(async move {
                    told.lock().unwrap().open += 1;
                    serve(stream, &told).await;
                    told.lock().unwrap().open -= 1;
                });
            }
        });
        Self { port, told, task: task.abort_handle() }
    }

    /// What it does when a path is asked for, one entry a call; the last one stays. An entry is
    /// `{"status": 200, "reason": "OK", "headers": {…}, "body": …, "chunked": false}`, or
    /// `{"hang": true}`, `{"cut": true}` in the middle of the body, `{"bytes": n}` of a body.
    pub(crate) fn on(&self, path: &str, acts: impl IntoIterator<Item = Value>) {
        let acts = acts.into_iter().collect();
        self.told.lock().unwrap().acts.insert(path.to_owned(), acts);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.told.lock().unwrap().asked.clone()
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.told.lock().unwrap().open
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

async fn serve(mut stream: TcpStream, told: &Mutex<Told>) {
    let Some(asked) = read(&mut stream).await else { return };
    let path = asked.path.split('?').next().unwrap_or_default().to_owned();
    let act = {
        let mut told = told.lock().unwrap();
        told.asked.push(asked);
        match told.acts.get_mut(&path) {
            Some(acts) if acts.len() > 1 => acts.remove(0),
            Some(acts) => acts.first().cloned().unwrap_or_else(|| json!({})),
            None => json!({}),
        }
    };
    if act["hang"] == json!(true) {
        // Until the other side goes.
        let mut rest = [0; 16];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        return;
    }
    // The other side may have gone: that is its affair.
    drop(stream.write_all(&answer(&act)).await);
    drop(stream.shutdown().await);
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => body.extend_from_slice(&part[..read]),
            _ => return None,
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Asked { method, path, headers, body })
}

fn answer(act: &Value) -> Vec<u8> {
    let status = act["status"].as_u64().unwrap_or(200);
    let reason = act["reason"].as_str().unwrap_or("OK");
    let mut body = match &act["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    };
    if let Some(bytes) = act["bytes"].as_u64() {
        body = vec![b'x'; usize::try_from(bytes).unwrap()];
    }
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nconnection: close\r\n");
    let is_text = act["body"].is_string() || act["bytes"].is_u64();
    let kind = if is_text { "text/plain" } else { "application/json" };
    let no_headers = serde_json::Map::new();
    let headers = act["headers"].as_object().unwrap_or(&no_headers);
    if !body.is_empty() && !headers.contains_key("content-type") {
        head.push_str(&format!("content-type: {kind}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap_or_default()));
    }
    let cut = act["cut"] == json!(true);
    if act["chunked"] == json!(true) {
        head.push_str("transfer-encoding: chunked\r\n\r\n");
        let mut all = head.into_bytes();
        for part in body.chunks(7) {
            all.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            all.extend_from_slice(part);
            all.extend_from_slice(b"\r\n");
        }
        if !cut {
            all.extend_from_slice(b"0\r\n\r\n");
        }
        return all;
    }
    let length = if cut { body.len() + 10 } else { body.len() };
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    let mut all = head.into_bytes();
    all.extend_from_slice(&body);
    all
}
