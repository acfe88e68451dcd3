//! Tasks that tests hold and let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oms_engine::tokio_postgres::Transaction;
use oms_engine::{Task, TaskContext, TaskError, TransactionalTask};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Ends at once.
pub(crate) struct Quick;

impl Task for Quick {
    const NAME: &'static str = "quick";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        Ok(json!({"value": 1}))
    }
}

/// Where a held task waits, also when it is canceled, and how often it has begun.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), begun: Arc::default() }
    }

    /// Lets all through that come.
    pub(crate) fn open(&self) {
        self.open.add_permits(1_000);
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until a task has begun for the n-th time.
    pub(crate) async fn has_begun(&self, n: usize) {
        let since = Instant::now();
        while self.begun() < n {
            assert!(since.elapsed() < Duration::from_secs(30), "it never began {n} times");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn pass(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.open.acquire().await.unwrap().forget();
    }
}

/// Ends when its gate is open.
pub(crate) struct Held(pub(crate) Gate);

impl Task for Held {
    const NAME: &'static str = "held";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        self.0.pass().await;
        Ok(json!({"value": 1}))
    }
}

/// Writes a row, and ends when its gate is open.
pub(crate) struct HeldBook(pub(crate) Gate);

impl TransactionalTask for HeldBook {
    const NAME: &'static str = "book";
    type Input = Value;
    type Output = Value;

    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        _input: Value,
    ) -> Result<Value, TaskError> {
        let id = cx.task_id().to_string();
        tx.execute("INSERT INTO public.effects (task_id) VALUES ($1)", &[&id]).await?;
        self.0.pass().await;
        Ok(json!({"value": 1}))
    }
}

/// Is not done the first time.
pub(crate) struct Polling(pub(crate) Gate);

impl Task for Polling {
    const NAME: &'static str = "polling";
    type Input = Value;
    type Output = Value;

    async fn run(&self, _cx: &TaskContext, _input: Value) -> Result<Value, TaskError> {
        self.0.open();
        self.0.pass().await;
        if self.0.begun() == 1 {
            let later = TaskError::in_progress(Duration::from_millis(50));
            return Err(later.with_output(json!({"half": true})));
        }
        Ok(json!({"value": 1}))
    }
}
