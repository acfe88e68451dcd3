//! What stands between worker and server: it passes requests on, keeps what was asked, and does harm
//! where a test says so.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    None,
    /// It does not get there; this is answered.
    Answer(u16, &'static str),
    /// It gets there; the connection ends in the middle of the answer.
    LoseAnswer,
    /// It gets there twice; the second answer counts.
    Twice,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) token: Option<String>,
}

impl Asked {
    pub(crate) fn is_report(&self) -> bool {
        let is_update = self.path == "/api/tasks" || self.path == "/api/tasks/update-v2";
        self.method == "POST" && is_update && !self.body.contains("extendLease")
    }

    pub(crate) fn is_poll(&self) -> bool {
        self.path.starts_with("/api/tasks/poll/batch/")
    }

    /// A number of its query.
    pub(crate) fn number(&self, name: &str) -> usize {
        let query = self.path.split_once('?').unwrap().1;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).unwrap().1.parse().unwrap()
    }
}

type Does = Box<dyn FnMut(&Asked) -> Harm + Send>;

/// It serves until the test's runtime ends.
#[derive(Clone)]
pub(crate) struct Wire {
    to: String,
    seen: Arc<Mutex<Vec<Asked>>>,
    does: Arc<Mutex<Does>>,
}

impl Wire {
    /// Out: the wire, and its address.
    pub(crate) async fn to(server: String) -> (Self, String) {
        let none: Does = Box::new(|_| Harm::None);
        let wire = Self { to: server, seen: Arc::default(), does: Arc::new(Mutex::new(none)) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(wire.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (wire, address)
    }

    pub(crate) fn does(&self, does: impl FnMut(&Asked) -> Harm + Send + 'static) {
        *self.does.lock().unwrap() = Box::new(does);
    }

    pub(crate) fn seen(&self, is_meant: impl Fn(&Asked) -> bool) -> Vec<Asked> {
        self.seen.lock().unwrap().iter().filter(|asked| is_meant(asked)).cloned().collect()
    }

    async fn send(&self, asked: &Asked) -> (u16, Bytes) {
        let stream = TcpStream::connect(&self.to).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(asked.method.as_str())
            .uri(&asked.path)
            .header("host", &self.to)
            .header("content-type", "application/json");
        if let Some(token) = &asked.token {
            request = request.header("x-authorization", token);
        }
        let request = request.body(Full::new(Bytes::from(asked.body.clone()))).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }
}

async fn pass(State(wire): State<Wire>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let token = head.headers.get("x-authorization").map(|token| token.to_str().unwrap().to_owned());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        token,
    };
    wire.seen.lock().unwrap().push(asked.clone());
    let harm = (wire.does.lock().unwrap())(&asked);
    let answer = |status, body: Body| Response::builder().status(status).body(body).unwrap();
    match harm {
        Harm::None => {
            let (status, body) = wire.send(&asked).await;
            answer(status, body.into())
        }
        Harm::Answer(status, text) => answer(status, text.into()),
        Harm::Twice => {
            wire.send(&asked).await;
            let (status, body) = wire.send(&asked).await;
            answer(status, body.into())
        }
        Harm::LoseAnswer => {
            wire.send(&asked).await;
            let lost = std::io::Error::other("lost");
            let parts = futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(lost)]);
            answer(200, Body::from_stream(parts))
        }
    }
}
