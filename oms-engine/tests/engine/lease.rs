//! What a running task learns of its own lease.

use std::sync::Arc;

use crate::common::{database, engine, line, wait};
use oms_engine::{Error, StartRequest, Task, TaskContext, TaskError, WorkflowStatus};
use serde_json::Value;
use tokio::sync::mpsc;

/// Tells what a heartbeat says before and after the run was terminated.
struct Asks {
    said: mpsc::Sender<Result<(), Error>>,
    go_on: Arc<tokio::sync::Notify>,
}

impl Task for Asks {
    const NAME: &'static str = "asks";
    type Input = Value;
    type Output = ();

    async fn run(&self, cx: &TaskContext, _: Value) -> Result<(), TaskError> {
        self.said.send(cx.heartbeat().await).await?;
        self.go_on.notified().await;
        self.said.send(cx.heartbeat().await).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_heartbeat_says_whether_the_lease_still_stands() {
    let database = database().await;
    let (said, mut heard) = mpsc::channel(2);
    let go_on = Arc::new(tokio::sync::Notify::new());
    let asks = Asks { said, go_on: go_on.clone() };
    let engine = engine(&database).task(asks).build().await.unwrap();
    engine.register_workflow(&line("asked", &["asks"])).await.unwrap();
    let id = engine.start(StartRequest::new("asked")).await.unwrap().id;
    assert!(heard.recv().await.unwrap().is_ok());
    engine.terminate(id, "enough").await.unwrap();
    go_on.notify_one();
    let said = heard.recv().await.unwrap();
    assert!(
        matches!(&said, Err(Error::LeaseLost { task_id }) if task_id.workflow_id == id),
        "{said:?}"
    );
    assert_eq!(wait(&engine, id).await.status, WorkflowStatus::Terminated);
    engine.shutdown(std::time::Duration::from_secs(5)).await;
}
