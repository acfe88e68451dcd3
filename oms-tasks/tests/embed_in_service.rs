//! The example service, driven over HTTP: an order's row and its workflow are both there, or
//! neither is.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, Execution, WorkflowStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[path = "../../examples/embed_in_service.rs"]
#[expect(dead_code, reason = "the example's own main")]
mod example;

struct Service {
    database: TestDatabase,
    engine: Engine,
    address: SocketAddr,
}

impl Service {
    async fn start() -> Self {
        let database = TestDatabase::empty().await.unwrap();
        let (router, engine) = example::shop(database.url()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { database, engine, address }
    }

    /// Sends one request; gives the status code and the body.
    async fn send(&self, request: &str, body: &str) -> (u16, String) {
        let text = format!(
            "{request} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn order(&self, number: &str, quantity: i32) -> u16 {
        let body = format!(r#"{{"number": "{number}", "quantity": {quantity}}}"#);
        self.send("POST /orders", &body).await.0
    }

    /// Rows of the shop, runs of the engine, and runs that no row names.
    async fn counts(&self) -> (i64, i64, i64) {
        let sql = "SELECT (SELECT count(*) FROM shop_orders),
            (SELECT count(*) FROM oms_engine.workflows),
            (SELECT count(*) FROM oms_engine.workflows w
             WHERE NOT EXISTS (SELECT FROM shop_orders o WHERE o.workflow_id = w.id))";
        let client = self.database.connect().await.unwrap();
        let row = client.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    }

    /// Waits for the end of the run that an order's row names.
    async fn run_of(&self, number: &str) -> Execution {
        let client = self.database.connect().await.unwrap();
        let sql = "SELECT workflow_id::text FROM shop_orders WHERE number = $1";
        let id: String = client.query_one(sql, &[&number]).await.unwrap().get(0);
        let end = self.engine.wait(id.parse().unwrap());
        tokio::time::timeout(Duration::from_secs(60), end).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn an_accepted_order_has_its_row_and_its_workflow_which_packs_it() {
    let service = Service::start().await;
    let begun = Instant::now();
    assert_eq!(service.order("A-1", 2).await, 201);
    let run = service.run_of("A-1").await;
    assert_eq!(run.status, WorkflowStatus::Completed, "{run:#?}");
    // The commit woke the engine: it did not wait for its poll, which comes every five seconds.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let (code, body) = service.send("GET /orders/A-1", "").await;
    assert_eq!((code, body.contains("PACKED")), (200, true), "{body}");
    assert_eq!(service.counts().await, (1, 1, 0));
}

#[tokio::test]
async fn a_refused_row_leaves_no_workflow() {
    let service = Service::start().await;
    assert_eq!(service.order("A-1", 1).await, 201);
    assert_eq!(service.order("A-1", 7).await, 409);
    assert_eq!(service.order("A-2", 0).await, 422);
    assert_eq!(service.counts().await, (1, 1, 0));
    assert_eq!(service.order("A-2", 1).await, 201);
    assert_eq!(service.run_of("A-2").await.status, WorkflowStatus::Completed);
    assert_eq!(service.counts().await, (2, 2, 0));
}

#[tokio::test]
async fn a_workflow_that_cannot_start_leaves_no_row() {
    let service = Service::start().await;
    assert_eq!(service.order("\\u0000", 1).await, 422);
    assert_eq!(service.counts().await, (0, 0, 0));
}
