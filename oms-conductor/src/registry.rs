//! Tasks by name, with their types taken off.

use std::sync::Arc;

use async_trait::async_trait;
use oms_engine::definition::{TASK_PAYLOAD_MAX_BYTES, check_payload};
use oms_engine::{Task, TaskContext, TaskError, TransactionalBatchTask, TransactionalTask};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Transaction;

#[async_trait]
pub(crate) trait Runs: Send + Sync {
    async fn run(&self, cx: &TaskContext, input: &Value) -> Result<Value, TaskError>;
}

#[async_trait]
pub(crate) trait RunsIn: Send + Sync {
    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: &Value,
    ) -> Result<Value, TaskError>;
}

/// A task without its types.
#[derive(Clone)]
pub(crate) enum AnyTask {
    Plain(Arc<dyn Runs>),
    Transactional(Arc<dyn RunsIn>),
}

impl AnyTask {
    pub(crate) fn plain<T: Task>(task: T) -> Self {
        Self::Plain(Arc::new(Plain(task)))
    }

    pub(crate) fn transactional<T: TransactionalTask>(task: T) -> Self {
        Self::Transactional(Arc::new(Transactional(task)))
    }

    pub(crate) fn batch<T: TransactionalBatchTask>(task: T) -> Self {
        Self::Transactional(Arc::new(Batch(task)))
    }
}

struct Plain<T>(T);
struct Transactional<T>(T);
struct Batch<T>(T);

fn read<T: DeserializeOwned>(input: &Value) -> Result<T, TaskError> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let (path, error) = (error.path(), error.inner());
        TaskError::terminal(format!("its input does not fit the task's type at {path}: {error}"))
    })
}

fn write(output: &impl Serialize) -> Result<Value, TaskError> {
    let output = serde_json::to_value(output).map_err(|error| {
        TaskError::terminal(format!("its output cannot be written as JSON: {error}"))
    })?;
    check_payload("its output", &output, TASK_PAYLOAD_MAX_BYTES).map_err(TaskError::terminal)?;
    Ok(output)
}

#[async_trait]
impl<T: Task> Runs for Plain<T> {
    async fn run(&self, cx: &TaskContext, input: &Value) -> Result<Value, TaskError> {
        write(&self.0.run(cx, read(input)?).await?)
    }
}

#[async_trait]
impl<T: TransactionalTask> RunsIn for Transactional<T> {
    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: &Value,
    ) -> Result<Value, TaskError> {
        write(&self.0.run(cx, tx, read(input)?).await?)
    }
}

/// Each alone: the server takes one result at a time, so that a batch would wait for the slowest report.
#[async_trait]
impl<T: TransactionalBatchTask> RunsIn for Batch<T> {
    async fn run(
        &self,
        cx: &TaskContext,
        tx: &Transaction<'_>,
        input: &Value,
    ) -> Result<Value, TaskError> {
        let answers = self.0.run(tx, vec![(cx.clone(), read(input)?)]).await?;
        let n = answers.len();
        match answers.into_iter().next() {
            Some(answer) if n == 1 => write(&answer?),
            _ => Err(TaskError::terminal(format!("it answered {n} of 1 tasks"))),
        }
    }
}
